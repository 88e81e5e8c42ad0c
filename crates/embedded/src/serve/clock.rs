//! A clock that never goes back: the time of day may.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Farthest that we sleep at once; nothing depends on it but that adding it cannot overflow.
const LONGEST_SLEEP_MS: u64 = 3_600_000;

/// Milliseconds since it was started.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    started: Instant,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self {
            started: Instant::now(),
        }
    }

    pub(super) fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Sleeps until then, or an hour.
    pub(super) async fn sleep_until(&self, at_ms: u64) {
        let at_ms = at_ms.min(self.now_ms() + LONGEST_SLEEP_MS);
        sleep_until(self.started + Duration::from_millis(at_ms)).await;
    }
}
