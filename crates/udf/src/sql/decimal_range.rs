//! Decimals that have no more digits than their type says.

use std::fmt::{Display, Formatter};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Decimal256Type};
use arrow_array::{Array, RecordBatch};
use arrow_schema::{ArrowError, DataType, Schema};
use datafusion::common::{DataFusionError, internal_datafusion_err};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;

/// The value of its operand, or an overflow if a value has more digits than the type's precision:
/// the arithmetic of Arrow only fails when the integer that holds the digits overflows.
#[expect(
    clippy::derived_hash_with_manual_eq,
    reason = "the equality below is the one that a derive would give"
)]
#[derive(Debug, Eq, Hash)]
pub(super) struct DecimalRange {
    operand: Arc<dyn PhysicalExpr>,
}

// Derived, the comparison of `Arc<dyn PhysicalExpr>` does not compile:
// https://github.com/rust-lang/rust/issues/78808
impl PartialEq for DecimalRange {
    fn eq(&self, other: &Self) -> bool {
        self.operand.eq(&other.operand)
    }
}

impl DecimalRange {
    pub(super) fn new(operand: Arc<dyn PhysicalExpr>) -> Self {
        Self { operand }
    }
}

/// Fails if a value of `array` has too many digits for the array's type.
fn check_precision(array: &dyn Array) -> Result<(), DataFusionError> {
    let checked = match array.data_type() {
        DataType::Decimal128(precision, _) => array
            .as_primitive::<Decimal128Type>()
            .validate_decimal_precision(*precision),
        DataType::Decimal256(precision, _) => array
            .as_primitive::<Decimal256Type>()
            .validate_decimal_precision(*precision),
        _ => Ok(()),
    };
    checked.map_err(|error| match error {
        ArrowError::InvalidArgumentError(message) => ArrowError::ArithmeticOverflow(message).into(),
        other => other.into(),
    })
}

impl Display for DecimalRange {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}", self.operand)
    }
}

impl PhysicalExpr for DecimalRange {
    fn data_type(&self, input_schema: &Schema) -> Result<DataType, DataFusionError> {
        self.operand.data_type(input_schema)
    }

    fn nullable(&self, input_schema: &Schema) -> Result<bool, DataFusionError> {
        self.operand.nullable(input_schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue, DataFusionError> {
        let value = self.operand.evaluate(batch)?;
        match &value {
            ColumnarValue::Array(array) => check_precision(array.as_ref())?,
            ColumnarValue::Scalar(scalar) => check_precision(scalar.to_array()?.as_ref())?,
        }
        Ok(value)
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
                "a decimal range has one operand, not {}",
                children.len()
            )),
        }
    }

    fn fmt_sql(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        self.operand.fmt_sql(formatter)
    }
}
