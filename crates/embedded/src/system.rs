//! The real clock and real randomness.

use std::time::{SystemTime, UNIX_EPOCH};

use lance_backfill_ports::world::World;

/// This machine's clock and random numbers.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct System;

impl World for System {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that asks the machine for the time"
    )]
    fn now_ms(&self) -> u64 {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn token(&self) -> String {
        uuid::Uuid::new_v4()
            .simple()
            .to_string()
            .chars()
            .take(12)
            .collect()
    }
}
