//! What the tests stand on: a table that others write to, the real binary, and the oracle.

pub(crate) mod dice;
pub(crate) mod emulator;
pub(crate) mod functions;
pub(crate) mod in_process;
pub(crate) mod oracle;
pub(crate) mod program;
pub(crate) mod scenario;
pub(crate) mod serving;
pub(crate) mod table;
pub(crate) mod watch;

pub(crate) use functions::Functions;
pub(crate) use oracle::Row;
pub(crate) use program::Outcome;
pub(crate) use scenario::{ColumnReport, Failure, Report, Scenario};
pub(crate) use table::{Shape, Table, ints, texts};
