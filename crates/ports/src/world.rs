//! Time and randomness, handed in so that tests and simulation can replace them.

/// The time and fresh names.
pub trait World: Send + Sync {
    /// Milliseconds since the epoch.
    fn now_ms(&self) -> u64;

    /// A fresh random token of lower-case letters and digits.
    fn token(&self) -> String;
}
