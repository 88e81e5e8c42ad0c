//! What a batch may cost, in failed rows of its job and in time: beyond that it stops and keeps what is finished.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lance_backfill_core::definition::ErrorPolicy;
use lance_backfill_core::error_budget::Counted;

use crate::until::Until;

/// Rows that a job evaluated so far, in all of its batches that this process does.
#[derive(Debug, Default)]
pub struct Evaluated {
    computed: AtomicU64,
    failed: AtomicU64,
}

/// Counts rows against the policy; shared by the slices of a batch.
pub(super) struct Budget {
    policy: Option<ErrorPolicy>,
    most_time: Option<Duration>,
    job: Arc<Evaluated>,
    computed: AtomicU64,
    /// Microseconds spent in the function, where it tells.
    spent_us: AtomicU64,
    /// How long one call may have to wait, and all of them together for each host.
    patience: Option<Duration>,
    /// Milliseconds for which calls were told to wait.
    waited_ms: AtomicU64,
    lanes: u32,
    /// Time of the process that does the batch.
    until: Until,
}

/// Time in each host of the function after which a batch stops: its speed may have been guessed, and
/// what has no checkpoint manifest is lost with the process.
const MOST_TIME: Duration = Duration::from_secs(60);

impl Budget {
    /// Of a batch whose function takes so many calls at once.
    pub(super) fn new(
        policy: &ErrorPolicy,
        lanes: usize,
        patience: Option<Duration>,
        job: Arc<Evaluated>,
        until: Until,
    ) -> Self {
        let lanes = u32::try_from(lanes).unwrap_or(u32::MAX).max(1);
        Self {
            policy: Some(policy.clone()),
            most_time: Some(MOST_TIME.saturating_mul(lanes)),
            job,
            computed: AtomicU64::new(0),
            spent_us: AtomicU64::new(0),
            patience,
            waited_ms: AtomicU64::new(0),
            lanes,
            until,
        }
    }

    /// Of rows that are tried out, all of them.
    pub(super) fn unlimited() -> Self {
        Self {
            policy: None,
            most_time: None,
            job: Arc::default(),
            computed: AtomicU64::new(0),
            spent_us: AtomicU64::new(0),
            patience: None,
            waited_ms: AtomicU64::new(0),
            lanes: 1,
            until: Until::never(),
        }
    }

    pub(super) fn add(&self, computed: u64, failed: u64) {
        self.computed.fetch_add(computed, Ordering::Relaxed);
        self.job.computed.fetch_add(computed, Ordering::Relaxed);
        self.job.failed.fetch_add(failed, Ordering::Relaxed);
    }

    /// Counts time that was spent in the function.
    pub(super) fn spend(&self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.spent_us.fetch_add(us, Ordering::Relaxed);
    }

    /// How long a call may wait for the other side of the function; without, as long as it asks.
    pub(super) const fn patience(&self) -> Option<Duration> {
        self.patience
    }

    /// Notes that a call is to wait, unless it would have to for too long.
    pub(super) fn wait(&self, time: Duration) -> bool {
        let Some(patience) = self.patience.filter(|_| !time.is_zero()) else {
            return true;
        };
        let most = patience.saturating_mul(self.lanes);
        let waited = Duration::from_millis(self.waited_ms.load(Ordering::Relaxed));
        let may = time <= patience && waited.saturating_add(time) <= most;
        if may {
            let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            self.waited_ms.fetch_add(ms, Ordering::Relaxed);
        }
        may
    }

    /// Time of the process that does the batch.
    pub(super) const fn until(&self) -> &Until {
        &self.until
    }

    /// Whether the batch took as long as one should, or as whoever does it can.
    pub(super) fn time_is_up(&self) -> bool {
        let spent = Duration::from_micros(self.spent_us.load(Ordering::Relaxed));
        self.most_time.is_some_and(|most| spent >= most) || self.until.is_over()
    }

    /// Rows with a result in all batches of the job.
    pub(super) fn computed_by_job(&self) -> u64 {
        self.job.computed.load(Ordering::Relaxed)
    }

    /// Whether any row of the batch has a result.
    pub(super) fn any_computed(&self) -> bool {
        self.computed.load(Ordering::Relaxed) > 0
    }

    /// Why the batch must stop, if it must.
    pub(super) fn exceeded(&self) -> Option<String> {
        self.exceeded_even_with(0)
    }

    /// Why the batch must stop even if the next `pending` rows all succeed.
    ///
    /// A share is judged over whole chunks: failing rows that stand together must not outweigh the
    /// good ones that come after them.
    pub(super) fn exceeded_even_with(&self, pending: u64) -> Option<String> {
        let counted = Counted {
            computed: self.computed_by_job().saturating_add(pending),
            failed: self.job.failed.load(Ordering::Relaxed),
        };
        counted.exceeds(self.policy.as_ref()?)
    }
}
