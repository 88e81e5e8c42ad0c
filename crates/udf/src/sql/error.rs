//! What goes wrong when an expression is compiled.
//!
//! Every message is one line that says what is wrong and what to do about it.

use arrow_schema::DataType;
use datafusion::common::{DataFusionError, SchemaError};

use super::wording::{listed, mentions_types, message_of, names};

/// Why an expression was refused when it was compiled.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SqlError {
    /// The text holds nothing but white space and comments.
    #[error("the expression is empty; write one SQL expression, such as `price * quantity`")]
    Empty,
    /// The text is longer than the bound.
    #[error(
        "the expression has {bytes} bytes and the limit is {limit}; split it over several columns"
    )]
    TooLong {
        /// The length of the text in bytes.
        bytes: usize,
        /// The most bytes a text may have.
        limit: usize,
    },
    /// The expression nests deeper than the bound, counting every operator of a chain as a level.
    #[error(
        "the expression nests deeper than {limit} levels, where each operator of a chain counts as \
         one; split it over several columns"
    )]
    TooDeep {
        /// The most levels an expression may nest.
        limit: usize,
    },
    /// A construct whose operands are planned twice nests in its own operands too often.
    #[error(
        "`{construct}` stands too deep inside others of BETWEEN, ANY, ALL, maps and lambdas, and each \
         doubles the work; compute the inner value in a column of its own"
    )]
    TooEntangled {
        /// The innermost construct.
        construct: String,
    },
    /// The parser gave up after much more work than an expression of this length needs.
    #[error(
        "the expression is too ambiguous to parse; close every bracket and CASE, or split the \
         expression over several columns"
    )]
    TooAmbiguous,
    /// The text is not SQL.
    #[error("the expression does not parse: {message}")]
    Parse {
        /// What the parser says.
        message: String,
    },
    /// Text follows the end of the first expression.
    #[error(
        "the expression ends before `{found}`; write one expression, without a statement, a list or \
         an alias around it"
    )]
    TrailingText {
        /// The first word or sign that does not belong to the expression.
        found: String,
    },
    /// No column has the name.
    #[error(
        "there is no column `{name}`{}",
        listed("the closest names are", close)
    )]
    UnknownColumn {
        /// The name as written.
        name: String,
        /// The names closest to it, the best first.
        close: Vec<String>,
    },
    /// Several columns have the name when case is ignored, and none has it exactly.
    #[error(
        "the column `{name}` could be any of {}; write the name in double quotes, in its exact case",
        names(candidates)
    )]
    AmbiguousColumn {
        /// The name as written.
        name: String,
        /// The columns it could mean.
        candidates: Vec<String>,
    },
    /// A struct has no field of the name.
    #[error(
        "`{parent}` has no field `{name}`{}",
        listed("the closest names are", close)
    )]
    UnknownField {
        /// The field name as written.
        name: String,
        /// The value that was to have the field.
        parent: String,
        /// The names closest to it, the best first.
        close: Vec<String>,
    },
    /// No function has the name.
    #[error(
        "there is no function `{name}`{}",
        listed("the closest names are", close)
    )]
    UnknownFunction {
        /// The name as written.
        name: String,
        /// The names closest to it, the best first.
        close: Vec<String>,
    },
    /// An aggregate, which reads more than one row.
    #[error(
        "`{name}` aggregates over rows, and a column is computed from one row alone; for the values \
         of one list, use a list function such as array_max"
    )]
    Aggregate {
        /// The function's name.
        name: String,
    },
    /// A window function, which reads more than one row.
    #[error(
        "`{name}` is used as a window function over rows, and a column is computed from one row \
         alone; remove it"
    )]
    Window {
        /// The function's name.
        name: String,
    },
    /// A subquery, which reads other rows or tables.
    #[error(
        "a subquery reads other rows, and a column is computed from one row alone; add what it \
         looks up to the table as a column first"
    )]
    Subquery,
    /// A parameter or variable such as `?`, `$1` or `@name`.
    #[error("`{name}` is a parameter, and nothing would give it a value; write the value itself")]
    Parameter {
        /// The parameter as written.
        name: String,
    },
    /// A `*`, which stands for a list of columns.
    #[error("`*` stands for a list of columns; name the columns that the expression reads")]
    Wildcard,
    /// A function whose value depends on the time, on chance or on the session.
    #[error(
        "`{name}` gives another value every time it is computed, so the column would never be up \
         to date; compute the value outside and write it as a constant"
    )]
    NotImmutable {
        /// The function's name.
        name: String,
    },
    /// The arguments of a function or operator have types that it does not take.
    #[error("the argument types do not fit: {message}; convert an argument with CAST(… AS …)")]
    ArgumentTypes {
        /// What the planner says.
        message: String,
    },
    /// The expression parses but means nothing that can be computed.
    #[error("the expression cannot be planned: {message}")]
    Invalid {
        /// What the planner says.
        message: String,
    },
    /// SQL that the parser knows and the evaluation does not.
    #[error("this SQL is not supported: {message}")]
    Unsupported {
        /// What is not supported.
        message: String,
    },
    /// The planner could not do its work, through no fault of the expression's meaning.
    #[error("the expression could not be compiled: {message}; write it in another way")]
    NotCompiled {
        /// What happened.
        message: String,
    },
    /// A part that reads no column fails whenever it is computed.
    #[error("`{part}` fails for every row: {message}")]
    ConstantFails {
        /// The part, as SQL.
        part: String,
        /// Why it fails.
        message: String,
    },
    /// A filter that is not a boolean.
    #[error(
        "a filter is true or false, and this one is of the type {found}; compare it with something"
    )]
    NotBoolean {
        /// The type of the filter expression.
        found: String,
    },
    /// The expression is NULL for every row, and so has no type that a column can have.
    #[error(
        "the expression has no type, because it is (or holds) a NULL or an empty list without one; \
         give the column a type with --type, or write CAST(NULL AS …)"
    )]
    NullType,
    /// Lance stores no values of the type.
    #[error("Lance cannot store the type {found}: {advice}")]
    NotStorable {
        /// The type that the expression or the declaration gives.
        found: String,
        /// What to do instead.
        advice: String,
    },
    /// No value of the expression's type converts to the wanted type.
    #[error(
        "a value of the type {from} cannot be cast to {to}; change the type of the column or the \
         expression"
    )]
    CannotCast {
        /// The type of the expression.
        from: String,
        /// The wanted type.
        to: String,
    },
}

impl SqlError {
    /// What DataFusion says while it plans an expression.
    pub(super) fn from_planner(error: &DataFusionError) -> Self {
        let root = error.find_root();
        let message = message_of(root);
        match root {
            DataFusionError::SQL(..) => Self::Parse { message },
            DataFusionError::NotImplemented(_) => Self::Unsupported { message },
            DataFusionError::SchemaError(schema, _) => match schema.as_ref() {
                SchemaError::FieldNotFound { field, .. } => Self::UnknownColumn {
                    name: field.name.clone(),
                    close: Vec::new(),
                },
                _ => Self::Invalid { message },
            },
            _ if mentions_types(&message) => Self::ArgumentTypes { message },
            _ => Self::Invalid { message },
        }
    }

    /// A type that no column can have.
    pub(super) fn not_storable(found: &DataType, error: crate::types::TypeError) -> Self {
        match error {
            crate::types::TypeError::NotStorable { found, advice } => {
                Self::NotStorable { found, advice }
            }
            crate::types::TypeError::NoType => Self::NullType,
            other => Self::NotStorable {
                found: found.to_string(),
                advice: other.to_string(),
            },
        }
    }
}
