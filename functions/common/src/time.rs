//! The time of an invocation.

use std::time::Duration;

use lance_backfill_service::Until;
use tokio::time::Instant;

/// Time at the end of an invocation in which the answer is sent.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// The share of the time before it in which what was begun is brought to an end: the values of a batch
/// are written, a commit is decided.
const SHARE: u32 = 8;
/// That is no more than this, however long the invocation: to write what one batch holds in memory
/// takes seconds.
const LONGEST: Duration = Duration::from_secs(30);

/// The time of an invocation.
#[derive(Debug, Clone)]
pub struct Time {
    /// Until then further work is begun.
    pub begin: Until,
    /// Until then it must have ended: what is still at work is given up.
    pub end: Instant,
}

impl Time {
    /// Of an invocation that ends after so long.
    pub fn of(left: Duration) -> Self {
        let now = Instant::now();
        let (begin, end) = times(left);
        Self {
            begin: Until::at(now + begin),
            end: now + end,
        }
    }
}

/// How long work is begun, and how long it may go on, when so much time is left.
fn times(left: Duration) -> (Duration, Duration) {
    let end = left.saturating_sub(LAST_WORDS);
    (end - (end / SHARE).min(LONGEST), end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_begun_as_long_as_there_is_time_to_end_it() {
        for (left, begin, end) in [
            (0, 0, 0),
            (2_000, 0, 0),
            (10_000, 7_000, 8_000),
            (60_000, 50_750, 58_000),
            (120_000, 103_250, 118_000),
            (300_000, 268_000, 298_000),
            (900_000, 868_000, 898_000),
        ] {
            let found = times(Duration::from_millis(left));
            assert_eq!(
                found,
                (Duration::from_millis(begin), Duration::from_millis(end))
            );
        }
    }

    #[tokio::test]
    async fn without_time_nothing_is_begun() {
        assert!(Time::of(Duration::ZERO).begin.is_over());
        assert!(!Time::of(Duration::from_secs(600)).begin.is_over());
    }
}
