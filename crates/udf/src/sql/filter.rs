//! The expression that selects the rows to compute.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, BooleanArray, RecordBatch};
use arrow_schema::Schema;
use arrow_select::filter::prep_null_mask_filter;

use super::compile::{Purpose, compile};
use super::error::SqlError;
use super::evaluate_error::EvaluateError;
use super::program::Program;

/// A compiled boolean SQL expression over the columns of one row.
///
/// AND and OR go from left to right, and the right side is not evaluated for a row that the left side
/// decides: `b <> 0 AND a / b > 1` does not fail where `b` is zero, and `a / b > 1 AND b <> 0` does.
#[derive(Debug, Clone)]
pub struct SqlFilter {
    program: Arc<Program>,
}

impl SqlFilter {
    /// Compiles `expression`, which must be boolean, against `schema`.
    pub fn compile(expression: &str, schema: &Schema) -> Result<Self, SqlError> {
        let program = compile(expression, schema, &Purpose::Filter)?;
        Ok(Self {
            program: Arc::new(program),
        })
    }

    /// The top-level columns it reads, in the order of the schema; none for a constant.
    pub fn inputs(&self) -> &[String] {
        &self.program.inputs
    }

    /// The filter as it belongs in a content digest; see [`super::SqlFunction::canonical`].
    pub fn canonical(&self) -> &str {
        &self.program.canonical
    }

    /// Which rows of `batch` are selected: true without NULLs, where a NULL of the expression
    /// selects nothing. The batch is as for [`super::SqlFunction::evaluate`].
    pub fn select(&self, batch: &RecordBatch) -> Result<BooleanArray, EvaluateError> {
        let values = self.program.evaluate(batch)?;
        let values = values.as_boolean();
        Ok(if values.null_count() == 0 {
            BooleanArray::new(values.values().clone(), None)
        } else {
            prep_null_mask_filter(values)
        })
    }
}
