//! The deciding half of lance-backfill: no clock, no randomness, no I/O, no async.
//!
//! Whatever can be wrong in an interesting way is a function here that takes values and returns
//! values with reasons. `ARCHITECTURE.md` tells how the modules hang together.

pub mod batch;
pub mod breaker;
pub mod calls;
pub mod checkpoint;
pub mod commit;
pub mod coverage;
pub mod cuts;
pub mod definition;
pub mod depend;
pub mod deployment;
pub mod error_budget;
pub mod format;
pub mod history;
pub mod identity;
pub mod ids;
pub mod invariant;
pub mod job;
pub mod journey;
pub mod ledger;
pub mod message;
pub mod pause;
pub mod permit;
pub mod plan;
pub mod quarantine;
pub mod rate;
pub mod route;
pub mod rows;
pub mod schedule;
pub mod snapshot;
pub mod state;
pub mod table;
pub mod types;
pub mod waits;
pub mod worker_status;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod testing;
