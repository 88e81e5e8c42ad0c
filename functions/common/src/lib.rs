//! What the functions of the service share: configuration, records and their answers, logs.

mod context;
mod log;
mod memory;
mod records;
mod time;

pub use context::Context;
pub use log::start_log;
pub use memory::Shares;
pub use records::{Answer, guarded, within};
pub use time::Time;
