//! How long rows have waited for their values, and finished ones for their version: what a deployed
//! service is watched by.
//!
//! Nothing is stored for it. How exact it is: a row that was handed out waits since its ledger entry was
//! stored, which is too little by the time until a planner saw it. A row that is held waits since the
//! hold, which is too much if it came later. A row that the asking planner hands out counts since the
//! newest version, which is too little by the time that it was there before, at most the time between
//! two runs of the schedule. Where nothing moves at all, the planner looks the time up in the versions
//! that still exist. So a backfill that makes progress never looks old, however long it takes.

/// A batch that was finished so long ago and could have been published is stalled.
pub const STALLED_AFTER_MS: u64 = 10 * 60 * 1_000;

/// What a survey tells of a column's rows that wait; times are milliseconds since the epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Waits {
    /// Rows that somebody wants to have computed, in anybody's hands or nobody's.
    pub rows: u64,
    /// Those in need that nobody has: neither handed out nor finished.
    pub rows_left: u64,
    /// Since when these have waited at least: when the surveyed version was made, or what was looked up.
    pub left_since_ms: u64,
    /// When the oldest hold or breaker was written down that is in force, if one is.
    pub held_ms: Option<u64>,
    /// When work was handed out that is open, or finished and not published; the oldest.
    pub handed_out_ms: Option<u64>,
    /// When each batch was finished that a commit could publish now.
    pub finished_ms: Vec<u64>,
}

impl Waits {
    /// Since when the row has waited that has waited longest; `None` if none waits.
    pub fn since_ms(&self) -> Option<u64> {
        let left = (self.rows_left > 0).then(|| self.held_ms.unwrap_or(self.left_since_ms));
        [left, self.handed_out_ms].into_iter().flatten().min()
    }

    /// How long that is; a clock that is behind the store's makes it zero.
    pub fn age_ms(&self, now_ms: u64) -> Option<u64> {
        self.since_ms()
            .map(|since_ms| now_ms.saturating_sub(since_ms))
    }

    /// Whether rows are left, and neither work nor a hold tells since when.
    pub fn stands_still(&self) -> bool {
        self.rows_left > 0 && self.held_ms.is_none() && self.handed_out_ms.is_none()
    }

    /// Batches that were finished so long ago that the committer must have failed to publish them.
    pub fn stalled(&self, now_ms: u64) -> usize {
        let is_stalled =
            |finished_ms: &&u64| now_ms.saturating_sub(**finished_ms) > STALLED_AFTER_MS;
        self.finished_ms.iter().filter(is_stalled).count()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_row_waits_since_it_was_handed_out_held_or_in_the_newest_version() {
        let check = |waits: Waits, since_ms: Option<u64>| {
            assert_eq!(waits.since_ms(), since_ms, "{waits:?}");
        };
        assert!(!Waits::default().stands_still());
        let settled = Waits {
            left_since_ms: 50,
            held_ms: Some(10),
            ..Waits::default()
        };
        check(settled.clone(), None);
        let left = Waits {
            rows_left: 1,
            ..settled
        };
        check(left.clone(), Some(10));
        let unheld = Waits {
            held_ms: None,
            ..left.clone()
        };
        check(unheld.clone(), Some(50));
        assert!(unheld.stands_still() && !left.stands_still());
        let handed_out_ms = Some(20);
        check(
            Waits {
                handed_out_ms,
                ..unheld
            },
            Some(20),
        );
        check(
            Waits {
                handed_out_ms,
                ..left.clone()
            },
            Some(10),
        );
        check(
            Waits {
                handed_out_ms,
                rows_left: 0,
                ..left
            },
            Some(20),
        );
    }

    #[test]
    fn a_batch_is_stalled_when_its_time_is_over() {
        let waits = Waits {
            finished_ms: vec![1_000, 2_000, STALLED_AFTER_MS + 5_000],
            ..Waits::default()
        };
        assert_eq!(waits.stalled(0), 0);
        assert_eq!(waits.stalled(STALLED_AFTER_MS + 1_000), 0);
        assert_eq!(waits.stalled(STALLED_AFTER_MS + 1_001), 1);
        assert_eq!(waits.stalled(STALLED_AFTER_MS + 2_001), 2);
    }

    proptest! {
        #[test]
        fn no_row_waits_without_a_reason_and_none_is_forgotten(
            rows_left in 0_u64..2,
            left_since_ms in 0_u64..100,
            held_ms in prop::option::of(0_u64..100),
            handed_out_ms in prop::option::of(0_u64..100),
            now_ms in 0_u64..200,
        ) {
            let waits = Waits { rows: 0, rows_left, left_since_ms, held_ms, handed_out_ms, finished_ms: vec![] };
            let since_ms = waits.since_ms();
            prop_assert_eq!(since_ms.is_some(), rows_left > 0 || handed_out_ms.is_some());
            for reason in [held_ms.filter(|_| rows_left > 0), handed_out_ms].into_iter().flatten() {
                prop_assert!(since_ms.is_some_and(|since_ms| since_ms <= reason));
            }
            prop_assert_eq!(waits.age_ms(now_ms), since_ms.map(|since_ms| now_ms.saturating_sub(since_ms)));
        }
    }
}
