//! Whole-system tests of the service: its functions as Lambda runs them, on an emulator of AWS.
//!
//! Each test deploys the service for itself. Tables are written by Lance, as other clients do; what the
//! functions ask of S3 and SQS passes a proxy, which counts it and fails as a test tells it to.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what is wrong by panicking"
)]

mod deployment;
mod faults;
mod processes;
mod proxy;
#[expect(
    dead_code,
    unused_imports,
    reason = "it is shared with the tests of the engine, which use the rest"
)]
#[path = "../engine/support/mod.rs"]
mod support;

mod bad_input;
mod chaos;
mod crashes;
mod delivery;
mod drain;
mod follows;
mod gpu_routes;
mod gpu_worker;
mod latency;
mod outage;
mod python;
mod reach;
mod remote;
mod requests;
mod stores;
mod terraform;
mod writers;
