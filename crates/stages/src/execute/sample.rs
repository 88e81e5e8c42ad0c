//! Trying a function out on some rows, for a canary: nothing is stored.

use std::time::Duration;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::DataType;
use lance_backfill_core::calls::FailedRow;
use lance_backfill_core::checkpoint::Fault;
use lance_backfill_core::rows::RowSet;
use lance_backfill_ports::Result;
use lance_backfill_ports::compute::Compute;

use super::budget::Budget;
use super::isolate;

/// What came of some rows.
#[derive(Debug, Clone)]
pub struct Tried {
    /// Places that were reached.
    pub places: RowSet,
    /// One value per reached place; NULL where the row failed.
    pub values: ArrayRef,
    /// Failed rows, by place in `values`.
    pub failed: Vec<(usize, FailedRow)>,
    /// Time spent in the function, where it tells.
    pub busy: Option<Duration>,
    /// Why it stopped before the end.
    pub fault: Option<Fault>,
}

/// Calls a function on rows as a batch would, without a budget: all rows are reached unless there is a fault.
pub async fn try_out(
    function: &dyn Compute,
    rows: &RecordBatch,
    output: &DataType,
) -> Result<Tried> {
    let budget = Budget::unlimited();
    let found = isolate::call(function, rows, output, &budget, "canary").await?;
    Ok(Tried {
        places: found.places,
        values: found.values,
        failed: found.failed,
        busy: found.busy,
        fault: found.fault,
    })
}
