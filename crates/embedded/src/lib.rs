//! The whole engine in one process: the same stages, ledger, checkpoint manifests and commits that
//! the distributed modes use, with an in-process queue.

pub mod catalog;
pub mod converge;
pub mod declare;
pub mod engine;
mod functions;
mod home;
pub mod register;
mod scratch;
mod session;
mod system;

pub use engine::{Engine, EngineOptions};
