//! What goes wrong when a compiled expression is evaluated.

use arrow_schema::ArrowError;
use datafusion::common::DataFusionError;

use super::wording::{message_of, one_line};

/// Why a compiled expression has no value for some row of a batch.
///
/// The batch as a whole has no result then; evaluate its halves to find the rows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct EvaluateError {
    /// One stable word: `overflow`, `divide_by_zero`, `cast`, `parse`, `compute`, `execution` or
    /// `internal` for values, `missing_input` or `input_type` for a batch that does
    /// not fit the compiled expression.
    pub kind: String,
    /// What happened, in one line of at most about 300 characters. It holds no data of the row but
    /// the operands that Arrow names.
    pub message: String,
}

impl EvaluateError {
    /// An error of one kind.
    pub(super) fn new(kind: &str, message: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            message: one_line(message),
        }
    }
}

impl From<&DataFusionError> for EvaluateError {
    fn from(error: &DataFusionError) -> Self {
        let root = error.find_root();
        match root {
            DataFusionError::ArrowError(arrow, _) => Self::from(arrow.as_ref()),
            DataFusionError::Execution(message) => {
                Self::new(kind_of_message(message, "execution"), message)
            }
            DataFusionError::Internal(_) => Self::new("internal", &message_of(root)),
            _ => Self::new("execution", &message_of(root)),
        }
    }
}

impl From<&ArrowError> for EvaluateError {
    fn from(error: &ArrowError) -> Self {
        match error {
            ArrowError::ArithmeticOverflow(message) => Self::new("overflow", message),
            ArrowError::DivideByZero => Self::new("divide_by_zero", "division by zero"),
            ArrowError::CastError(message) => Self::new("cast", message),
            ArrowError::ParseError(message) => Self::new("parse", message),
            ArrowError::ComputeError(message) => {
                Self::new(kind_of_message(message, "compute"), message)
            }
            // The kernels report digits that do not fit a decimal, and bytes that are no text, as
            // invalid arguments.
            ArrowError::InvalidArgumentError(message) if message.contains("Decimal") => {
                Self::new("overflow", message)
            }
            ArrowError::InvalidArgumentError(message) if message.contains("UTF-8") => {
                Self::new("cast", message)
            }
            ArrowError::InvalidArgumentError(message) => Self::new("compute", message),
            ArrowError::ExternalError(inner) => match inner.downcast_ref::<DataFusionError>() {
                Some(inner) => Self::from(inner),
                None => Self::new("execution", &inner.to_string()),
            },
            other => Self::new("execution", &other.to_string()),
        }
    }
}

/// `overflow` if a message says that a value left the range of its type, and `otherwise` if not:
/// functions report that in many ways.
fn kind_of_message(message: &str, otherwise: &'static str) -> &'static str {
    let message = message.to_lowercase();
    if message.contains("overflow") || message.contains("out of range") {
        "overflow"
    } else {
        otherwise
    }
}
