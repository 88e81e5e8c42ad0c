//! Calling a function on a batch of rows, several calls at once, so that failing rows fail alone.

use std::ops::Range;
use std::time::Duration;

use arrow_array::{Array, ArrayRef, RecordBatch, new_null_array};
use arrow_schema::DataType;
use arrow_select::concat::concat;
use futures::FutureExt;
use futures::future::select_all;
use lance_backfill_core::calls::{Answered, Calls, End, FailedRow, Outage};
use lance_backfill_core::checkpoint::{Fault, FaultKind};
use lance_backfill_core::rows::RowSet;
use lance_backfill_ports::compute::{Answer, Call, Compute};
use lance_backfill_ports::width::bytes_of_values;
use lance_backfill_ports::{Error, Result};

use super::budget::Budget;
use super::chunks::small;

/// Bytes of results after which no further rows are called: what is joined stays far below the 2 GiB
/// that an array of texts can hold, and memory is bounded however large results are.
const RESULT_BYTES: usize = 128 << 20;
/// Bytes of results that are joined; calls that were at work together may return more, and what is
/// too much is called again.
const MOST_JOINED_BYTES: usize = 1 << 30;

/// What came out of a batch of rows.
pub(super) struct Computed {
    /// Places in the batch that are finished; the rest was not reached.
    pub(super) places: RowSet,
    /// Whether the rest was not reached because the results are as large as they may be.
    pub(super) full: bool,
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
/// The budget stops a batch that fails everywhere; what is at work then is dropped, as it is where the
/// process has no more time. It also stops one that takes longer than a batch should.
pub(super) async fn call(
    function: &dyn Compute,
    batch: &RecordBatch,
    output: &DataType,
    budget: &Budget,
    name: &str,
) -> Result<Computed> {
    let mut calls = Calls::new(batch.num_rows(), function.max_attempts());
    let mut found = Found::default();
    let running = run(
        function, batch, &mut calls, output, budget, name, &mut found,
    );
    // Of calls that are dropped in the end nothing counts.
    budget.until().within(running).await;
    if found.fault.is_none() && !found.over_budget {
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
    found: &mut Found,
) {
    let mut running = vec![];
    let mut running_rows = 0;
    let mut known_computed = budget.computed_by_job();
    loop {
        while running.len() < function.lanes().max(1) && calls.waiting_rows() > 0 {
            let most = match function.rows_per_call(calls.waiting_rows()).await {
                Ok(most) => most,
                Err(fault) => {
                    found.fault = Some(fault);
                    return;
                }
            };
            let piece = match budget.time_is_up() || found.is_full() {
                false => calls.take(most),
                // What was begun is finished; the rest is for another batch.
                true => calls.take_begun(most),
            };
            let Some(piece) = piece else { break };
            let wait = Duration::from_millis(piece.wait_ms);
            if !budget.wait(wait) {
                calls.put_off(&piece);
                continue;
            }
            found.calls += 1;
            running_rows += piece.rows.len();
            let call = Call {
                rows: batch.slice(piece.rows.start, piece.rows.len()),
                wait,
                most_wait: budget.patience(),
                batch: name,
            };
            running.push(function.call(call).map(|answer| (piece, answer)).boxed());
        }
        if running.is_empty() {
            return;
        }
        // Not `FuturesUnordered`, which wakes its task, and so another thread, once more in each wait.
        let ((piece, answer), _, rest) = select_all(running).await;
        running = rest;
        running_rows -= piece.rows.len();
        let answer = match answer {
            Ok(answer) => answer,
            Err(fault) => {
                found.fault = Some(fault);
                return;
            }
        };
        if let Some(busy) = answer.busy {
            budget.spend(busy);
            *found.busy.get_or_insert_default() += busy;
        }
        if let Some(fault) = wrong_result(&answer, piece.rows.len(), output) {
            found.fault = Some(fault);
            return;
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
        let computed = budget.computed_by_job();
        if computed != known_computed {
            known_computed = computed;
            calls.progressed();
        }
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
            found.over_budget = true;
            return;
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
    /// Whether too many rows failed.
    over_budget: bool,
    bytes: usize,
}

impl Found {
    const fn is_full(&self) -> bool {
        self.bytes >= RESULT_BYTES
    }

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
                self.bytes += bytes_of_values(part.as_ref());
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
            Err(outage) => {
                if matches!(outage, Outage::NotByRow(_)) {
                    // What it gave for single rows is no value of theirs.
                    self.parts.clear();
                    self.failed.clear();
                }
                self.fault = Some(outage_fault(outage));
            }
        }
    }

    /// Keeps the first parts that fit together, at least one.
    fn leave_what_is_too_much(&mut self) {
        let mut bytes = 0_usize;
        let fits = |(_, part): &&(usize, ArrayRef)| {
            bytes = bytes.saturating_add(bytes_of_values(part.as_ref()));
            bytes <= MOST_JOINED_BYTES
        };
        let fitting = self.parts.iter().take_while(fits).count().max(1);
        if let Some((end, _)) = self.parts.get(fitting) {
            let end = *end;
            self.failed.retain(|failed| failed.place < end);
            self.parts.truncate(fitting);
        }
    }

    fn computed(mut self, output: &DataType) -> Result<Computed> {
        self.parts.sort_unstable_by_key(|(start, _)| *start);
        let full = self.is_full();
        if full {
            self.leave_what_is_too_much();
        }
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
            full,
            values,
            calls: self.calls,
            busy: self.busy,
            fault: self.fault,
        })
    }
}

fn outage_fault(outage: Outage) -> Fault {
    let (what, error) = match outage {
        Outage::EveryRowFailed(error) => {
            let what = "every row failed, and trying again did not help".to_owned();
            (what, error)
        }
        Outage::NotByRow(error) => {
            let what = "a batched function gives one value for each row, and this one does not";
            (what.to_owned(), error)
        }
        Outage::Limited { error, waited_ms } => {
            let minutes = waited_ms / 60_000;
            let what = format!("a rate limit let no row through for {minutes} minutes");
            (what, error)
        }
        Outage::PutOff(error) => {
            let what = "no row has a result, and another attempt must wait".to_owned();
            (what, error)
        }
    };
    Fault {
        kind: FaultKind::Function,
        message: format!("{what}: {}: {}", error.kind, error.message),
        traceback: error.traceback,
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

#[cfg(test)]
mod tests;
