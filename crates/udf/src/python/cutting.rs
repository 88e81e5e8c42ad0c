//! Calls of a function, cut to what it may get at once and to what its device has memory for.

use std::time::Duration;

use arrow_array::{Array, RecordBatch, new_null_array};
use lance_backfill_core::calls::{Again, End, RowError};
use lance_backfill_core::checkpoint::Fault;
use lance_backfill_core::cuts::{Cuts, Full};
use lance_backfill_ports::compute::Answer;
use lance_backfill_ports::width::bytes_of;
use sha2::{Digest, Sha256};

use super::function::{PythonFunction, Spec};
use super::host::{Host, encode};
use super::package::hex;

/// The rows that are called first, encoded.
pub(super) struct Cut {
    rows: usize,
    body: Vec<u8>,
}

impl PythonFunction {
    /// The first rows of a call; what their device has memory for is known after its first host.
    pub(super) fn first_cut(&self, rows: &RecordBatch) -> Result<Cut, Fault> {
        let first = self.cuts().next(rows.num_rows(), self.weight(rows, 0));
        Ok(Cut {
            rows: first,
            body: encode(&rows.slice(0, first))?,
        })
    }

    /// Calls a host with all rows, one part after the other; `first` is the first one.
    ///
    /// Where the device has no memory for so many rows the same host is called with half of them, and
    /// a row that does not fit alone fails. What fits is remembered.
    pub(super) async fn call_in_cuts(
        &self,
        host: &mut Host,
        rows: &RecordBatch,
        first: &Cut,
        batch: &str,
    ) -> Result<Answer, Fault> {
        self.name_sizes(host).await;
        let Spec { output, limits, .. } = &self.spec;
        let mut cuts = self.cuts();
        let mut done = Done::default();
        loop {
            let from = done.rows;
            let weight = self.weight(rows, from);
            let next = cuts.next(rows.num_rows() - from, &weight);
            let part = rows.slice(from, next);
            let encoded;
            let body = match from == 0 && next == first.rows {
                true => &first.body,
                false => {
                    encoded = encode(&part)?;
                    &encoded
                }
            };
            let mut answer = host.call(&part, body, batch, output, limits).await?;
            let end = std::mem::replace(&mut answer.end, End::Complete);
            done.add(answer);
            let end = match end {
                // What gives another number of values is found out by whoever called.
                End::Complete if done.rows == from + next && done.rows < rows.num_rows() => {
                    continue;
                }
                End::Raised(error) if error.again == Again::Fewer => {
                    let left = next - (done.rows - from);
                    match cuts.did_not_fit(left, weight(left)) {
                        Full::Halved => {
                            let function = &self.spec.entrypoint;
                            tracing::info!(
                                function,
                                batch,
                                rows = left,
                                "the device has no memory for so many rows: half of them are called"
                            );
                            continue;
                        }
                        Full::RowFails if left == 1 => {
                            done.fail(error, output);
                            match done.rows < rows.num_rows() {
                                true => continue,
                                false => End::Complete,
                            }
                        }
                        Full::RowFails => End::Raised(error),
                    }
                }
                End::Killed { row, error } => End::Killed {
                    row: row.map(|row| from + row),
                    error,
                },
                end => end,
            };
            self.learn(&cuts);
            return Ok(done.answer(end));
        }
    }

    fn cuts(&self) -> Cuts {
        let known = self.size_key.get();
        let known = known.and_then(|key| self.machine.devices.fitting(key));
        Cuts::new(known.into_iter().chain(self.spec.limits.batch_bytes).min())
    }

    /// What the first of the rows from a place on weigh together, by their number.
    fn weight(&self, rows: &RecordBatch, from: usize) -> impl Fn(usize) -> u64 {
        let by_bytes = self.spec.limits.batch_bytes.is_some();
        move |count| match by_bytes {
            // Rows without any bytes count, too: there must be an end to halving.
            true => (bytes_of(&rows.slice(from, count)) + count) as u64,
            false => count as u64,
        }
    }

    /// Under what the sizes of this function's calls are remembered, for the device of a host.
    async fn name_sizes(&self, host: &Host) {
        if self.size_key.initialized() {
            return;
        }
        let model = match &host.share {
            Some(share) => share.model().await,
            None => "undeclared".to_owned(),
        };
        let Spec {
            entrypoint,
            artifact,
            limits,
            ..
        } = &self.spec;
        let unit = match limits.batch_bytes {
            Some(_) => "bytes",
            None => "rows",
        };
        let mut digest = Sha256::new();
        for part in [entrypoint, artifact] {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        let function: String = hex(&digest.finalize()).chars().take(32).collect();
        // Of two calls that come here first, both say the same.
        let _ = self.size_key.set(format!("{function} {unit} {model}"));
    }

    fn learn(&self, cuts: &Cuts) {
        if let (Some(fits), Some(key)) = (cuts.learned(), self.size_key.get()) {
            // Another call may have found less meanwhile.
            let known = self.machine.devices.fitting(key);
            if known.is_none_or(|known| fits < known) {
                self.machine.devices.note_fitting(key, fits);
            }
        }
    }
}

/// What the parts of a call gave so far.
#[derive(Default)]
struct Done {
    rows: usize,
    values: Vec<arrow_array::ArrayRef>,
    failed: Vec<(usize, RowError)>,
    busy: Duration,
}

impl Done {
    fn add(&mut self, answer: Answer) {
        let failed = answer.failed.into_iter();
        let from = self.rows;
        (self.failed).extend(failed.map(|(row, error)| (from + row, error)));
        self.rows += answer
            .values
            .iter()
            .map(|values| values.len())
            .sum::<usize>();
        self.values.extend(answer.values);
        self.busy += answer.busy.unwrap_or_default();
    }

    /// The next row fails for good.
    fn fail(&mut self, error: RowError, output: &arrow_schema::DataType) {
        let again = Again::Never;
        self.failed.push((self.rows, RowError { again, ..error }));
        self.values.push(new_null_array(output, 1));
        self.rows += 1;
    }

    fn answer(self, end: End) -> Answer {
        Answer {
            values: self.values,
            failed: self.failed,
            end,
            busy: Some(self.busy),
        }
    }
}
