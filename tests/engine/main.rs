//! Whole-system tests: the real binary on real Lance tables, with Lance itself as the foreign writer.
//!
//! Each test makes a table in a folder of its own, changes it the way other writers do, runs
//! `lance-backfill` and compares every row with an oracle that recomputes it from the inputs.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what is wrong by panicking"
)]

mod support;

mod alter;
mod concurrency;
mod copies;
mod damage;
mod declarations;
mod dependencies;
mod failures;
mod fill;
mod filters;
mod history;
mod kill;
mod parts;
mod refusals;
mod types;
