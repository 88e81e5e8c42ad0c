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
mod beside;
mod cold;
mod concurrency;
mod copies;
mod damage;
mod declarations;
mod dependencies;
mod disk;
mod failures;
mod fill;
mod filters;
mod groups;
mod handlers;
mod history;
mod holds;
mod jobs;
mod kill;
mod neighbours;
mod parts;
mod permissions;
mod python;
mod queues;
mod refusals;
mod s3;
mod serve;
mod service;
mod service_artifacts;
mod service_outage;
mod service_remote;
mod service_secrets;
mod types;
mod unpublished;
