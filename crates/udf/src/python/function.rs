//! A Python function that can be called: a pool of warm hosts, as many as its cores or devices allow.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arrow_schema::{DataType, SchemaRef};
use async_trait::async_trait;
use futures::future::try_join_all;
use lance_backfill_core::calls::{Again, End, RowError};
use lance_backfill_core::checkpoint::{Fault, FaultKind};
use lance_backfill_ports::compute::{Answer, Call, Compute};
use lance_backfill_ports::secrets::Secrets;
use tokio::sync::OnceCell;

use super::artifacts::Artifacts;
use super::crew::{Crew, Machine};
use super::described::Kind;
use super::interpreter::Python;
use super::launches::Launches;
use super::limits::Limits;
use super::watch::{now, wait};

/// Rows of one call of a batched function whose author said nothing: enough to make the call's own
/// cost small, few enough that a failing call loses little.
const ROWS_PER_CALL: usize = 16_384;
/// Rows of the first call, which tells how fast the function is, and fewest of a scalar one later.
const FEWEST_ROWS_PER_CALL: usize = 64;
/// Below this, one host is soon done, and a second one would load its model for nothing.
const ROWS_WORTH_ALL_HOSTS: u64 = 10_000;

/// What a function is, apart from where its files are.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    /// `module:name`.
    pub entrypoint: String,
    /// Digest of the code.
    pub artifact: String,
    /// Digest of the environment.
    pub environment: String,
    /// Names of secrets.
    pub secrets: Vec<String>,
    /// Environment, names and plain values.
    pub env: BTreeMap<String, String>,
    /// Error types that are transient.
    pub retry_on: Vec<String>,
    /// What one host may take.
    pub limits: Limits,
    /// Columns that it reads, under their names at declaration.
    pub inputs: SchemaRef,
    /// Type of the column.
    pub output: DataType,
}

/// A function with its hosts.
pub struct PythonFunction {
    pub(super) spec: Spec,
    pub(super) machine: Machine,
    pub(super) launches: Launches,
    pub(super) kind: OnceCell<Kind>,
    pub(super) crew: Crew,
    /// What its device has memory for is remembered under this name.
    pub(super) size_key: OnceCell<String>,
    /// Rows per second of one host at its last call, 0 before the first.
    speed: AtomicU64,
    /// Until when the other side of the function wants no calls.
    limited_until: Mutex<Option<Instant>>,
}

impl PythonFunction {
    /// A function whose hosts share this machine with others; none is started yet.
    ///
    /// A secret that changes is read again after an hour, and where the function fails meanwhile.
    pub fn new(
        spec: Spec,
        artifacts: Artifacts,
        python: Python,
        secrets: Arc<dyn Secrets>,
        machine: Machine,
    ) -> Self {
        let crew = match spec.limits.gpus > 0.0 {
            true => Crew::Devices(machine.devices.of_function(spec.limits.gpus)),
            false => Crew::Cores(machine.resting.of_function()),
        };
        Self {
            spec,
            machine,
            launches: Launches::new(artifacts, python, secrets),
            kind: OnceCell::new(),
            crew,
            size_key: OnceCell::new(),
            speed: AtomicU64::new(0),
            limited_until: Mutex::default(),
        }
    }

    /// Waits until the other side of the function wants calls again; an error says that this takes
    /// longer than `most`.
    async fn wait_for_limit(&self, most: Option<Duration>) -> Result<(), RowError> {
        let give_up = most.map(|most| now() + most);
        loop {
            let until = *self
                .limited_until
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let left = until.and_then(|until| until.checked_duration_since(now()));
            match left.filter(|left| !left.is_zero()) {
                Some(left) if give_up.is_some_and(|give_up| now() + left > give_up) => {
                    let after_ms = u64::try_from(left.as_millis()).ok();
                    return Err(RowError {
                        kind: "RateLimited".to_owned(),
                        message: format!("no calls are wanted for {} s", left.as_secs()),
                        traceback: None,
                        again: Again::RateLimited { after_ms },
                    });
                }
                Some(left) => wait(left).await,
                None => return Ok(()),
            }
        }
    }

    /// Calls take about a second: what was guessed of the function's speed soon matters no more, and
    /// whoever calls a job off waits no longer.
    fn note_speed(&self, answer: &Answer) {
        let rows: usize = answer.values.iter().map(|values| values.len()).sum();
        let us = answer.busy.map_or(0, |busy| busy.as_micros()).max(1);
        if rows > 0 {
            let speed = (rows as u128).saturating_mul(1_000_000) / us;
            let speed = u64::try_from(speed).unwrap_or(u64::MAX).max(1);
            self.speed.store(speed, Ordering::Relaxed);
        }
    }

