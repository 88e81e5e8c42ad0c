//! SQL expressions over the columns of one row.
//!
//! The way of an expression, one module a step: `limits` bounds the text, `parse` makes a syntax
//! tree of it, `resolve` ties names to columns and refuses what a row cannot answer, `canonical`
//! prints the tree for content digests, `plan` gives it types, `constants` computes what does not
//! depend on a row, `checked` makes arithmetic fail instead of wrapping, and `program` runs it.

mod as_array;
mod calls;
mod canonical;
mod checked;
mod compile;
mod constants;
mod decimal_range;
mod dialect;
mod error;
mod evaluate_error;
mod filter;
mod function;
mod guard;
mod large_stack;
mod lazy_coalesce;
mod lazy_logic;
mod limits;
mod names;
mod octet_length;
mod parse;
mod plan;
mod program;
mod resolve;
mod session;
#[cfg(test)]
mod tests;
mod wording;

pub(crate) use compile::type_of_cast;
pub use error::SqlError;
pub use evaluate_error::EvaluateError;
pub use filter::SqlFilter;
pub use function::SqlFunction;
pub use guard::quiet_caught_panics;
