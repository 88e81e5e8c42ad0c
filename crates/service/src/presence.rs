//! Says where a worker in a pod is and what it does, for those who scale the pods and those who look.
//!
//! It is said in the service's own store, in which nothing is overwritten: each time there is a new
//! object, and the one before it goes. Nothing depends on it but how many pods there are.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use lance_backfill_core::format::{Stored, decode, encode};
use lance_backfill_core::worker_status::{SAYS_EVERY_MS, WORKERS, WorkerStatus, newest_of_each};
use lance_backfill_ports::Result;
use lance_backfill_ports::state_store::{Created, StateStore};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::Doing;
use crate::clock::{now_ms, wait};

/// Objects read at once.
const READ_AT_ONCE: usize = 16;
/// Between two times that a worker says something, however short its batches are: each costs two
/// requests.
const AT_MOST_EVERY: Duration = Duration::from_secs(1);

/// Who a worker is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// Class whose batches it takes.
    pub class: String,
    /// Its name, of which there is one in its class.
    pub name: String,
    /// Machine that it runs on, if it knows.
    pub node: Option<String>,
    /// Pod that it runs in, if it knows.
    pub pod: Option<String>,
    /// Devices that it may use, as CUDA numbers them.
    pub device: Option<String>,
}

/// What a worker says of itself.
pub struct Presence {
    store: Arc<dyn StateStore>,
    status: WorkerStatus,
    number: u64,
    /// What it said last.
    said: Vec<String>,
}

impl Presence {
    /// A worker that starts; what one of its name said before it counts no more.
    pub async fn begin(store: Arc<dyn StateStore>, who: Who) -> Result<Self> {
        let Who {
            class,
            name,
            node,
            pod,
            device,
        } = who;
        let now_ms = now_ms();
        let status = WorkerStatus {
            version: WorkerStatus::VERSION,
            class,
            name,
            node,
            pod,
            device,
            since_ms: now_ms,
            seen_ms: now_ms,
            busy: BTreeSet::new(),
            batches_done: 0,
            functions_loaded: BTreeSet::new(),
            draining: false,
        };
        let before = (store
            .list(&WorkerStatus::folder(&status.class, &status.name))
            .await?)
            .into_iter()
            .map(|listed| listed.path);
        let said: Vec<String> = before.collect();
        let number = said.iter().filter_map(|path| number_of(path)).max();
        let mut presence = Self {
            store,
            status,
            number: number.unwrap_or_default(),
            said,
        };
        presence.say(&Doing::default()).await?;
        Ok(presence)
    }

    /// Says what it does, as often as that changes and else every ten seconds, until nobody changes it
    /// any more; then it says nothing more and is gone.
    pub async fn tell(mut self, mut doing: watch::Receiver<Doing>) {
        loop {
            wait(AT_MOST_EVERY).await;
            let every = Duration::from_millis(SAYS_EVERY_MS).saturating_sub(AT_MOST_EVERY);
            if let Ok(Err(_)) = timeout(every, doing.changed()).await {
                break;
            }
            let now = doing.borrow_and_update().clone();
            if let Err(error) = self.say(&now).await {
                let error = error.one_line();
                tracing::warn!(error, "nobody hears what this worker does");
            }
        }
        if let Err(error) = self.forget().await {
            let error = error.one_line();
            tracing::warn!(error, "this worker seems to be there for a minute more");
        }
    }

    async fn say(&mut self, doing: &Doing) -> Result<()> {
        let Doing {
            busy,
            batches_done,
            functions_loaded,
            draining,
        } = doing.clone();
        self.status = WorkerStatus {
            seen_ms: now_ms(),
            busy,
            batches_done,
            functions_loaded,
            draining,
            ..self.status.clone()
        };
        let bytes = Bytes::from(encode(&self.status)?);
        // Another of this name, or ourselves before a lost answer, may have said something meanwhile.
        let path = loop {
            self.number += 1;
            let path = WorkerStatus::path(&self.status.class, &self.status.name, self.number);
            if self.store.create(&path, bytes.clone()).await? == Created::New {
                break path;
            }
            self.said.push(path);
        };
        self.forget().await?;
        self.said.push(path);
        Ok(())
    }

