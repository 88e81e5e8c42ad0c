//! Tables that the service keeps up to date, also those of which no event tells.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use lance_backfill_core::format::{Stored, decode, encode};
use lance_backfill_core::message::RegisteredTable;
use lance_backfill_ports::state_store::{Created, StateStore};
use lance_backfill_ports::{Error, Result};

use crate::Service;
use crate::queues::digest;

const FOLDER: &str = "tables";
/// Objects read at once.
const READ_AT_ONCE: usize = 16;

/// One object a table in the service's own store.
pub(crate) struct Registry {
    store: Arc<dyn StateStore>,
    known: Mutex<BTreeSet<String>>,
}

impl Registry {
    pub(crate) fn new(store: Arc<dyn StateStore>) -> Self {
        Self {
            store,
            known: Mutex::default(),
        }
    }

    /// Registers a table; create-if-absent, once a process.
    pub(crate) async fn add(&self, table: &str) -> Result<()> {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known().contains(table) {
            return Ok(());
        }
        let registered = RegisteredTable {
            version: RegisteredTable::VERSION,
            table: table.to_owned(),
        };
        let bytes = Bytes::from(encode(&registered)?);
        match self.store.create(&path(table), bytes).await? {
            // What another process wrote says the same.
            Created::New | Created::AlreadyThere => {}
        }
        known().insert(table.to_owned());
        Ok(())
    }

    /// All tables, by URI.
    pub(crate) async fn tables(&self) -> Result<Vec<String>> {
        let listed = self.store.list(FOLDER).await?;
        let read = stream::iter(listed).map(|object| async move {
            let Some(bytes) = self.store.get(&object.path).await? else {
                return Ok(None);
            };
            let registered: RegisteredTable = decode(&bytes).map_err(|error| {
                Error::from(error).with_source(format!("'{}' of the service", object.path))
            })?;
            Ok::<_, Error>(Some(registered.table))
        });
        let found: Vec<Option<String>> = read.buffered(READ_AT_ONCE).try_collect().await?;
        let tables: BTreeSet<String> = found.into_iter().flatten().collect();
        Ok(tables.into_iter().collect())
    }
}

fn path(table: &str) -> String {
    format!("{FOLDER}/{}.json", digest(table))
}

impl Service {
    /// The tables that are registered.
    pub async fn tables(&self) -> Result<Vec<String>> {
        self.registry.tables().await
    }
}
