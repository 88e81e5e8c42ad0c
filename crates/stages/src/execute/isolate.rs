//! Calling a function on a batch of rows, several calls at once, so that failing rows fail alone.

use std::ops::Range;
use std::time::Duration;

use arrow_array::{Array, ArrayRef, RecordBatch, new_null_array};
use arrow_schema::DataType;
use arrow_select::concat::concat;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use lance_backfill_core::calls::{Answered, Calls, End, FailedRow, RowError};
use lance_backfill_core::checkpoint::{Fault, FaultKind};
use lance_backfill_core::rows::RowSet;
use lance_backfill_ports::compute::{Answer, Call, Compute};
use lance_backfill_ports::{Error, Result};

use super::budget::Budget;
use super::chunks::small;

/// What came out of a batch of rows.
pub(super) struct Computed {
    /// Places in the batch that are finished; the rest was not reached.
    pub(super) places: RowSet,
    /// One value per finished place, in order; NULL where the row failed.
    pub(super) values: ArrayRef,
    /// Failed rows, by place in `values`.
    pub(super) failed: Vec<(usize, FailedRow)>,
    /// Calls made.
    pub(super) calls: u64,
    /// Time spent in the function, where it tells.
    pub(super) busy: Option<Duration>,
    /// Why it stopped before the end.
    pub(super) fault: Option<Fault>,
}

/// Calls the function on a batch; what of it fails is called again in halves, or later.
///
/// The budget stops a batch that fails everywhere; what is at work then is dropped. It also stops one
/// that takes longer than a batch should.
pub(super) async fn call(
    function: &dyn Compute,
    batch: &RecordBatch,
    output: &DataType,
    budget: &Budget,
    name: &str,
) -> Result<Computed> {
    let mut calls = Calls::new(batch.num_rows(), function.max_attempts());
    let mut found = run(function, batch, &mut calls, output, budget, name).await;
    if found.fault.is_none() && !found.stopped {
        found.end(calls, output, budget);
    }
    found.computed(output)
}

async fn run(
    function: &dyn Compute,
    batch: &RecordBatch,
    calls: &mut Calls,
    output: &DataType,
    budget: &Budget,
    name: &str,
) -> Found {
    let mut found = Found::default();
    let mut running = FuturesUnordered::new();
    let mut running_rows = 0;
    loop {
        while running.len() < function.lanes().max(1) && calls.waiting_rows() > 0 {
            if budget.time_is_up() {
                // What is at work is finished; the rest is for another batch.
                found.stopped = true;
                break;
            }
            let most = match function.rows_per_call(calls.waiting_rows()).await {
                Ok(most) => most,
                Err(fault) => {
                    found.fault = Some(fault);
                    return found;
                }
            };
            let Some(piece) = calls.take(most) else { break };
            found.calls += 1;
            running_rows += piece.rows.len();
            let call = Call {
                rows: batch.slice(piece.rows.start, piece.rows.len()),
                wait: Duration::from_millis(piece.wait_ms),
                batch: name,
            };
            running.push(function.call(call).map(|answer| (piece, answer)).boxed());
        }
        let Some((piece, answer)) = running.next().await else {
            return found;
        };
        running_rows -= piece.rows.len();
        let answer = match answer {
            Ok(answer) => answer,
            Err(fault) => {
                found.fault = Some(fault);
                return found;
            }
        };
        if let Some(busy) = answer.busy {
            budget.spend(busy);
            *found.busy.get_or_insert_default() += busy;
        }
        if let Some(fault) = wrong_result(&answer, piece.rows.len(), output) {
            found.fault = Some(fault);
            return found;
        }
        let Answer {
            values,
            failed,
            end,
            ..
        } = answer;
        let answered = Answered {
            finished: values.iter().map(|values| values.len()).sum(),
            failed,
            end,
        };
        let settled = calls.answer(&piece, answered);
        for done in settled.done {
            budget.add(done.len() as u64, 0);
            found.take(piece.rows.start, &values, done);
        }
        for failed in settled.failed {
            found.fail(failed, output, budget);
        }
        let pending = calls.waiting_rows() + running_rows;
        if budget.exceeded_even_with(pending as u64).is_some() {
            found.stopped = true;
            return found;
        }
    }
}

