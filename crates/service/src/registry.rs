//! Tables that the service keeps up to date, also those of which no event tells, and those that it is
//! to leave alone.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use lance_backfill_core::format::{decode, encode};
use lance_backfill_core::message::RegisteredTable;
use lance_backfill_ports::state_store::{Created, StateStore};
use lance_backfill_ports::{Error, ErrorKind, Result};

use crate::Service;
use crate::clock::now;
use crate::queues::digest;

const FOLDER: &str = "tables";
/// Objects read at once.
const READ_AT_ONCE: usize = 16;
/// How long a process trusts what it read of a table: a table that was taken out rests after it.
const TRUSTED_FOR: Duration = Duration::from_secs(60);
/// Changes by others in between before we give up.
const MOST_RACES: usize = 10;

/// What the service is told of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Nothing: it registers the table when it finds something to keep up to date.
    Unknown,
    /// It keeps the table up to date.
    Kept,
    /// Somebody took the table out.
    Removed,
}

/// One object a table in the service's own store.
pub(crate) struct Registry {
    store: Arc<dyn StateStore>,
    known: Mutex<HashMap<String, (Admission, Instant)>>,
}

impl Registry {
    pub(crate) fn new(store: Arc<dyn StateStore>) -> Self {
        Self {
            store,
            known: Mutex::default(),
        }
    }

    /// What is said of a table, as this process read it not long ago.
    pub(crate) async fn admission(&self, table: &str) -> Result<Admission> {
        match self.remembered(table) {
            Some(known) => Ok(known),
            None => self.look(table).await,
        }
    }

    /// What is said of a table now.
    pub(crate) async fn look(&self, table: &str) -> Result<Admission> {
        let admission = match self.read(&path(table)).await? {
            None => return Ok(Admission::Unknown),
            Some(registered) if registered.removed => Admission::Removed,
            Some(_) => Admission::Kept,
        };
        self.remember(table, admission);
        Ok(admission)
    }

    /// Registers a table that a planner found; create-if-absent, so one that was taken out stays out.
    pub(crate) async fn add(&self, table: &str) -> Result<()> {
        if self.remembered(table).is_some() {
            return Ok(());
        }
        match self.create(RegisteredTable::new(table.to_owned())).await? {
            Created::New => self.remember(table, Admission::Kept),
            Created::AlreadyThere => {}
        }
        Ok(())
    }

    /// Registers a table for somebody who asks for it, also one that was taken out; what was said of it
    /// before.
    pub(crate) async fn take_in(&self, table: &str) -> Result<Admission> {
        let mut first = None;
        for _ in 0..MOST_RACES {
            let now = self.look(table).await?;
            let before = *first.get_or_insert(now);
            match now {
                Admission::Kept => return Ok(before),
                Admission::Removed => self.store.delete(&path(table)).await?,
                Admission::Unknown => {}
            }
            let registered = RegisteredTable::new(table.to_owned());
            if self.create(registered).await? == Created::New {
                self.remember(table, Admission::Kept);
                return Ok(before);
            }
        }
        Err(busy(table))
    }

    /// Takes a table out, so that its events lead to nothing; what was said of it before.
    pub(crate) async fn take_out(&self, table: &str) -> Result<Admission> {
        let mut first = None;
        for _ in 0..MOST_RACES {
            let now = self.look(table).await?;
            let before = *first.get_or_insert(now);
            match now {
                Admission::Kept => self.store.delete(&path(table)).await?,
                Admission::Removed => return Ok(before),
                Admission::Unknown if before == Admission::Unknown => return Ok(before),
                // Whoever deleted it is about to say the same as we.
                Admission::Unknown => {}
            }
            let removed = RegisteredTable {
                removed: true,
                ..RegisteredTable::new(table.to_owned())
            };
            if self.create(removed).await? == Created::New {
                self.remember(table, Admission::Removed);
                return Ok(before);
            }
        }
        Err(busy(table))
    }

    /// All tables that are kept up to date, by URI.
    pub(crate) async fn tables(&self) -> Result<Vec<String>> {
        let listed = self.store.list(FOLDER).await?;
        let read = stream::iter(listed)
            .map(|object| async move { self.read(&object.path).await })
            .buffered(READ_AT_ONCE);
        let found: Vec<Option<RegisteredTable>> = read.try_collect().await?;
        let kept = found.into_iter().flatten().filter(|table| !table.removed);
        let tables: BTreeSet<String> = kept.map(|registered| registered.table).collect();
        Ok(tables.into_iter().collect())
    }

    async fn read(&self, path: &str) -> Result<Option<RegisteredTable>> {
        let Some(bytes) = self.store.get(path).await? else {
            return Ok(None);
        };
        let registered = decode(&bytes)
            .map_err(|error| Error::from(error).with_source(format!("'{path}' of the service")))?;
        Ok(Some(registered))
    }

    async fn create(&self, registered: RegisteredTable) -> Result<Created> {
        let bytes = Bytes::from(encode(&registered)?);
        self.store.create(&path(&registered.table), bytes).await
    }

    fn remembered(&self, table: &str) -> Option<Admission> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (admission, when) = known.get(table)?;
        (when.elapsed() < TRUSTED_FOR).then_some(*admission)
    }

    fn remember(&self, table: &str, admission: Admission) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, (_, when)| when.elapsed() < TRUSTED_FOR);
        known.insert(table.to_owned(), (admission, now()));
    }
}

fn path(table: &str) -> String {
    format!("{FOLDER}/{}.json", digest(table))
}

fn busy(table: &str) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        format!("others keep registering and removing '{table}': try again"),
    )
}

impl Service {
    /// The tables that are kept up to date.
    pub async fn tables(&self) -> Result<Vec<String>> {
        self.registry.tables().await
    }
}

#[cfg(test)]
mod tests {
    use lance_backfill_testkit::MemStateStore;

    use super::*;

    const TABLE: &str = "s3://lake/t.lance";

    #[tokio::test]
    async fn a_table_that_was_taken_out_stays_out_until_somebody_asks_for_it() {
        let store = Arc::new(MemStateStore::default());
        let process = || Registry::new(store.clone());
        assert_eq!(
            process().take_out(TABLE).await.expect("asks"),
            Admission::Unknown
        );
        assert_eq!(
            process().tables().await.expect("lists"),
            Vec::<String>::new()
        );
        process().add(TABLE).await.expect("registers");
        assert_eq!(process().tables().await.expect("lists"), [TABLE]);
        assert_eq!(
            process().take_out(TABLE).await.expect("asks"),
            Admission::Kept
        );
        // A planner that has not seen it yet, and one that has.
        let planner = process();
        planner.add(TABLE).await.expect("registers nothing");
        assert_eq!(
            planner.admission(TABLE).await.expect("looks"),
            Admission::Removed
        );
        planner.add(TABLE).await.expect("registers nothing");
        assert_eq!(
            process().tables().await.expect("lists"),
            Vec::<String>::new()
        );
        assert_eq!(
            process().take_out(TABLE).await.expect("asks"),
            Admission::Removed
        );
        assert_eq!(
            process().take_in(TABLE).await.expect("asks"),
            Admission::Removed
        );
        assert_eq!(
            process().take_in(TABLE).await.expect("asks"),
            Admission::Kept
        );
        assert_eq!(process().tables().await.expect("lists"), [TABLE]);
    }
}
