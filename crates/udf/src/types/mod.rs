//! The types of computed columns: how they are written, and which of them Lance stores.

mod name;
mod parse;
mod reader;
mod storable;
#[cfg(test)]
mod tests;
mod widening;

pub use name::type_name;
pub use parse::parse_type;
pub use storable::{check_storable, normalise};
pub use widening::widens;

/// Why a type cannot be read, named or stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TypeError {
    /// The text names no type.
    #[error(
        "`{text}` is not a type: {reason}; write a SQL type such as DOUBLE, BIGINT, VARCHAR or \
         DECIMAL(10, 2), or a Lance type such as float, int64, string or \
         fixed_size_list<float, 128>"
    )]
    NotAType {
        /// The text, shortened.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The type has no name that could be read back.
    #[error("the type {found} has no name: {reason}")]
    NoName {
        /// The type.
        found: String,
        /// What cannot be named.
        reason: String,
    },
    /// The type has no values but NULL.
    #[error("a column of the type Null holds nothing; give the column a type")]
    NoType,
    /// Lance stores no values of the type.
    #[error("Lance cannot store the type {found}: {advice}")]
    NotStorable {
        /// The type.
        found: String,
        /// What to do instead.
        advice: String,
    },
}
