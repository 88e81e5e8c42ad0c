//! Pauses of a table: while one is in force nothing of ours is published, so that others can
//! compact, clean up or move the table in peace.
//!
//! Entries are numbered and never changed; the one with the highest number counts.

use serde::{Deserialize, Serialize};

use crate::format::Stored;

/// Longest pause: one that was forgotten must end by itself.
pub const LONGEST_PAUSE_S: u64 = 7 * 24 * 3_600;

/// A pause of a table, or its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PauseEntry {
    /// Format of this JSON.
    pub version: u32,
    /// What it says.
    pub body: PauseBody,
}

impl Stored for PauseEntry {
    const WHAT: &'static str = "a pause of the table";
    const VERSION: u32 = 1;
}

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum PauseBody {
    /// Nothing is published for this long after the entry was stored, by the store's clock.
    Pause {
        /// Seconds.
        for_s: u64,
    },
    /// Ends the pause before it.
    // With braces: serde lets unknown fields pass in a variant without.
    Resume {},
}

impl PauseEntry {
    /// An entry of this program's format.
    pub fn new(body: PauseBody) -> Self {
        Self {
            version: Self::VERSION,
            body,
        }
    }

    /// Until when it holds, if it was stored at `created_ms` and still holds at `now_ms`.
    pub fn holds_until_ms(&self, created_ms: u64, now_ms: u64) -> Option<u64> {
        let PauseBody::Pause { for_s } = self.body else {
            return None;
        };
        let until_ms = created_ms.saturating_add(for_s.saturating_mul(1_000));
        (until_ms > now_ms).then_some(until_ms)
    }
}

/// Name of the entry with this number, below the folder of pauses; in digits that sort.
pub fn pause_path(number: u64) -> String {
    format!("{number:020}.json")
}

/// The number of an entry, by its name.
pub fn pause_number(path: &str) -> Option<u64> {
    let digits = path.rsplit('/').next()?.strip_suffix(".json")?;
    let number = digits.parse().ok()?;
    (pause_path(number) == format!("{digits}.json")).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_ends_when_its_time_is_over() {
        let pause = PauseEntry::new(PauseBody::Pause { for_s: 60 });
        assert_eq!(pause.holds_until_ms(1_000, 1_000), Some(61_000));
        assert_eq!(pause.holds_until_ms(1_000, 60_999), Some(61_000));
        assert_eq!(pause.holds_until_ms(1_000, 61_000), None);
        assert_eq!(
            PauseEntry::new(PauseBody::Resume {}).holds_until_ms(0, 0),
            None
        );
    }

    #[test]
    fn a_time_beyond_all_clocks_is_no_overflow() {
        let pause = PauseEntry::new(PauseBody::Pause { for_s: u64::MAX });
        assert_eq!(pause.holds_until_ms(u64::MAX, 5), Some(u64::MAX));
    }

    #[test]
    fn names_sort_like_numbers_and_foreign_names_are_none() {
        assert!(pause_path(9) < pause_path(10));
        assert_eq!(pause_number(&pause_path(12)), Some(12));
        assert_eq!(
            pause_number(&format!("pauses/{}", pause_path(12))),
            Some(12)
        );
        for foreign in ["12.json", "x.json", "", "00000000000000000012"] {
            assert_eq!(pause_number(foreign), None, "{foreign}");
        }
    }
}
