//! Time that stands until it is moved, and tokens from a seed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use lance_backfill_ports::world::World;

use crate::random::Random;

/// A clock that only its owner moves; clones show the same time.
#[derive(Debug, Clone, Default)]
pub struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    /// A clock that shows the given milliseconds since the epoch.
    pub fn at(now_ms: u64) -> Self {
        Self(Arc::new(AtomicU64::new(now_ms)))
    }

    /// The time that it shows.
    pub fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Moves the time forward.
    pub fn advance_ms(&self, by_ms: u64) {
        self.0.fetch_add(by_ms, Ordering::Relaxed);
    }
}

/// A world whose time is a manual clock and whose tokens come from a seed.
#[derive(Debug)]
pub struct SeededWorld {
    clock: ManualClock,
    random: Mutex<Random>,
}

impl SeededWorld {
    /// A world on a clock.
    pub const fn new(clock: ManualClock, seed: u64) -> Self {
        Self {
            clock,
            random: Mutex::new(Random::new(seed)),
        }
    }
}

impl World for SeededWorld {
    fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    fn token(&self) -> String {
        self.random
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .token()
    }
}
