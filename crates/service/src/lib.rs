//! The stages of the engine behind queues: planner, worker and committer of a deployed service.
//!
//! Each takes one message, does what the table and its records say, and sends messages on. A message
//! only says where to look, so that one which is lost, repeated or late costs nothing but time.

mod clock;
mod committer;
mod in_process;
mod limits;
mod pace;
mod planner;
mod presence;
mod pull;
mod quarantine;
mod queues;
mod redrive;
mod registry;
mod remote;
mod spending;
mod tables;
mod told;
mod worker;

pub use committer::Committed;
pub use in_process::InProcessQueue;
pub use lance_backfill_stages::until::{End, Stop, Until};
pub use limits::limits;
pub use planner::{Asking, ColumnPlan, Planned, Sent};
pub use presence::{Presence, Who, workers};
pub use pull::{Doing, PullOptions, Pulled};
pub use quarantine::{GivenUp, Quarantined};
pub use queues::{ClassQueues, Queues};
pub use redrive::Redriven;
pub use registry::Admission;
pub use remote::{Depths, QueueName, Remote, StopOutcome};
pub use told::tell;
pub use worker::{Delivered, Worked};

use std::sync::Arc;
use std::time::Duration;

use lance_backfill_core::breaker::FIRST_WAIT_MS;
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
    /// Batches of the service's own queues that are at work at once, in all processes.
    pub batches_at_once: u32,
    /// Class whose batches this process does; none where it serves the service's own queues.
    pub class: Option<String>,
    /// What happens while a function cannot be called.
    pub outages: Outages,
}

/// How long a service waits while a function cannot be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outages {
    /// From the fault that opened the breaker of a column to its first probe; each further wait is twice
    /// as long, up to an hour.
    pub first_probe_after: Duration,
    /// How long the calls of one batch may have to wait for the other side of the function: then the
    /// batch ends with what it has, since a worker is paid by its time.
    pub patience: Duration,
}

impl Default for Outages {
    fn default() -> Self {
        Self {
            first_probe_after: Duration::from_millis(FIRST_WAIT_MS),
            patience: Duration::from_secs(60),
        }
    }
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
            tables: Tables::new(options.engine.clone(), options.outages.patience),
            registry: Registry::new(store.clone()),
            spending: Spending::new(store),
            pace: Pace::default(),
            queues,
            options,
        }
    }
}
