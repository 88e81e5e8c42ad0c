//! What the functions of the service share: configuration, records and their answers, what is told of
//! each invocation.

mod context;
mod emf;
mod field;
mod invocation;
mod log;
mod memory;
mod metrics;
mod otlp;
mod records;
mod tally;
mod time;

pub use context::{Context, environment};
pub use field::FIELDS;
pub use invocation::{Invocation, Start};
pub use log::start_log;
pub use memory::Shares;
pub use metrics::Metrics;
pub use otlp::{Flushed, Spans};
pub use records::{Answer, delivered, guarded, within};
pub use tally::{Tally, Waiting, Watched};
pub use time::Time;
