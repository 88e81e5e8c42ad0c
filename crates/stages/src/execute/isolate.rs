//! Calling a function so that a row that cannot be computed fails alone.

use arrow_array::{ArrayRef, RecordBatch, new_null_array};
use arrow_schema::DataType;
use arrow_select::concat::concat;
use lance_backfill_core::checkpoint::{Fault, FaultKind};
use lance_backfill_ports::compute::{CallError, Compute};
use lance_backfill_ports::{Error, Result};

use super::budget::Budget;

/// What came out of a batch of rows.
pub(super) struct Computed {
    /// One value per computed row, in order; NULL where the row failed.
    pub(super) values: ArrayRef,
    /// Failed rows, by place in the batch.
    pub(super) failed: Vec<(usize, String, String)>,
    /// Calls made.
    pub(super) calls: u64,
    /// Why it stopped before the end; `values` then is as long as what was finished.
    pub(super) fault: Option<Fault>,
}

/// Calls the function on a batch; when it fails, halves the batch until the failing rows stand alone.
///
/// With few failing rows the extra calls are about two times their number times the logarithm of
/// the batch's length. The budget stops a batch that fails everywhere.
pub(super) async fn call(
    function: &dyn Compute,
    batch: &RecordBatch,
    output: &DataType,
    budget: &Budget,
) -> Result<Computed> {
    let mut parts: Vec<ArrayRef> = vec![];
    let mut computed = Computed {
        values: new_null_array(output, 0),
        failed: vec![],
        calls: 0,
        fault: None,
    };
    let mut stack = vec![(0, batch.num_rows())];
    while let Some((start, length)) = stack.pop() {
        computed.calls += 1;
        match function.call(&batch.slice(start, length)).await {
            Ok(values) if values.len() == length && values.data_type() == output => {
                budget.add(length as u64, 0);
                parts.push(values);
            }
            Ok(values) => {
                computed.fault = Some(wrong_result(&values, length, output));
                break;
            }
            Err(CallError::Rows { kind, message }) if length == 1 => {
                budget.add(0, 1);
                computed.failed.push((start, kind, message));
                parts.push(new_null_array(output, 1));
            }
            Err(CallError::Rows { .. }) => {
                let half = length / 2;
                stack.push((start + half, length - half));
                stack.push((start, half));
            }
            Err(CallError::Fault { message }) => {
                computed.fault = Some(Fault {
                    kind: FaultKind::Function,
                    message,
                });
                break;
            }
        }
        let pending: usize = stack.iter().map(|(_, length)| *length).sum();
        if budget.exceeded_even_with(pending as u64).is_some() {
            break;
        }
    }
    computed.values = match parts.as_slice() {
        [] => computed.values,
        [only] => only.clone(),
        parts => {
            let parts: Vec<_> = parts.iter().map(AsRef::as_ref).collect();
            concat(&parts)
                .map_err(|error| Error::internal("cannot join results").with_source(error))?
        }
    };
    Ok(computed)
}

fn wrong_result(values: &ArrayRef, rows: usize, output: &DataType) -> Fault {
    let message = format!(
        "the function gave {} values of type {} for {rows} rows of a column of type {output}",
        values.len(),
        values.data_type(),
    );
    Fault {
        kind: FaultKind::Schema,
        message,
    }
}
