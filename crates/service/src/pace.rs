//! How often a column is published while much of it is under way.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use lance_backfill_core::ids::{BatchId, BindingId};

/// At least this long between two commits in bulk: each rewrites the table's manifest.
const INTERVAL: Duration = Duration::from_secs(2);
/// Commits take at most a fiftieth of the time.
const SHARE: u32 = 50;
/// Columns remembered.
const MOST_COLUMNS: usize = 1_000;

/// What a process remembers of its last commits.
#[derive(Default)]
pub(crate) struct Pace {
    last: Mutex<HashMap<(String, BindingId), Last>>,
}

struct Last {
    ended: Instant,
    took: Duration,
    /// Batches that were open then, less those that were finished since.
    open: BTreeSet<BatchId>,
}

impl Pace {
    /// Whether a finished batch can wait for those that will be finished after it.
    ///
    /// Each of them sends a message of its own, and of those that never will the schedule knows.
    pub(crate) fn can_wait(&self, table: &str, binding: &BindingId, batch: &BatchId) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(last) = last.get_mut(&(table.to_owned(), binding.clone())) else {
            return false;
        };
        last.open.remove(batch);
        let interval = INTERVAL.max(last.took.saturating_mul(SHARE));
        !last.open.is_empty() && last.ended.elapsed() < interval
    }

    /// A commit has ended.
    pub(crate) fn note(
        &self,
        table: &str,
        binding: &BindingId,
        began: Instant,
        open: BTreeSet<BatchId>,
    ) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() >= MOST_COLUMNS {
            last.clear();
        }
        let ended = now();
        let known = Last {
            ended,
            took: ended.duration_since(began),
            open,
        };
        last.insert((table.to_owned(), binding.clone()), known);
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long ago a commit was is no decision about rows"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_waits_only_for_others_that_are_open() {
        let binding: BindingId = "b".parse().expect("a binding");
        let batch =
            |index: u32| -> BatchId { format!("{:020}-t-{index}", 1).parse().expect("a batch") };
        let pace = Pace::default();
        assert!(!pace.can_wait("t", &binding, &batch(0)), "nothing is known");
        pace.note("t", &binding, now(), [batch(1), batch(2)].into());
        assert!(pace.can_wait("t", &binding, &batch(1)));
        assert!(!pace.can_wait("t", &binding, &batch(2)), "the last one");
        assert!(!pace.can_wait("u", &binding, &batch(1)), "another table");
        let Some(long_ago) = now().checked_sub(Duration::from_secs(1)) else {
            return;
        };
        // A commit that took a second may be repeated after fifty.
        pace.note("t", &binding, long_ago, [batch(3), batch(4)].into());
        assert!(pace.can_wait("t", &binding, &batch(3)));
    }
}
