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
    pub(crate) fn can_wait(
        &self,
        table: &str,
        binding: &BindingId,
        batch: &BatchId,
        now: Instant,
    ) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(last) = last.get_mut(&(table.to_owned(), binding.clone())) else {
            return false;
        };
        last.open.remove(batch);
        let interval = INTERVAL.max(last.took.saturating_mul(SHARE));
        !last.open.is_empty() && now.duration_since(last.ended) < interval
    }

    /// A commit has ended, and left these batches open.
    pub(crate) fn note(
        &self,
        table: &str,
        binding: &BindingId,
        (began, ended): (Instant, Instant),
        open: BTreeSet<BatchId>,
    ) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() >= MOST_COLUMNS {
            last.clear();
        }
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
        let at = now();
        let can_wait = |index, seconds: f64| {
            let later = at + Duration::from_secs_f64(seconds);
            pace.can_wait("t", &binding, &batch(index), later)
        };
        assert!(!can_wait(0, 0.0), "nothing is known");
        pace.note("t", &binding, (at, at), [batch(1), batch(2)].into());
        assert!(can_wait(1, 1.9));
        assert!(
            !pace.can_wait("u", &binding, &batch(1), at),
            "another table"
        );
        assert!(!can_wait(2, 1.9), "the last one");
        pace.note("t", &binding, (at, at), [batch(3), batch(4)].into());
        assert!(!can_wait(3, 2.1), "the interval is over");
        // A commit that took a second may be repeated after fifty.
        let took_a_second = (at, at + Duration::from_secs(1));
        pace.note("t", &binding, took_a_second, [batch(5), batch(6)].into());
        assert!(can_wait(5, 50.9));
        assert!(!can_wait(5, 51.1));
    }
}
