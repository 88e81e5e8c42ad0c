//! The whole engine in one process: the same stages, ledger, checkpoint manifests and commits that
//! the distributed modes use, with an in-process queue.

mod artifacts;
pub mod breaker;
pub mod canary;
pub mod catalog;
pub mod claim;
pub mod converge;
pub mod declare;
pub mod engine;
mod freshness;
mod functions;
mod home;
pub mod jobs;
pub mod optimize;
pub mod pause;
pub mod python;
mod scratch;
pub mod serve;
mod session;
mod stages;
mod system;
pub mod waiting;

pub use artifacts::{ArtifactSource, ServiceFunctions};
pub use engine::{Engine, EngineOptions};
pub use lance_backfill_udf::python::{
    Described, EnvironmentChoice, EnvironmentLock, PackRequest, Python, Target,
};
pub use lance_backfill_udf::quiet_caught_panics;
