//! What the functions of the service share: configuration, records and their answers, logs.

mod context;
mod log;
mod records;

pub use context::Context;
pub use log::start_log;
pub use records::{Answer, guarded};
