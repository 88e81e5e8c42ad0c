//! One host process: starting it, calling it, and what its death means.

use std::path::Path;
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Schema};
use lance_backfill_core::calls::{Again, End, RowError};
use lance_backfill_core::checkpoint::{Fault, FaultKind};
use lance_backfill_ports::compute::Answer;

use super::death::{REAP, gone, reap};
use super::described::{Described, Kind};
use super::devices::Share;
use super::exchange::{Ended, Found, Pipes};
use super::frame::{self, Mode, PROTOCOL, Reply, Request, StartHeader};
use super::limits::Limits;
use super::log::Log;
use super::process::Process;
use super::redact::Redactor;
use super::start::{Launch, environment_fault};
use super::watch::{Marks, Verdict, now, resident_bytes, wait, watch};

/// Growth between calls that no function needs for its work.
const LEAK_BYTES: u64 = 1 << 30;
/// Calls after which a host has all that it keeps.
const WARM_UP_CALLS: u64 = 5;
/// How often a warm host's memory is looked at.
const LEAK_LOOK: Duration = Duration::from_millis(200);
/// How long a dead host's last frames may take to be read.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// A running host.
pub(super) struct Host {
    process: Process,
    pipes: Pipes,
    log: Log,
    redactor: Redactor,
    marks: Option<Marks>,
    pub(super) described: Described,
    pub(super) python: String,
    /// What it was started with.
    pub(super) edition: u64,
    calls: u64,
    /// Whether it waits for a call; anything else is not to be used again.
    idle: bool,
    warm_bytes: Option<u64>,
    looked: std::time::Instant,
    /// What it has of devices; after the process, which is gone before they are free.
    pub(super) share: Option<Share>,
}

/// What a host says before its first call.
pub(super) struct Started {
    pub(super) host: Host,
    /// The declared output type, in mode `describe`.
    pub(super) output: Option<DataType>,
}

/// Why a host did not start.
pub(super) struct StartFault {
    pub(super) fault: Fault,
    /// Whether another start may work.
    pub(super) again: Again,
}

impl From<Fault> for StartFault {
    fn from(fault: Fault) -> Self {
        Self {
            fault,
            again: Again::Never,
        }
    }
}

