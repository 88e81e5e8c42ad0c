//! The evaluation of a DataFusion expression, with its panics turned into errors.
//!
//! Functions of DataFusion and kernels of Arrow panic on some values: `array_repeat(1, n)` where `n`
//! values exceed the address space, a MAP of a list of keys that is no list, a cast of lists of
//! unequal lengths to a fixed-size list. The values come from rows, so no check at compile time can
//! exclude them, and one row must not end a job that computes millions. Hence panics are caught here,
//! around the evaluation alone and nowhere else: nothing of ours runs inside, an expression keeps no
//! state between evaluations, and what was half computed is dropped.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow_array::RecordBatch;
use datafusion::common::{DataFusionError, internal_datafusion_err};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;

/// The value of `expression` for the rows of `batch`; an internal error if the evaluation panics.
pub(super) fn evaluate_guarded(
    expression: &dyn PhysicalExpr,
    batch: &RecordBatch,
) -> Result<ColumnarValue, DataFusionError> {
    match catch_unwind(AssertUnwindSafe(|| expression.evaluate(batch))) {
        Ok(result) => result,
        Err(payload) => {
            let reason = panic_message(payload.as_ref());
            Err(internal_datafusion_err!(
                "the evaluation panicked: {reason}"
            ))
        }
    }
}

/// What a panic said.
pub(super) fn panic_message(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("it gave no reason")
}
