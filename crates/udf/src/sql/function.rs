//! The expression that computes a column.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Schema};

use super::compile::{Purpose, compile};
use super::error::SqlError;
use super::evaluate_error::EvaluateError;
use super::program::Program;

/// A compiled SQL expression over the columns of one row.
///
/// Integer and decimal overflow, integer division by zero and failed casts are errors, never wrapped
/// values or NULLs. A CASE, COALESCE, AND or OR evaluates a part only for the rows that need it, so
/// that `CASE WHEN b <> 0 THEN a / b END` does not fail where `b` is zero.
#[derive(Debug, Clone)]
pub struct SqlFunction {
    program: Arc<Program>,
}

impl SqlFunction {
    /// Compiles `expression` against `schema`.
    ///
    /// With an `output` type, every value is cast to it, and a value that cannot be is an error.
    /// Without one the type is the expression's own, where view types become the plain types that
    /// Lance stores.
    pub fn compile(
        expression: &str,
        schema: &Schema,
        output: Option<&DataType>,
    ) -> Result<Self, SqlError> {
        let program = compile(expression, schema, &Purpose::Column(output))?;
        Ok(Self {
            program: Arc::new(program),
        })
    }

    /// The top-level columns it reads, in the order of the schema; none for a constant.
    pub fn inputs(&self) -> &[String] {
        &self.program.inputs
    }

    /// The type of every array that [`Self::evaluate`] returns.
    pub fn output_type(&self) -> &DataType {
        &self.program.output_type
    }

    /// The type that the expression has by itself, without a cast to [`Self::output_type`].
    pub fn own_type(&self) -> &DataType {
        &self.program.own_type
    }

    /// The expression as it belongs in a content digest, together with [`Self::output_type`] and
    /// the types of the inputs.
    ///
    /// White space, comments, the case of keywords and function names, redundant quotes and the
    /// case in which a column is named do not change it. Two expressions with the same canonical
    /// text over the same columns compute the same values, up to the output type.
    pub fn canonical(&self) -> &str {
        &self.program.canonical
    }

    /// The value for each row of `batch`, which holds at least the input columns, by name and in
    /// any order, with the types they had in the schema; whether they may be NULL is free.
    ///
    /// The result has `batch.num_rows()` values of exactly [`Self::output_type`].
    pub fn evaluate(&self, batch: &RecordBatch) -> Result<ArrayRef, EvaluateError> {
        self.program.evaluate(batch)
    }
}
