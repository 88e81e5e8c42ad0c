//! A state store in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use lance_backfill_ports::Result;
use lance_backfill_ports::state_store::{Created, Listed, StateStore};

use crate::world::ManualClock;

/// Objects in memory; clones share them.
#[derive(Debug, Clone, Default)]
pub struct MemStateStore {
    clock: ManualClock,
    objects: Arc<Mutex<BTreeMap<String, Object>>>,
}

#[derive(Debug)]
struct Object {
    bytes: Bytes,
    created_ms: u64,
}

impl MemStateStore {
    /// An empty store; objects are created at the clock's time.
    pub fn new(clock: ManualClock) -> Self {
        Self {
            clock,
            objects: Arc::default(),
        }
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<String, Object>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl StateStore for MemStateStore {
    async fn create(&self, path: &str, bytes: Bytes) -> Result<Created> {
        let mut objects = self.objects();
        if objects.contains_key(path) {
            return Ok(Created::AlreadyThere);
        }
        let created_ms = self.clock.now_ms();
        objects.insert(path.to_owned(), Object { bytes, created_ms });
        Ok(Created::New)
    }

    async fn get(&self, path: &str) -> Result<Option<Bytes>> {
        Ok(self.objects().get(path).map(|object| object.bytes.clone()))
    }

    async fn list(&self, folder: &str) -> Result<Vec<Listed>> {
        let within = |path: &str| {
            folder.is_empty()
                || path
                    .strip_prefix(folder)
                    .is_some_and(|rest| rest.starts_with('/'))
        };
        Ok(self
            .objects()
            .iter()
            .filter(|(path, _)| within(path))
            .map(|(path, object)| Listed {
                path: path.clone(),
                size_bytes: object.bytes.len() as u64,
                created_ms: object.created_ms,
            })
            .collect())
    }

    async fn delete(&self, path: &str) -> Result<()> {
        self.objects().remove(path);
        Ok(())
    }
}
