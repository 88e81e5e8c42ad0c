//! A state store whose additions stay in this process: what is learned about a copy of a table that
//! nobody registered is used and forgotten, and the original's store is not written to.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use lance_backfill_ports::Result;
use lance_backfill_ports::state_store::{Created, Listed, StateStore};

/// Objects in memory over a store that is only read.
pub(crate) struct Scratch<S> {
    below: S,
    /// Bytes by path; none where the object below counts as deleted.
    above: Mutex<BTreeMap<String, Option<Bytes>>>,
}

impl<S> Scratch<S> {
    pub(crate) fn over(below: S) -> Self {
        Self {
            below,
            above: Mutex::default(),
        }
    }

    fn above(&self) -> MutexGuard<'_, BTreeMap<String, Option<Bytes>>> {
        self.above.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl<S: StateStore> StateStore for Scratch<S> {
    async fn create(&self, path: &str, bytes: Bytes) -> Result<Created> {
        if self.get(path).await?.is_some() {
            return Ok(Created::AlreadyThere);
        }
        let mut above = self.above();
        // Another task of this process may have been faster.
        if matches!(above.get(path), Some(Some(_))) {
            return Ok(Created::AlreadyThere);
        }
        above.insert(path.to_owned(), Some(bytes));
        Ok(Created::New)
    }

    async fn get(&self, path: &str) -> Result<Option<Bytes>> {
        let known = self.above().get(path).cloned();
        match known {
            Some(known) => Ok(known),
            None => self.below.get(path).await,
        }
    }

    async fn list(&self, folder: &str) -> Result<Vec<Listed>> {
        let mut found: BTreeMap<String, Listed> = self
            .below
            .list(folder)
            .await?
            .into_iter()
            .map(|object| (object.path.clone(), object))
            .collect();
        let prefix = match folder {
            "" => String::new(),
            folder => format!("{folder}/"),
        };
        for (path, bytes) in self.above().iter() {
            match bytes {
                None => {
                    found.remove(path);
                }
                Some(bytes) if path.starts_with(&prefix) => {
                    let listed = Listed {
                        path: path.clone(),
                        size_bytes: bytes.len() as u64,
                        created_ms: 0,
                    };
                    found.insert(path.clone(), listed);
                }
                Some(_) => {}
            }
        }
        Ok(found.into_values().collect())
    }

    async fn delete(&self, path: &str) -> Result<()> {
        self.above().insert(path.to_owned(), None);
        Ok(())
    }
}
