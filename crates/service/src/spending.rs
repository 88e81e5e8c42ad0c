//! Whether the service spends anything: an operator stops it all at once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lance_backfill_core::deployment::STOP_PATH;
use lance_backfill_core::ids::JobId;
use lance_backfill_ports::Result;
use lance_backfill_ports::state_store::StateStore;
use lance_backfill_stages::column::Column;

use crate::Service;
use crate::clock::{now, wait};

/// What planner and worker say of work that they leave.
pub(crate) const STOPPED: &str = "the service is paused: 'lance-backfill service resume' ends that";

/// How long a process trusts that nothing was stopped. A planner may hand out so long after a pause, a
/// worker believes a planner of a moment ago, and a batch at work looks after [`LOOK`]: in all, five
/// seconds.
const TRUSTED_FOR: Duration = Duration::from_secs(2);
/// Between two looks of a batch at work whether anybody still wants it: each look is a request.
const LOOK: Duration = Duration::from_secs(2);

/// Knows whether spending is stopped.
pub(crate) struct Spending {
    store: Arc<dyn StateStore>,
    /// When it last was not. That it is stopped nobody remembers: work that is given up because of
    /// that is not sent again before somebody resumes it.
    free: Mutex<Option<Instant>>,
}

impl Spending {
    pub(crate) fn new(store: Arc<dyn StateStore>) -> Self {
        Self {
            store,
            free: Mutex::default(),
        }
    }

    /// Whether it is stopped, as far as this process knew not long ago.
    pub(crate) async fn is_stopped(&self) -> Result<bool> {
        let free = *self.free.lock().unwrap_or_else(PoisonError::into_inner);
        match free {
            Some(when) if when.elapsed() < TRUSTED_FOR => Ok(false),
            _ => self.look().await,
        }
    }

    /// Whether it is stopped now.
    async fn look(&self) -> Result<bool> {
        let began = now();
        let is_stopped = self.store.get(STOP_PATH).await?.is_some();
        if !is_stopped {
            *self.free.lock().unwrap_or_else(PoisonError::into_inner) = Some(began);
        }
        Ok(is_stopped)
    }
}

impl Service {
    /// Returns, with the reason, when a batch is not to be finished: all spending was stopped, or its
    /// job is over. Looks that fail tell nothing.
    pub(crate) async fn called_off(&self, column: &Column, job: Option<&JobId>) -> String {
        loop {
            wait(LOOK).await;
            if let Ok(true) = self.spending.look().await {
                return STOPPED.to_owned();
            }
            if let Some(job) = job
                && let Ok(Some(_)) = column.store.job_end(job).await
            {
                return format!("job {job} is over");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use lance_backfill_ports::state_store::Created;
    use lance_backfill_testkit::MemStateStore;

    use super::*;

    #[tokio::test]
    async fn a_pause_is_seen_soon_and_its_end_at_once() {
        let store = MemStateStore::default();
        let spending = Spending::new(Arc::new(store.clone()));
        assert!(!spending.is_stopped().await.expect("looks"));
        let created = store.create(STOP_PATH, bytes::Bytes::new()).await;
        assert_eq!(created.expect("creates"), Created::New);
        // What it knows is young enough; a batch at work looks anew.
        assert!(!spending.is_stopped().await.expect("remembers"));
        assert!(spending.look().await.expect("looks"));
        let other = Spending::new(Arc::new(store.clone()));
        assert!(other.is_stopped().await.expect("looks"));
        store.delete(STOP_PATH).await.expect("deletes");
        assert!(!other.is_stopped().await.expect("looks again"));
    }
}
