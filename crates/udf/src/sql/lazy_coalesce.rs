//! The first operand that is not NULL, with each operand evaluated only for the rows that reach it.
//!
//! DataFusion evaluates COALESCE as a CASE in which every operand but the last stands twice, so that
//! nested ones grow exponentially.

use std::fmt::{Display, Formatter};
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow_schema::{DataType, Schema};
use arrow_select::zip::zip;
use datafusion::common::{DataFusionError, internal_datafusion_err};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;

/// `COALESCE(first, others…)` over operands of one type.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct LazyCoalesce {
    operands: Vec<Arc<dyn PhysicalExpr>>,
}

impl LazyCoalesce {
    /// `operands` holds at least one.
    pub(super) fn new(operands: Vec<Arc<dyn PhysicalExpr>>) -> Self {
        Self { operands }
    }

    fn first(&self) -> Result<&Arc<dyn PhysicalExpr>, DataFusionError> {
        self.operands
            .first()
            .ok_or_else(|| internal_datafusion_err!("COALESCE needs an operand"))
    }
}

/// The rows in which `values` is NULL.
fn null_rows(values: &dyn Array) -> BooleanArray {
    match values.logical_nulls() {
        Some(nulls) => BooleanArray::new(!nulls.inner(), None),
        None => BooleanArray::new(arrow_buffer::BooleanBuffer::new_unset(values.len()), None),
    }
}

impl Display for LazyCoalesce {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        let operands: Vec<String> = self.operands.iter().map(ToString::to_string).collect();
        write!(formatter, "coalesce({})", operands.join(", "))
    }
}

impl PhysicalExpr for LazyCoalesce {
    fn data_type(&self, input_schema: &Schema) -> Result<DataType, DataFusionError> {
        self.first()?.data_type(input_schema)
    }

    fn nullable(&self, input_schema: &Schema) -> Result<bool, DataFusionError> {
        for operand in &self.operands {
            if !operand.nullable(input_schema)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue, DataFusionError> {
        let rows = batch.num_rows();
        let mut result: ArrayRef = self.first()?.evaluate(batch)?.into_array(rows)?;
        for operand in self.operands.iter().skip(1) {
            let open = null_rows(result.as_ref());
            if !open.has_true() {
                break;
            }
            let values = operand.evaluate_selection(batch, &open)?.into_array(rows)?;
            result = zip(&open, &values, &result)?;
        }
        Ok(ColumnarValue::Array(result))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        self.operands.iter().collect()
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>, DataFusionError> {
        Ok(Arc::new(Self::new(children)))
    }

    fn fmt_sql(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        Display::fmt(self, formatter)
    }
}
