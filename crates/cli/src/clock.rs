//! The clock of this machine, for what nobody tells of: people, pods and processes elsewhere.

use std::time::{Duration, SystemTime};

/// Milliseconds since the epoch.
#[expect(
    clippy::disallowed_methods,
    reason = "a person reads ages by the clock of this machine"
)]
pub(crate) fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    u64::try_from(now.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

#[expect(
    clippy::disallowed_methods,
    reason = "who is looked for elsewhere tells nobody, and a person reads along"
)]
pub(crate) async fn wait(time: Duration) {
    tokio::time::sleep(time).await;
}
