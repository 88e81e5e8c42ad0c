//! The stages of the engine behind queues: planner, worker and committer of a deployed service.
//!
//! Each takes one message, does what the table and its records say, and sends messages on. A message
//! only says where to look, so that one which is lost, repeated or late costs nothing but time.

mod committer;
mod in_process;
mod pace;
mod planner;
mod queues;
mod redrive;
mod registry;
mod remote;
mod spending;
mod tables;
mod worker;

pub use committer::Committed;
pub use in_process::InProcessQueue;
pub use planner::{ColumnPlan, Planned, Sent};
pub use queues::Queues;
pub use redrive::Redriven;
pub use registry::Admission;
pub use remote::{Depths, QueueName, Remote, StopOutcome};
pub use worker::Worked;

use std::sync::Arc;

use lance_backfill_embedded::EngineOptions;
use lance_backfill_ports::state_store::StateStore;

use pace::Pace;
use registry::Registry;
use spending::Spending;
use tables::Tables;

/// What a service may use, in each of its processes.
#[derive(Debug, Clone)]
pub struct ServiceOptions {
    /// How tables are opened, and what one process may use.
    pub engine: EngineOptions,
    /// Batches that are at work at once, in all processes.
    pub batches_at_once: u32,
}

/// One process of a service.
pub struct Service {
    tables: Tables,
    registry: Registry,
    spending: Spending,
    pace: Pace,
    queues: Queues,
    options: ServiceOptions,
}

impl Service {
    /// A process that sends to these queues; the store is the service's own.
    pub fn new(options: ServiceOptions, queues: Queues, store: Arc<dyn StateStore>) -> Self {
        Self {
            tables: Tables::new(options.engine.clone()),
            registry: Registry::new(store.clone()),
            spending: Spending::new(store),
            pace: Pace::default(),
            queues,
            options,
        }
    }
}
