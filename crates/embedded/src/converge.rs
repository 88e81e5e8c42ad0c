//! Converge: plan, execute and commit until a column needs nothing more.

use std::collections::BTreeMap;

use lance_backfill_core::checkpoint::Fault;
use lance_backfill_core::definition::{Definition, Function};
use lance_backfill_core::ids::JobId;
use lance_backfill_core::ledger::HoldReason;
use lance_backfill_core::plan::Limits;
use lance_backfill_core::rate::{Estimate, Rate};
use lance_backfill_core::state::Counts;
use lance_backfill_ports::{Error, ErrorKind, Result};
use lance_backfill_stages::column::Column;
use lance_backfill_stages::reconcile::{Grace, collect};
use lance_backfill_stages::survey::{OpenRequest, StandingBreaker, Survey};
use serde::Serialize;

use crate::catalog::Catalog;
use crate::engine::Engine;

mod breaker;
mod publish;
mod run;
mod work;

use run::{Run, Step};

/// Rows per second assumed of a SQL expression until it was measured: low, so that first batches are short.
const SQL_ROWS_PER_S: f64 = 1_000_000.0;
/// The same of a Python function, which may be a large model: batches stop when their time is up, so
/// a guess that is far too high costs little, and one that is too low makes parts of whole fragments.
const PYTHON_ROWS_PER_S: f64 = 100_000.0;
/// Time that one batch should take.
const BATCH_TARGET_S: f64 = 30.0;
/// Batches of one page.
const MOST_BATCHES: usize = 256;
/// Time until anybody may take a batch over: many times its target.
const BATCH_DEADLINE_S: u64 = 600;
/// What nothing needs is kept so long: above any batch's deadline; and what is told of jobs, for people.
pub(crate) const GRACE: Grace = Grace {
    objects_ms: 3_600_000,
    jobs_ms: 30 * 24 * 3_600_000,
};
/// Rounds without progress before we say so instead of trying on.
const MOST_FRUITLESS_ROUNDS: usize = 50;

/// What is to be brought up to date, and who asked for it.
#[derive(Debug, Clone, Copy)]
pub struct Task<'a> {
    /// Name of the column.
    pub column: &'a str,
    /// Only the rows of this job.
    pub job: Option<&'a JobId>,
    /// Whether a person asked for it.
    pub attention: Attention,
}

/// Whether a person stands behind the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attention {
    /// A person asked for it, which approves the rows that it takes.
    Attended,
    /// An event or a timer did: it keeps to the approval limit, and holds what fails too often.
    Unattended,
}

/// What converging one column did.
#[derive(Debug, Default, Clone)]
pub struct Converged {
    /// Values and NULLs computed and committed by this call.
    pub rows_assigned: u64,
    /// Batches done by this call.
    pub batches: u64,
    /// Bytes of staged and values files written by this call.
    pub bytes_written: u64,
    /// Newest version that this call published.
    pub published_version: Option<u64>,
    /// Why the column was left before it was done, if it was.
    pub stopped: Option<Stopped>,
    /// What the rows held at the end, and at which version.
    pub seen: Option<(u64, Counts)>,
    /// Open jobs that cannot be done any more.
    pub broken: Vec<BrokenJob>,
    /// What was estimated as soon as the function's speed was known, against what it took.
    pub estimated: Option<Estimated>,
}

/// An estimate, and what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimated {
    /// Rows that were still to be computed then.
    pub rows: u64,
    /// How long they would take.
    pub estimate: Estimate,
    /// How long they took.
    pub took_s: f64,
}

/// A job that cannot be done any more; it stays open until somebody calls it off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokenJob {
    /// The job.
    pub job: JobId,
    /// Why it cannot be done, in one line.
    pub reason: String,
}

impl BrokenJob {
    fn of(survey: &Survey) -> Vec<Self> {
        let broken = |request: &OpenRequest| {
            Some(Self {
                job: request.job.clone(),
                reason: request.broken.clone()?,
            })
        };
        survey.requests.iter().filter_map(broken).collect()
    }
}

impl std::fmt::Display for BrokenJob {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { job, reason } = self;
        write!(
            formatter,
            "job {job} cannot go on: {reason}; 'jobs cancel' ends it"
        )
    }
}

/// Why a column was left before it was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stopped {
    /// More rows failed than the policy allows.
    Budget(String),
    /// It is held until a resume or an approval.
    Held(HoldReason, String),
    /// The function cannot be called.
    Fault(Fault),
    /// The function could not be called by others, and it is not yet time to try again.
    Breaker(StandingBreaker),
    /// Something waits to be published, and the table is paused for so many milliseconds.
    Paused(u64),
}

