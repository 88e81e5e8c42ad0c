//! The evaluation of a DataFusion expression, with its panics turned into errors.
//!
//! Functions of DataFusion and kernels of Arrow panic on some values: `array_repeat(1, n)` where `n`
//! values exceed the address space, a MAP of a list of keys that is no list, a cast of lists of
//! unequal lengths to a fixed-size list. The values come from rows, so no check at compile time can
//! exclude them, and one row must not end a job that computes millions. Hence panics are caught here,
//! around the evaluation alone and nowhere else: nothing of ours runs inside, an expression keeps no
//! state between evaluations, and what was half computed is dropped.

use std::any::Any;
use std::cell::Cell;
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
    match caught(|| expression.evaluate(batch)) {
        Ok(result) => result,
        Err(payload) => {
            let reason = panic_message(payload.as_ref());
            Err(internal_datafusion_err!(
                "the evaluation panicked: {reason}"
            ))
        }
    }
}

/// What `work` returns, or what its panic says.
pub(super) fn caught<T>(work: impl FnOnce() -> T) -> std::thread::Result<T> {
    let before = CATCHING.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    CATCHING.set(before);
    result
}

thread_local! {
    /// Whether a panic of this thread is caught, and becomes an error.
    static CATCHING: Cell<bool> = const { Cell::new(false) };
}

/// From now on this process reports no panic of an evaluation on stderr: it becomes an error of its
/// rows, or is not worth a word where fewer rows at once do. Other panics are reported as before.
pub fn quiet_caught_panics() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !CATCHING.get() {
            report(panic);
        }
    }));
}

/// What a panic said.
pub(super) fn panic_message(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("it gave no reason")
}
