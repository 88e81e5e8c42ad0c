//! What the service says of its work: batches that are not done, and workers that do them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use lance_backfill_core::deployment::STOP_PATH;
use lance_backfill_core::format::decode;
use lance_backfill_core::worker_status::{WORKERS, WorkerStatus, newest_of_each};
use lance_backfill_ports::queue::Queue;
use lance_backfill_ports::state_store::StateStore;
use lance_backfill_ports::{Error, Result};

use crate::pool::Pool;
use crate::readiness::Cause;
use crate::scale::Backlog;

/// Statuses that are read at once.
const READS_AT_ONCE: usize = 16;

/// Where work comes from.
#[async_trait]
pub trait Work: Send + Sync {
    /// What there is now.
    async fn look(&self, now_ms: u64) -> Result<Seen>;
}

/// What there is to do, and who does it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Seen {
    /// Batches by class; a class that is not here is not one of the service's.
    pub backlog: BTreeMap<String, Backlog>,
    /// Workers that are there.
    pub workers: Vec<WorkerStatus>,
    /// Whether the service spends nothing for now.
    pub is_stopped: bool,
}

/// A deployed service.
pub struct ServiceWork {
    store: Arc<dyn StateStore>,
    /// Queues of each class.
    queues: BTreeMap<String, Vec<Arc<dyn Queue>>>,
    lows: Mutex<BTreeMap<String, Low>>,
}

/// The fewest batches that waited, and when there were last so few.
#[derive(Debug, Clone, Copy)]
struct Low {
    waiting: u64,
    at_ms: u64,
}

impl ServiceWork {
    /// The service whose own store this is, with its queues by class.
    pub fn new(store: Arc<dyn StateStore>, queues: BTreeMap<String, Vec<Arc<dyn Queue>>>) -> Self {
        Self {
            store,
            queues,
            lows: Mutex::default(),
        }
    }

    async fn workers(&self, now_ms: u64) -> Result<Vec<WorkerStatus>> {
        let listed = self.store.list(WORKERS).await?;
        let newest = newest_of_each(listed.iter().map(|object| object.path.as_str()));
        let paths: Vec<String> = newest.into_iter().map(str::to_owned).collect();
        let read = stream::iter(paths).map(|path| async move {
            // Those that ended since they were listed are gone.
            let Some(bytes) = self.store.get(&path).await? else {
                return Ok(None);
            };
            decode::<WorkerStatus>(&bytes)
                .map(Some)
                .map_err(|error| Error::from(error).with_source(format!("'{path}'")))
        });
        let read: Vec<Option<WorkerStatus>> =
            read.buffer_unordered(READS_AT_ONCE).try_collect().await?;
        Ok(read
            .into_iter()
            .flatten()
            .filter(|worker| !worker.is_gone(now_ms))
            .collect())
    }

    /// For how long there have not been fewer waiting.
    fn stuck_ms(&self, class: &str, waiting: u64, now_ms: u64) -> u64 {
        let mut lows = self.lows.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Low {
            waiting,
            at_ms: now_ms,
        };
        let low = lows.entry(class.to_owned()).or_insert(now);
        if waiting == 0 || waiting < low.waiting {
            *low = now;
        }
        now_ms.saturating_sub(low.at_ms)
    }
}

#[async_trait]
impl Work for ServiceWork {
    async fn look(&self, now_ms: u64) -> Result<Seen> {
        let mut backlog = BTreeMap::new();
        for (class, queues) in &self.queues {
            let depths = queues.iter().map(|queue| queue.depth());
            let depths = futures::future::try_join_all(depths).await?;
            // Those that wait for their delay will be there before a pod is.
            let waiting = depths
                .iter()
                .map(|depth| depth.waiting + depth.delayed)
                .sum();
            let in_flight = depths.iter().map(|depth| depth.in_flight).sum();
            let stuck_ms = self.stuck_ms(class, waiting, now_ms);
            backlog.insert(
                class.clone(),
                Backlog {
                    waiting,
                    in_flight,
                    stuck_ms,
                },
            );
        }
        Ok(Seen {
            backlog,
            workers: self.workers(now_ms).await?,
            is_stopped: self.store.get(STOP_PATH).await?.is_some(),
        })
    }
}

impl Seen {
    /// Batches of a class that somebody is to do: none while all spending is stopped.
    pub fn to_do(&self, class: &str) -> Backlog {
        match self.is_stopped {
            true => Backlog::default(),
            false => self.backlog.get(class).copied().unwrap_or_default(),
        }
    }

    /// Groups whose class the service does not have.
    pub fn causes(&self, pool: &Pool) -> Vec<Cause> {
        let known: Vec<&str> = self.backlog.keys().map(String::as_str).collect();
        let unknown = pool
            .groups
            .iter()
            .filter(|group| !self.backlog.contains_key(&group.class));
        let mut causes: Vec<Cause> = unknown
            .map(|group| {
                let has = match known.is_empty() {
                    true => "none".to_owned(),
                    false => known.join(", "),
                };
                Cause::error(
                    format!("group {}", group.name),
                    "NoSuchClass",
                    format!(
                        "the service '{}' has no class '{}': it has {has}; deploy it with this class, or correct 'class'",
                        pool.service, group.class
                    ),
                )
            })
            .collect();
        if self.is_stopped {
            causes.push(Cause::waiting(
                "service",
                "Paused",
                "all spending of the service is stopped, so nothing is scaled up; 'service resume' ends that",
            ));
        }
        causes
    }
}
