//! What one batch may cost, in failed rows and in time: beyond that it stops and keeps what is finished.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lance_backfill_core::definition::{ErrorPolicy, OnError};

/// Below this many rows a share of failed rows says little.
const FEWEST_ROWS: u64 = 100;

/// Counts rows against the policy; shared by the slices of a batch.
pub(super) struct Budget {
    most_rows: Option<u64>,
    most_fraction: Option<f64>,
    computed: AtomicU64,
    failed: AtomicU64,
    /// Microseconds spent in the function, where it tells.
    spent_us: AtomicU64,
}

/// Time in the function after which a batch stops: its speed may have been guessed, and what has no
/// checkpoint manifest is lost with the process.
const MOST_TIME: Duration = Duration::from_secs(60);

impl Budget {
    pub(super) fn new(policy: &ErrorPolicy) -> Self {
        let (most_rows, most_fraction) = match policy.on_error {
            OnError::Fail => (Some(0), None),
            OnError::Skip => (policy.max_failed_rows, policy.max_failed_fraction),
        };
        Self {
            most_rows,
            most_fraction,
            computed: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            spent_us: AtomicU64::new(0),
        }
    }

    pub(super) fn add(&self, computed: u64, failed: u64) {
        self.computed.fetch_add(computed, Ordering::Relaxed);
        self.failed.fetch_add(failed, Ordering::Relaxed);
    }

    /// Counts time that was spent in the function.
    pub(super) fn spend(&self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.spent_us.fetch_add(us, Ordering::Relaxed);
    }

    /// Whether the batch took as long as one should.
    pub(super) fn time_is_up(&self) -> bool {
        u128::from(self.spent_us.load(Ordering::Relaxed)) >= MOST_TIME.as_micros()
    }

    /// Whether any row has a result.
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
        let failed = self.failed.load(Ordering::Relaxed);
        let all = failed + self.computed.load(Ordering::Relaxed) + pending;
        if let Some(most) = self.most_rows.filter(|most| failed > *most) {
            return Some(format!("{failed} rows failed, {most} are tolerated"));
        }
        let most = self.most_fraction?;
        (all >= FEWEST_ROWS && failed as f64 > most * all as f64)
            .then(|| format!("{failed} of {all} rows failed, a share of {most} is tolerated"))
    }
}
