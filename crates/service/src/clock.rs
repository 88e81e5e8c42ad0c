//! The clock of the machine, for what no test can hurry: queues, and people and processes elsewhere.

use std::time::{Duration, Instant, SystemTime};

/// For ages of what this process remembers.
#[expect(
    clippy::disallowed_methods,
    reason = "what a process remembers of others gets old by itself"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Milliseconds since the epoch, for what others read.
#[expect(
    clippy::disallowed_methods,
    reason = "a worker says when it was there by its own clock"
)]
pub(crate) fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    u64::try_from(now.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

#[expect(
    clippy::disallowed_methods,
    reason = "keeps messages of queues, and spares requests to queues and stores"
)]
pub(crate) async fn wait(time: Duration) {
    tokio::time::sleep(time).await;
}
