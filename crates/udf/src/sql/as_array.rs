//! A value as an array, also if it is the same for every row.

use std::fmt::{Display, Formatter};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Schema};
use datafusion::common::{DataFusionError, internal_datafusion_err};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;

/// The value of its operand, repeated for every row.
///
/// DataFusion's `map` panics when its keys are constant and its values are not; as arrays they may
/// differ.
#[expect(
    clippy::derived_hash_with_manual_eq,
    reason = "the equality below is the one that a derive would give"
)]
#[derive(Debug, Eq, Hash)]
pub(super) struct AsArray {
    operand: Arc<dyn PhysicalExpr>,
}

impl AsArray {
    pub(super) fn new(operand: Arc<dyn PhysicalExpr>) -> Self {
        Self { operand }
    }
}

// Derived, the comparison of `Arc<dyn PhysicalExpr>` does not compile:
// https://github.com/rust-lang/rust/issues/78808
impl PartialEq for AsArray {
    fn eq(&self, other: &Self) -> bool {
        self.operand.eq(&other.operand)
    }
}

impl Display for AsArray {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}", self.operand)
    }
}

impl PhysicalExpr for AsArray {
    fn data_type(&self, input_schema: &Schema) -> Result<DataType, DataFusionError> {
        self.operand.data_type(input_schema)
    }

    fn nullable(&self, input_schema: &Schema) -> Result<bool, DataFusionError> {
        self.operand.nullable(input_schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue, DataFusionError> {
        let values = self.operand.evaluate(batch)?.into_array(batch.num_rows())?;
        Ok(ColumnarValue::Array(values))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.operand]
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>, DataFusionError> {
        match <[_; 1]>::try_from(children) {
            Ok([operand]) => Ok(Arc::new(Self::new(operand))),
            Err(children) => Err(internal_datafusion_err!(
                "an array has one operand, not {}",
                children.len()
            )),
        }
    }

    fn fmt_sql(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        self.operand.fmt_sql(formatter)
    }
}
