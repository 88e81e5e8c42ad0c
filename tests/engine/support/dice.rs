//! Chance that can be repeated.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

use super::program::{say, setting};

/// Repeats what chance decided.
const SEED: &str = "LANCE_BACKFILL_SEED";

/// Numbers that a seed decides (splitmix64).
pub(crate) struct Dice(u64);

impl Dice {
    /// A fresh seed, or the one that is asked for; the log tells how to ask for it again.
    ///
    /// It repeats what is done. When the operating system gets to it, it does not.
    pub(crate) fn for_test(test: &str) -> Self {
        let seed = setting(SEED).unwrap_or_else(|| RandomState::new().build_hasher().finish());
        let binary = env!("CARGO_CRATE_NAME");
        say(&format!(
            "{test}: replay with {SEED}={seed} scripts/test --test {binary} {test}"
        ));
        Self::of(seed)
    }

    /// What this seed decides.
    pub(crate) const fn of(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below the given one.
    pub(crate) fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }

    /// One of some things.
    pub(crate) fn pick<T: Copy>(&mut self, things: &[T]) -> T {
        let place = self.roll(things.len() as u64);
        things[usize::try_from(place).expect("a place")]
    }
}
