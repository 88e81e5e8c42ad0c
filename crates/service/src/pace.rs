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
    /// For which of the others a finished batch can wait, if that is still open: what is finished is
    /// published with it.
    ///
    /// Each of them sends a message of its own, and of those that never will the schedule knows. Another
    /// process may have published it meanwhile: whoever waits must look.
    pub(crate) fn can_wait_for(
        &self,
        table: &str,
        binding: &BindingId,
        batch: &BatchId,
        now: Instant,
    ) -> Option<BatchId> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let last = last.get_mut(&(table.to_owned(), binding.clone()))?;
        last.open.remove(batch);
        let interval = INTERVAL.max(last.took.saturating_mul(SHARE));
        // Batches begin in order: the last one is the least likely to be finished.
        let is_early = now.duration_since(last.ended) < interval;
        last.open.last().filter(|_| is_early).cloned()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::now;

    #[test]
    fn a_batch_waits_only_for_others_that_are_open() {
        let binding: BindingId = "b".parse().expect("a binding");
        let batch =
            |index: u32| -> BatchId { format!("{:020}-t-{index}", 1).parse().expect("a batch") };
        let pace = Pace::default();
        let at = now();
        let waits_for = |index, seconds: f64| {
            let later = at + Duration::from_secs_f64(seconds);
            pace.can_wait_for("t", &binding, &batch(index), later)
        };
        assert_eq!(waits_for(0, 0.0), None, "nothing is known");
        pace.note("t", &binding, (at, at), [batch(1), batch(2)].into());
        assert_eq!(waits_for(1, 1.9), Some(batch(2)));
        let of_another = pace.can_wait_for("u", &binding, &batch(1), at);
        assert_eq!(of_another, None, "another table");
        assert_eq!(waits_for(2, 1.9), None, "the last one");
        pace.note("t", &binding, (at, at), [batch(3), batch(4)].into());
        assert_eq!(waits_for(3, 2.1), None, "the interval is over");
        // A commit that took a second may be repeated after fifty.
        let took_a_second = (at, at + Duration::from_secs(1));
        pace.note("t", &binding, took_a_second, [batch(5), batch(6)].into());
        assert_eq!(waits_for(5, 50.9), Some(batch(6)));
        assert_eq!(waits_for(5, 51.1), None);
    }
}
