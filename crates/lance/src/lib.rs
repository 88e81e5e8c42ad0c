//! The only crate that names Lance: tables, their versions, and state stores beside them.

mod changes;
mod edit;
mod error;
mod place;
mod read;
mod stage;
mod state_store;
mod table;
mod view;
mod write;

pub use state_store::ObjectStateStore;
pub use table::{LanceTable, OpenOptions};
