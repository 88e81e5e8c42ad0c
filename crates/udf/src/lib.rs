//! What computes a column: SQL expressions and filters, Python functions, and the types they may produce.
//!
//! A computed column of a Lance table is defined by one SQL expression over other columns of the same
//! row and, optionally, by one boolean expression that selects the rows to compute. Both are
//! compiled once ([`SqlFunction::compile`], [`SqlFilter::compile`]) and then evaluated batch by
//! batch. A row's value depends on that row and on the text of the expression alone: what would make
//! it depend on other rows, on the time or on chance is refused when the expression is compiled.
//!
//! DataFusion plans and evaluates; none of its types appear here.
//!
//! Or it is defined by a Python function, which runs in host processes of its own ([`python`]).

pub mod python;
pub mod sql;
pub mod types;

pub use sql::{EvaluateError, SqlError, SqlFilter, SqlFunction, quiet_caught_panics};