/// Receives progress.
pub trait Progress: Send + Sync {
    /// Rows done by this call, of those known to be in need.
    fn rows(&self, column: &str, done: u64, total: u64);
    /// Something worth a line.
    fn note(&self, line: &str);
}

impl Engine {
    /// Brings one column up to date, or as far as it can be brought.
    pub async fn converge(
        &self,
        catalog: &Catalog,
        task: Task<'_>,
        progress: &dyn Progress,
    ) -> Result<Converged> {
        if let Some(moved) = self.settle().await? {
            progress.note(&moved);
        }
        let mut run = Run::new(self, task);
        let mut fruitless = 0;
        loop {
            let version = self.latest().await?;
            let (column, survey) = run.survey(&version, catalog).await?;
            let step = Box::pin(run.step(&version, &column, &survey, progress)).await?;
            if matches!(step, Step::Done | Step::Stop(_)) {
                run.end_estimate();
                run.count_published_by_others(&version, &column).await?;
            }
            run.converged.seen = Some((survey.version, survey.counts));
            run.converged.broken = BrokenJob::of(&survey);
            match step {
                Step::Progress => fruitless = 0,
                Step::Again => fruitless += 1,
                Step::Done => {
                    if survey.newly_settled.is_empty() {
                        self.note_settled(&column, &survey).await?;
                    }
                    collect(&column, &survey, self.world.as_ref(), GRACE).await?;
                    return Ok(run.converged);
                }
                Step::Stop(stopped) => {
                    run.converged.stopped = Some(stopped);
                    return Ok(run.converged);
                }
            }
            if fruitless > MOST_FRUITLESS_ROUNDS {
                return Err(Error::new(
                    ErrorKind::Unavailable,
                    format!(
                        "column '{}' made no progress: other writers keep changing the same rows",
                        column.name()
                    ),
                ));
            }
        }
    }

    /// How fast a column's function is; of a Python function, what even a pilot tells.
    pub(crate) fn measured(&self, column: &Column, survey: &Survey) -> Option<Rate> {
        let generation = &column.bound.generation;
        survey.rate(generation).or_else(|| {
            matches!(column.bound.definition.function, Function::Python { .. })
                .then(|| survey.pilot_rate(generation))?
        })
    }

    /// What bounds the next page of a column, if it is computed by processes like this one.
    pub fn limits(&self, column: &Column, survey: &Survey) -> Limits {
        let lanes = self.lanes(&column.bound.definition);
        self.limits_of(column, survey, lanes)
    }

    /// The same, if it is computed by others of which each has one host of the function, since it has
    /// one device say: how many hosts this process could have tells nothing of them.
    pub fn limits_of_one_host(&self, column: &Column, survey: &Survey) -> Limits {
        self.limits_of(column, survey, 1)
    }

    fn limits_of(&self, column: &Column, survey: &Survey, lanes: usize) -> Limits {
        let Definition { function, .. } = &column.bound.definition;
        let measured = self.measured(column, survey);
        let (rows_per_s, most_batches) = match (function, measured) {
            (_, Some(rate)) => (rate.rows_per_s(), MOST_BATCHES),
            (Function::Sql { .. }, None) => (SQL_ROWS_PER_S, MOST_BATCHES),
            // Its first batches tell how fast it is; what is cut before that is cut blindly.
            (Function::Python { .. }, None) => (PYTHON_ROWS_PER_S, lanes * 2),
        };
        // Slices of a Python function share its hosts: a batch is sized for all of them at once.
        let rows_per_s = match function {
            Function::Sql { .. } => rows_per_s,
            Function::Python { .. } => rows_per_s * lanes as f64,
        };
        let workers = u32::try_from(match function {
            Function::Sql { .. } => self.options.workers,
            Function::Python { .. } => lanes,
        })
        .unwrap_or(u32::MAX);
        Limits {
            rows_per_s,
            target_s: BATCH_TARGET_S,
            workers,
            most_rows_per_batch: self.options.most_rows_per_batch.unwrap_or(u64::MAX),
            most_batches,
            most_slices: 256,
            deadline_s: BATCH_DEADLINE_S,
            fold_deadline_s: BATCH_DEADLINE_S,
            most_rows: u64::MAX,
            fold_now: false,
            after: None,
        }
    }
}

/// Rows by generation, for a report.
pub fn generations(survey: &Survey) -> BTreeMap<String, u64> {
    survey
        .generations
        .iter()
        .map(|(generation, rows)| (generation.to_string(), *rows))
        .collect()
}