impl Host {
    /// Starts a host and waits until it can be called; `schema` has its inputs and the result.
    pub(super) async fn start(
        launch: &Launch,
        mode: Mode,
        schema: Option<&Schema>,
        limits: &Limits,
    ) -> Result<Started, StartFault> {
        let redactor = Redactor::new(&launch.secrets);
        let marks = Marks::create(&launch.scratch).map_err(|error| {
            environment_fault(format!(
                "cannot write to '{}': {error}",
                launch.scratch.display()
            ))
        })?;
        let mut process = launch.spawn().await?;
        let child = &mut process.child;
        let (to, from, errors) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(to), Some(from), Some(errors)) = (to, from, errors) else {
            return Err(environment_fault("a host has no pipes").into());
        };
        let mut pipes = Pipes::new(to, from);
        let pid = process.id();
        let log = Log::default();
        let following = log.follow(errors, launch.entrypoint.clone(), redactor.clone());
        let header = Request::Start(StartHeader {
            protocol: PROTOCOL,
            mode,
            entrypoint: &launch.entrypoint,
            code: &launch.code,
            site: launch.site.as_deref(),
            secrets: &launch.secrets,
            env: &launch.env,
            retry_on: (!launch.retry_on.is_empty()).then_some(&launch.retry_on),
            marks: Some(marks.path()),
        });
        let body = match schema.map(frame::encode_schema).transpose() {
            Ok(body) => body.unwrap_or_default(),
            Err(error) => {
                return Err(schema_fault(format!("inputs cannot be sent: {error}")).into());
            }
        };
        let only_memory = Limits {
            row_timeout: None,
            ..*limits
        };
        let reply = tokio::select! {
            reply = pipes.greet(&header, &body) => reply,
            verdict = watch(pid, None, 0, &only_memory) => {
                return Err(killed_at_start(verdict, &launch.entrypoint).into());
            }
            () = wait(limits.init_timeout) => {
                let verdict = Verdict::Hung(limits.init_timeout);
                return Err(killed_at_start(verdict, &launch.entrypoint).into());
            }
        };
        match reply {
            Ok(Some((
                Reply::Ready {
                    protocol,
                    python,
                    function,
                },
                body,
            ))) => {
                if protocol != PROTOCOL {
                    return Err(environment_fault(format!(
                        "the host speaks protocol {protocol}, this worker {PROTOCOL}"
                    ))
                    .into());
                }
                let output = (!body.is_empty()).then(|| frame::decode_type(&body));
                let output = output.transpose().map_err(|error| {
                    schema_fault(format!("the declared type cannot be read: {error}"))
                })?;
                let host = Self {
                    marks: (function.kind == Kind::Scalar).then_some(marks),
                    process,
                    pipes,
                    log,
                    redactor,
                    described: *function,
                    python,
                    edition: 0,
                    calls: 0,
                    idle: true,
                    warm_bytes: None,
                    looked: now(),
                    share: None,
                };
                Ok(Started { host, output })
            }
            Ok(Some((Reply::Failed { error }, _))) => {
                let RowError {
                    kind,
                    message,
                    traceback,
                    again,
                } = error.into_row_error();
                let fault = Fault {
                    kind: match kind.as_str() {
                        "ImportError" | "ModuleNotFoundError" => FaultKind::Environment,
                        _ => FaultKind::Function,
                    },
                    message: redactor.mask(&format!("{}: {kind}: {message}", launch.entrypoint)),
                    traceback: traceback.map(|text| redactor.mask(&text)),
                };
                let again = match again {
                    // Whoever had the memory may be about to end.
                    Again::Fewer => Again::Later { after_ms: None },
                    again => again,
                };
                Err(StartFault { fault, again })
            }
            Ok(Some(_)) => Err(environment_fault("the host did not say that it is ready").into()),
            Ok(None) | Err(_) => {
                let death = reap(&mut process).await;
                // What it said last is still in the pipe.
                let _ = tokio::time::timeout(REAP, following).await;
                Err(StartFault {
                    fault: Fault {
                        kind: FaultKind::Environment,
                        message: format!(
                            "{}: the host {} before it was ready",
                            launch.entrypoint, death.text
                        ),
                        traceback: log.tail(),
                    },
                    again: match death.from_outside {
                        true => Again::Later { after_ms: None },
                        false => Again::Never,
                    },
                })
            }
        }
    }

    /// Calls the function with rows and their encoded form; whatever the host does, the answer says what became of the rows.
    pub(super) async fn call(
        &mut self,
        rows: &RecordBatch,
        body: &[u8],
        batch: &str,
        output: &DataType,
        limits: &Limits,
    ) -> Result<Answer, Fault> {
        self.calls += 1;
        let id = self.calls;
        self.log.at(batch);
        let header = Request::Call {
            id,
            rows: rows.num_rows(),
            batch,
        };
        let mut found = Found::default();
        self.idle = false;
        let ended = {
            let Self {
                process,
                pipes,
                marks,
                ..
            } = &mut *self;
            let pid = process.id();
            let answer = pipes.exchange(&header, body, id, output, &mut found);
            tokio::pin!(answer);
            tokio::select! {
                biased;
                ended = &mut answer => ended,
                // What it started may live on and hold its pipes open: their end alone tells nothing.
                () = gone(&mut process.child) => match tokio::time::timeout(LAST_WORDS, &mut answer).await {
                    Ok(ended) => ended,
                    Err(_) => Ended::Broken(None),
                },
                verdict = watch(pid, marks.as_ref(), id, limits) => Ended::Exceeded(verdict),
            }
        };
        let end = match ended {
            Ended::Answered(end) => {
                self.idle = true;
                self.masked(end)
            }
            Ended::Lost(mut error) => {
                reap(&mut self.process).await;
                self.mask(&mut error);
                // Of a scalar function, the row after those that are finished.
                let row = self.marks.is_some().then_some(found.rows);
                End::Killed { row, error }
            }
            Ended::Exceeded(verdict) => {
                // It still runs: the row it is at is the one to blame.
                let row = self.marks.as_ref().and_then(|marks| marks.row(id));
                self.kill().await;
                End::Killed {
                    row,
                    error: self.over_limit(verdict, limits),
                }
            }
            Ended::Broken(what) => {
                let death = reap(&mut self.process).await;
                let row = self.marks.as_ref().and_then(|marks| marks.row(id));
                End::Killed {
                    row,
                    error: RowError {
                        kind: death.kind.to_owned(),
                        message: match what {
                            Some(what) => format!("the host {}: {what}", death.text),
                            None => format!("the host {}", death.text),
                        },
                        traceback: self.log.tail(),
                        again: match death.from_outside {
                            true => Again::Later { after_ms: None },
                            false => Again::Never,
                        },
                    },
                }
            }
        };
        for (_, error) in &mut found.failed {
            self.mask(error);
        }
        Ok(Answer {
            values: found.values,
            failed: found.failed,
            end,
            busy: Some(Duration::from_micros(found.busy_us)),
        })
    }

    /// Whether it is worth keeping after a call.
    pub(super) fn may_rest(&mut self) -> bool {
        self.idle && !self.leaks()
    }

    /// Ends it; what it had of devices is for somebody else.
    pub(super) async fn end(mut self) -> Option<Share> {
        self.kill().await;
        self.share
    }

    /// Whether it still waits for a call.
    pub(super) fn lives(&mut self) -> bool {
        matches!(self.process.child.try_wait(), Ok(None))
    }

    /// Whether it keeps so much more than a warm host that it had better be started anew.
    fn leaks(&mut self) -> bool {
        if self.calls < WARM_UP_CALLS || self.looked.elapsed() < LEAK_LOOK {
            return false;
        }
        self.looked = now();
        let Some(resident) = resident_bytes(self.process.id()) else {
            return false;
        };
        let warm = *self.warm_bytes.get_or_insert(resident);
        let leaks = resident > warm.saturating_mul(2).max(warm.saturating_add(LEAK_BYTES));
        if leaks {
            tracing::warn!(
                function = self.described.name,
                resident,
                warm,
                "a host is started anew because it keeps ever more memory"
            );
        }
        leaks
    }

    async fn kill(&mut self) {
        self.process.kill();
        let _ = reap(&mut self.process).await;
    }

    fn over_limit(&self, verdict: Verdict, limits: &Limits) -> RowError {
        let (kind, message) = match verdict {
            Verdict::Memory(found) => (
                "out_of_memory",
                format!(
                    "the host had {} MiB of memory, {} are allowed",
                    found >> 20,
                    limits.memory_bytes.unwrap_or_default() >> 20
                ),
            ),
            Verdict::Hung(_) => (
                "timeout",
                format!(
                    "it took longer than {} s",
                    limits.row_timeout.unwrap_or_default().as_secs_f64()
                ),
            ),
        };
        RowError {
            kind: kind.to_owned(),
            message,
            traceback: None,
            again: Again::Never,
        }
    }

    fn masked(&self, mut end: End) -> End {
        match &mut end {
            End::Complete => {}
            End::Raised(error) | End::Killed { error, .. } => self.mask(error),
        }
        end
    }

    fn mask(&self, error: &mut RowError) {
        error.message = self.redactor.mask(&error.message);
        error.traceback = error.traceback.take().map(|text| self.redactor.mask(&text));
    }
}

fn killed_at_start(verdict: Verdict, entrypoint: &str) -> Fault {
    let message = match verdict {
        Verdict::Memory(found) => format!(
            "{entrypoint}: the host had {} MiB of memory before its first row, more than it may have",
            found >> 20
        ),
        Verdict::Hung(after) => format!(
            "{entrypoint}: the host was not ready after {} s",
            after.as_secs_f64()
        ),
    };
    Fault {
        kind: FaultKind::Function,
        message,
        traceback: None,
    }
}

pub(super) fn schema_fault(message: String) -> Fault {
    Fault {
        kind: FaultKind::Schema,
        message,
        traceback: None,
    }
}

/// Rows as a call carries them.
pub(super) fn encode(rows: &RecordBatch) -> Result<Vec<u8>, Fault> {
    frame::encode(rows).map_err(|error| schema_fault(format!("inputs cannot be sent: {error}")))
}

/// Folder for what hosts leave while they live.
pub(super) fn scratch(cache: &Path) -> std::path::PathBuf {
    cache.join("scratch")
}
