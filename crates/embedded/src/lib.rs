//! The whole engine in one process: the same stages, ledger, checkpoint manifests and commits that
//! the distributed modes use, with an in-process queue.

pub mod catalog;
pub mod converge;
pub mod declare;
pub mod engine;
mod freshness;
mod functions;
mod home;
pub mod jobs;
pub mod optimize;
pub mod pause;
pub mod register;
mod scratch;
pub mod serve;
mod session;
mod system;
pub mod waiting;

pub use engine::{Engine, EngineOptions};
