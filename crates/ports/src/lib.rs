//! What the stages need of the world: a table, a state store, a function, time and tokens.
//!
//! Traits here say what is promised; adapters say how. Nothing in this crate does I/O.

pub mod compute;
pub mod error;
pub mod queue;
pub mod secrets;
pub mod state_store;
pub mod table;
pub mod width;
pub mod world;

pub use error::{Error, ErrorKind, Result};
