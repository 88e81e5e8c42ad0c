//! Open tables of a process that lives from message to message.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use lance_backfill_embedded::{Engine, EngineOptions};
use lance_backfill_ports::Result;
use tokio::sync::Mutex;

use crate::Service;
use crate::clock::now;

/// Tables kept open: each has its caches, and a process may see thousands.
const MOST_OPEN: usize = 32;

/// An event about a version that was planned is dropped without a look; longer than this it is not
/// trusted, since a table may have taken the place of another with fewer versions.
const PLANNED_FOR: Duration = Duration::from_secs(300);

/// Engines by URI, the most recently used ones.
pub(crate) struct Tables {
    options: EngineOptions,
    /// Of a batch whose function keeps it waiting.
    patience: Duration,
    open: Mutex<Open>,
    planned: std::sync::Mutex<HashMap<String, (u64, Instant)>>,
}

#[derive(Default)]
struct Open {
    engines: HashMap<String, (u64, Arc<Engine>)>,
    uses: u64,
}

impl Tables {
    pub(crate) fn new(options: EngineOptions, patience: Duration) -> Self {
        Self {
            options,
            patience,
            open: Mutex::default(),
            planned: std::sync::Mutex::default(),
        }
    }

    /// The engine of a table, opened if it is not.
    pub(crate) async fn engine(&self, uri: &str) -> Result<Arc<Engine>> {
        // Held while a table is opened: two messages about one table open it once.
        let mut open = self.open.lock().await;
        open.uses += 1;
        let now = open.uses;
        if let Some((used, engine)) = open.engines.get_mut(uri) {
            *used = now;
            return Ok(engine.clone());
        }
        let engine = Engine::open(uri, self.options.clone()).await?;
        let engine = Arc::new(engine.with_patience(self.patience));
        if open.engines.len() >= MOST_OPEN {
            let oldest = open.engines.iter().min_by_key(|(_, (used, _))| *used);
            if let Some(oldest) = oldest.map(|(uri, _)| uri.clone()) {
                open.engines.remove(&oldest);
            }
        }
        open.engines.insert(uri.to_owned(), (now, engine.clone()));
        Ok(engine)
    }

    /// Closes a table: what is remembered of it may be what is wrong.
    pub(crate) async fn close(&self, uri: &str) {
        self.open.lock().await.engines.remove(uri);
    }
}

impl Tables {
    /// Remembers that a version was planned, and all that it led to was sent.
    pub(crate) fn note_planned(&self, uri: &str, version: u64) {
        let mut planned = self.planned.lock().unwrap_or_else(PoisonError::into_inner);
        planned.retain(|_, (_, when)| when.elapsed() < PLANNED_FOR);
        planned.insert(uri.to_owned(), (version, now()));
    }
}

impl Service {
    /// Whether this process planned the version not long ago.
    pub fn has_planned(&self, table: &str, version: u64) -> bool {
        let planned = (self.tables.planned.lock()).unwrap_or_else(PoisonError::into_inner);
        (planned.get(table))
            .is_some_and(|(known, when)| version <= *known && when.elapsed() < PLANNED_FOR)
    }
}