/// Results as they come, in any order.
#[derive(Default)]
struct Found {
    parts: Vec<(usize, ArrayRef)>,
    failed: Vec<FailedRow>,
    calls: u64,
    busy: Option<Duration>,
    fault: Option<Fault>,
    /// Whether it was stopped before its end, by the budget or because its time was up.
    stopped: bool,
}

impl Found {
    /// Takes the results of some places out of the values of a piece that begins at `start`.
    fn take(&mut self, start: usize, values: &[ArrayRef], done: Range<usize>) {
        let mut first = start;
        for array in values {
            let from = done.start.max(first);
            let to = done.end.min(first + array.len());
            if from < to {
                let part = match to - from == array.len() {
                    true => array.clone(),
                    false => array.slice(from - first, to - from),
                };
                self.parts.push((from, part));
            }
            first += array.len();
        }
    }

    fn fail(&mut self, failed: FailedRow, output: &DataType, budget: &Budget) {
        budget.add(0, 1);
        self.parts.push((failed.place, new_null_array(output, 1)));
        self.failed.push(failed);
    }

    /// What stayed transient failed, unless nothing ever worked.
    fn end(&mut self, calls: Calls, output: &DataType, budget: &Budget) {
        match calls.finish(budget.any_computed()) {
            Ok(exhausted) => {
                for failed in exhausted {
                    self.fail(failed, output, budget);
                }
            }
            Err(outage) => self.fault = Some(outage_fault(outage)),
        }
    }

    fn computed(mut self, output: &DataType) -> Result<Computed> {
        self.parts.sort_unstable_by_key(|(start, _)| *start);
        let mut places = RowSet::new();
        for (start, values) in &self.parts {
            places.insert_range(small(*start)..small(start + values.len()));
        }
        let values = match self.parts.as_slice() {
            [] => new_null_array(output, 0),
            [(_, only)] => only.clone(),
            parts => {
                let parts: Vec<_> = parts.iter().map(|(_, values)| values.as_ref()).collect();
                concat(&parts)
                    .map_err(|error| Error::internal("cannot join results").with_source(error))?
            }
        };
        self.failed.sort_unstable_by_key(|failed| failed.place);
        let index = |failed: &FailedRow| {
            usize::try_from(places.count_within(0..small(failed.place))).unwrap_or(usize::MAX)
        };
        Ok(Computed {
            failed: (self.failed.into_iter())
                .map(|failed| (index(&failed), failed))
                .collect(),
            places,
            values,
            calls: self.calls,
            busy: self.busy,
            fault: self.fault,
        })
    }
}

fn outage_fault(error: RowError) -> Fault {
    let RowError {
        kind,
        message,
        traceback,
        ..
    } = error;
    Fault {
        kind: FaultKind::Function,
        message: format!("every row failed, and trying again did not help: {kind}: {message}"),
        traceback,
    }
}

fn wrong_result(answer: &Answer, rows: usize, output: &DataType) -> Option<Fault> {
    let finished: usize = answer.values.iter().map(|values| values.len()).sum();
    let wrong_type = (answer.values.iter()).find(|values| values.data_type() != output);
    let complete = matches!(answer.end, End::Complete);
    let message = match wrong_type {
        Some(values) => format!(
            "the function gave values of type {} for a column of type {output}",
            values.data_type()
        ),
        None if finished > rows || (complete && finished < rows) => {
            format!("the function gave {finished} values for {rows} rows")
        }
        None => return None,
    };
    Some(Fault {
        kind: FaultKind::Schema,
        message,
        traceback: None,
    })
}