    fn note_limit(&self, end: &End) {
        let End::Raised(error) = end else { return };
        let Again::RateLimited { after_ms } = error.again else {
            return;
        };
        let after = Duration::from_millis(after_ms.unwrap_or_default());
        let mut until = self
            .limited_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let asked = now() + after;
        *until = Some(until.map_or(asked, |until| until.max(asked)));
    }
}

/// Whether the function itself, and not its host, failed some row.
fn has_failed(answer: &Answer) -> bool {
    !answer.failed.is_empty() || matches!(answer.end, End::Raised(_))
}

#[async_trait]
impl Compute for PythonFunction {
    async fn prepare(&self, rows: u64) -> Result<(), Fault> {
        let hosts = match &self.crew {
            Crew::Cores(resting) if rows >= ROWS_WORTH_ALL_HOSTS => {
                self.lanes().saturating_sub(resting.count())
            }
            Crew::Cores(_) => 0,
            // It ran before. A host of its own may be at work, and need not be waited for.
            Crew::Devices(_) if self.kind.initialized() => return Ok(()),
            // Whoever keeps one device while it waits for another may wait for itself.
            Crew::Devices(_) => 1,
        };
        // At least one that answers, warm or new; more of them start side by side.
        let all = (0..hosts.max(1)).map(|_| self.host());
        let ready = try_join_all(all).await?;
        for host in ready {
            self.rest(host);
        }
        Ok(())
    }

    fn lanes(&self) -> usize {
        self.machine.hosts(&self.spec.limits)
    }

    fn max_attempts(&self) -> u32 {
        self.spec.limits.max_attempts
    }

    async fn rows_per_call(&self, waiting: usize) -> Result<usize, Fault> {
        let kind = match self.kind.get() {
            Some(kind) => *kind,
            None => {
                let host = self.host().await?;
                let kind = host.described.kind;
                self.rest(host);
                kind
            }
        };
        let most = match (self.spec.limits.batch_size, kind) {
            // What a batched function is called with is its author's to say.
            (Some(rows), Kind::Array | Kind::RecordBatch) => return Ok(rows),
            (Some(rows), Kind::Scalar) => rows,
            // Larger calls cost less; a host that is done first takes calls of other slices.
            (None, Kind::Scalar) => waiting.div_ceil(self.lanes()).max(FEWEST_ROWS_PER_CALL),
            (None, Kind::Array | Kind::RecordBatch) => ROWS_PER_CALL,
        };
        let fitting = match self.speed.load(Ordering::Relaxed) {
            0 => FEWEST_ROWS_PER_CALL,
            rows_per_s => usize::try_from(rows_per_s).unwrap_or(usize::MAX),
        };
        Ok(most.min(fitting))
    }

    async fn call(&self, call: Call<'_>) -> Result<Answer, Fault> {
        let Call {
            rows,
            wait: delay,
            most_wait,
            batch,
        } = call;
        if !delay.is_zero() {
            wait(delay).await;
        }
        if let Err(limited) = self.wait_for_limit(most_wait).await {
            return Ok(Answer {
                values: vec![],
                failed: vec![],
                end: End::Raised(limited),
                busy: Some(Duration::ZERO),
            });
        }
        // Encoded while the hosts, and their devices, are busy with other calls.
        let cut = self.first_cut(&rows)?;
        let _cores = match &self.crew {
            Crew::Cores(_) => self.machine.cores.take(self.spec.limits.cpus).await,
            Crew::Devices(_) => None,
        };
        let mut host = self.host().await?;
        let Spec { output, .. } = &self.spec;
        let mut answer = self.call_in_cuts(&mut host, &rows, &cut, batch).await?;
        if !self.spec.secrets.is_empty() && has_failed(&answer) {
            let newest = self.launches.after_failure(&self.spec).await?;
            if newest.number != host.edition {
                // Perhaps by a secret that has another value by now: no row is to blame for that.
                let share = host.end().await;
                host = self.start(newest, share).await?;
                answer = self.call_in_cuts(&mut host, &rows, &cut, batch).await?;
            }
        }
        self.note_limit(&answer.end);
        self.note_speed(&answer);
        if host.may_rest() {
            self.rest(host);
        }
        if let Some(values) = answer
            .values
            .iter()
            .find(|values| values.data_type() != output)
        {
            return Err(Fault {
                kind: FaultKind::Schema,
                message: format!(
                    "{} gave values of type {} for a column of type {output}",
                    self.spec.entrypoint,
                    values.data_type()
                ),
                traceback: None,
            });
        }
        Ok(answer)
    }
}
