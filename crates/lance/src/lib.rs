//! The only crate that names Lance: tables, their versions, and state stores beside them.

mod blob;
mod changes;
mod commits;
mod compact;
mod discover;
mod edit;
mod error;
mod place;
mod read;
mod stage;
mod state_store;
mod table;
mod view;
mod write;

pub use compact::{CompactOutcome, Compaction};
pub use discover::Places;
pub use state_store::ObjectStateStore;
pub use table::{LanceTable, OpenOptions};