    /// Takes back what it said so far.
    async fn forget(&mut self) -> Result<()> {
        while let Some(path) = self.said.last() {
            self.store.delete(path).await?;
            self.said.pop();
        }
        Ok(())
    }
}

fn number_of(path: &str) -> Option<u64> {
    let (_, name) = path.rsplit_once('/')?;
    name.strip_suffix(".json")?.parse().ok()
}

/// All workers of a service in pods, as they last said they are.
///
/// One that died is among them: [`WorkerStatus::is_gone`] tells, once it said nothing for a minute.
pub async fn workers(store: &dyn StateStore) -> Result<Vec<WorkerStatus>> {
    let listed = store.list(WORKERS).await?;
    let paths = newest_of_each(listed.iter().map(|listed| listed.path.as_str()));
    let read = |path: &str| {
        let path = path.to_owned();
        async move {
            match store.get(&path).await? {
                Some(bytes) => Ok(Some(decode(&bytes)?)),
                // It has said something newer since, or is gone.
                None => newest_below(store, &path).await,
            }
        }
    };
    let found: Vec<Option<WorkerStatus>> = stream::iter(paths)
        .map(read)
        .buffered(READ_AT_ONCE)
        .try_collect()
        .await?;
    Ok(found.into_iter().flatten().collect())
}

/// What stands in the folder of a path now.
async fn newest_below(store: &dyn StateStore, path: &str) -> Result<Option<WorkerStatus>> {
    let Some((folder, _)) = path.rsplit_once('/') else {
        return Ok(None);
    };
    let listed = store.list(folder).await?;
    let paths = newest_of_each(listed.iter().map(|listed| listed.path.as_str()));
    match paths.first() {
        Some(path) => match store.get(path).await? {
            Some(bytes) => Ok(Some(decode(&bytes)?)),
            None => Ok(None),
        },
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use lance_backfill_testkit::MemStateStore;

    use super::*;

    fn who(name: &str) -> Who {
        Who {
            class: "l4".to_owned(),
            name: name.to_owned(),
            node: None,
            pod: Some("pod-1".to_owned()),
            device: Some("0".to_owned()),
        }
    }

    fn doing(batches_done: u64) -> Doing {
        Doing {
            batches_done,
            ..Doing::default()
        }
    }

    #[tokio::test]
    async fn what_a_worker_said_last_is_all_that_stands() {
        let store: Arc<dyn StateStore> = Arc::new(MemStateStore::default());
        let mut first = Presence::begin(store.clone(), who("a"))
            .await
            .expect("begins");
        for done in 1..4 {
            first.say(&doing(done)).await.expect("says");
        }
        let _second = Presence::begin(store.clone(), who("b"))
            .await
            .expect("begins");
        let found = workers(store.as_ref()).await.expect("reads");
        let of: Vec<_> = (found.iter())
            .map(|status| (status.name.as_str(), status.batches_done))
            .collect();
        assert_eq!(of, [("a", 3), ("b", 0)]);
        assert_eq!(store.list(WORKERS).await.expect("lists").len(), 2);
        // It was killed, and starts again under its name.
        drop(first);
        let again = Presence::begin(store.clone(), who("a"))
            .await
            .expect("begins");
        assert_eq!(store.list(WORKERS).await.expect("lists").len(), 2);
        assert_eq!(again.number, 5);
        // Whoever ends says so, by saying nothing more.
        let (says, hears) = watch::channel(Doing::default());
        drop(says);
        again.tell(hears).await;
        let left = workers(store.as_ref()).await.expect("reads");
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].name, "b");
    }
}
