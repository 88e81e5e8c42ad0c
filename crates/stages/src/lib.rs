//! The stages of lance-backfill: each reads the table and the state store through ports, lets the
//! core decide, and writes conditionally or idempotently.

pub mod column;
pub mod column_store;
pub mod commit;
pub mod execute;
mod history;
mod outputs;
pub mod plan;
pub mod reconcile;
pub mod survey;
pub mod until;

pub use outputs::settled_structs;
