//! What the functions of the service share: configuration, records and their answers, what is told of
//! each invocation.

mod context;
mod emf;
mod field;
mod invocation;
mod log;
mod metrics;
mod otlp;
mod records;
mod tally;

pub use context::{Context, environment};
pub use field::FIELDS;
pub use invocation::{Invocation, Start};
pub use log::start_log;
pub use metrics::Metrics;
pub use otlp::{Flushed, Spans};
pub use records::{Answer, guarded};
pub use tally::{Tally, Waiting, Watched};
