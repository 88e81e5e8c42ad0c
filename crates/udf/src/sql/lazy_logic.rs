//! AND and OR that evaluate the right side only for the rows that the left side leaves open.

use std::fmt::{Display, Formatter};
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow_schema::{DataType, Schema};
use datafusion::arrow::compute::kernels::boolean::{and_kleene, or_kleene};
use datafusion::common::cast::as_boolean_array;
use datafusion::common::{DataFusionError, internal_datafusion_err};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;

/// Which of the two operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Logic {
    And,
    Or,
}

/// `left AND right` or `left OR right` in three-valued logic. The right side is evaluated for no row
/// that the left side decides, so that it cannot fail for one.
#[expect(
    clippy::derived_hash_with_manual_eq,
    reason = "the equality below is the one that a derive would give"
)]
#[derive(Debug, Eq, Hash)]
pub(super) struct LazyLogic {
    left: Arc<dyn PhysicalExpr>,
    logic: Logic,
    right: Arc<dyn PhysicalExpr>,
}

// Derived, the comparison of `Arc<dyn PhysicalExpr>` does not compile:
// https://github.com/rust-lang/rust/issues/78808
impl PartialEq for LazyLogic {
    fn eq(&self, other: &Self) -> bool {
        self.logic == other.logic && self.left.eq(&other.left) && self.right.eq(&other.right)
    }
}

impl LazyLogic {
    pub(super) fn new(
        left: Arc<dyn PhysicalExpr>,
        logic: Logic,
        right: Arc<dyn PhysicalExpr>,
    ) -> Self {
        Self { left, logic, right }
    }

    /// The rows for which `left` alone does not tell the result.
    fn open_rows(&self, left: &BooleanArray) -> BooleanArray {
        let open = match self.logic {
            Logic::And => left.values().clone(),
            Logic::Or => !left.values(),
        };
        let open = match left.nulls() {
            Some(nulls) => &open | &!nulls.inner(),
            None => open,
        };
        BooleanArray::new(open, None)
    }
}

impl Display for LazyLogic {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        let word = match self.logic {
            Logic::And => "AND",
            Logic::Or => "OR",
        };
        write!(formatter, "({}) {word} ({})", self.left, self.right)
    }
}

impl PhysicalExpr for LazyLogic {
    fn data_type(&self, _input_schema: &Schema) -> Result<DataType, DataFusionError> {
        Ok(DataType::Boolean)
    }

    fn nullable(&self, input_schema: &Schema) -> Result<bool, DataFusionError> {
        Ok(self.left.nullable(input_schema)? || self.right.nullable(input_schema)?)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue, DataFusionError> {
        let rows = batch.num_rows();
        let left = self.left.evaluate(batch)?.into_array(rows)?;
        let left = as_boolean_array(&left)?;
        let open = self.open_rows(left);
        if !open.has_true() {
            let decided: ArrayRef = Arc::new(left.clone());
            return Ok(ColumnarValue::Array(decided));
        }
        let right = self
            .right
            .evaluate_selection(batch, &open)?
            .into_array(rows)?;
        let right = as_boolean_array(&right)?;
        let result = match self.logic {
            Logic::And => and_kleene(left, right)?,
            Logic::Or => or_kleene(left, right)?,
        };
        Ok(ColumnarValue::Array(Arc::new(result)))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.left, &self.right]
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>, DataFusionError> {
        match <[_; 2]>::try_from(children) {
            Ok([left, right]) => Ok(Arc::new(Self::new(left, self.logic, right))),
            Err(children) => Err(internal_datafusion_err!(
                "AND and OR have two operands, not {}",
                children.len()
            )),
        }
    }

    fn fmt_sql(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        Display::fmt(self, formatter)
    }
}
