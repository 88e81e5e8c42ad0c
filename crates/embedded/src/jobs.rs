//! Jobs: what a person orders, and what an operator decides about a column.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lance_backfill_core::batch::Work;
use lance_backfill_core::breaker::standing;
use lance_backfill_core::format::Stored;
use lance_backfill_core::ids::{BatchId, BindingId, JobId};
use lance_backfill_core::job::{JobEnd, JobOutcome, Selection};
use lance_backfill_core::ledger::{EntryBody, HoldReason, LedgerEntry, Request, standing_hold};
use lance_backfill_core::plan::{Limits, PlannedPage};
use lance_backfill_ports::table::TableVersion;
use lance_backfill_ports::{Error, ErrorKind, Result};
use lance_backfill_stages::column::Column;
use lance_backfill_stages::column_store::{ColumnStore, StoredEntry};
use lance_backfill_stages::plan::{PlanOutcome, preview, write_down};
use lance_backfill_stages::reconcile::{Grace, collect};
use lance_backfill_stages::survey::{OpenRequest, Scope, Survey};

use crate::catalog::Catalog;
use crate::converge::GRACE;
use crate::engine::Engine;

/// Lost races for the next place in the ledger before we say so.
const MOST_LOST_RACES: usize = 50;

/// What ordering a job came to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Ordered {
    /// It is in the ledger; whoever works on the column takes it up.
    Job {
        /// The job.
        job: JobId,
        /// Rows that it asks for.
        rows: u64,
    },
    /// No row matches: nothing was written.
    NoRows,
}

/// A job as far as anybody still knows of it.
#[derive(Clone)]
pub enum KnownJob {
    /// It is not over.
    Open(Box<OpenRequest>),
    /// It is over.
    Ended(Arc<JobEnd>),
}

/// How far a job is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobNow {
    /// Rows that matched when it was ordered.
    pub rows: u64,
    /// Rows with a value or NULL by it, published or not.
    pub rows_assigned: u64,
    /// Rows that failed in it.
    pub rows_failed: u64,
    /// How it ended, if it is over.
    pub outcome: Option<JobOutcome>,
    /// Why its column does nothing, if that is so: too many rows failed.
    pub held: Option<String>,
    /// The fault for which the breaker of its column is open, if it is.
    pub breaker: Option<String>,
}

/// What a decision about a hold came to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Released {
    /// A hold ended, which was there for this reason.
    Hold(HoldReason, String),
    /// A breaker closed, which this fault had opened.
    Breaker(String),
    /// Nothing held the column.
    NothingHeld,
}

impl Engine {
    /// Surveys a column as if somebody asked for a selection now.
    pub async fn survey_asked(
        &self,
        version: &Arc<dyn TableVersion>,
        catalog: &Catalog,
        column: &str,
        selection: &Selection,
    ) -> Result<(Column, Survey)> {
        let mut surveyed = self
            .survey_for(
                version,
                catalog,
                &|bound| bound.is_named(column),
                Scope::Asked(selection),
            )
            .await?;
        surveyed.pop().ok_or_else(|| {
            Error::invalid(format!("column '{column}' vanished while it was looked at"))
        })
    }

    /// What the first page of a job with this selection would be; calls no function.
    pub fn preview_asked(&self, survey: &Survey, limits: &Limits) -> Result<PlannedPage> {
        let job = survey.requests.last().map(|asked| &asked.job);
        preview(survey, limits, job, self.world.now_ms())
    }

    /// Orders a job; the rows are those that its selection matches now.
    pub async fn order(&self, column: &str, selection: &Selection) -> Result<Ordered> {
        self.settle().await?;
        for _ in 0..MOST_LOST_RACES {
            let version = self.latest().await?;
            let catalog = Catalog::read(version.view())?;
            let (column, survey) = self
                .survey_asked(&version, &catalog, column, selection)
                .await?;
            let rows = survey
                .requests
                .last()
                .map_or(0, |asked| asked.progress.rows_remaining);
            if rows == 0 {
                return Ok(Ordered::NoRows);
            }
            let request = EntryBody::Request(Request {
                selection: selection.clone(),
                rows,
            });
            if let PlanOutcome::Dispatched(entry) =
                write_down(&survey, &column, request, None, self.world.as_ref()).await?
                && let Some(job) = entry.job()
            {
                return Ok(Ordered::Job { job, rows });
            }
        }
        Err(busy(column))
    }

    /// All jobs of a column that somebody still knows of, oldest first.
    pub async fn jobs(
        &self,
        version: &Arc<dyn TableVersion>,
        catalog: &Catalog,
        column: &str,
    ) -> Result<Vec<KnownJob>> {
        let (column, survey) = self.one(version, catalog, column).await?;
        let ended = column.store.ended_jobs().await?;
        let mut jobs: Vec<KnownJob> = ended.into_iter().map(KnownJob::Ended).collect();
        let open = survey.requests.into_iter().map(Box::new);
        jobs.extend(open.map(KnownJob::Open));
        jobs.sort_by(|left, right| left.id().cmp(right.id()));
        Ok(jobs)
    }

    /// Calls a job off at once, without a look at the table; what it finished counts.
    ///
    /// `None` if the column knows of no such job. A job that is over already stays as it ended.
    pub async fn cancel(&self, column: &BindingId, job: &JobId) -> Result<Option<Arc<JobEnd>>> {
        self.settle().await?;
        let store = self.store(column);
        if let Some(end) = store.job_end(job).await? {
            return Ok(Some(end));
        }
        let ledger = store.ledger().await?;
        let Some(sofar) = so_far(&store, &ledger, job).await? else {
            return Ok(None);
        };
        let end = JobEnd {
            version: JobEnd::VERSION,
            binding: column.clone(),
            job: job.clone(),
            selection: sofar.request.selection,
            rows: sofar.request.rows,
            outcome: JobOutcome::Cancelled,
            rows_assigned: sofar.rows_assigned,
            rows_failed: sofar.rows_failed,
        };
        store.end_job(end).await.map(Some)
    }

    /// How far a job is by now, without a look at the table; `None` if the column knows of no such job.
    pub async fn job_now(&self, column: &BindingId, job: &JobId) -> Result<Option<JobNow>> {
        let store = self.store(column);
        if let Some(end) = store.job_end(job).await? {
            return Ok(Some(JobNow {
                rows: end.rows,
                rows_assigned: end.rows_assigned,
                rows_failed: end.rows_failed,
                outcome: Some(end.outcome),
                held: None,
                breaker: None,
            }));
        }
        let ledger = store.ledger().await?;
        let entries: Vec<LedgerEntry> = ledger.iter().map(|it| it.entry.clone()).collect();
        let held = standing_hold(&entries)
            // Jobs go on while others wait for approval.
            .filter(|(reason, _)| *reason == HoldReason::Budget)
            .map(|(_, message)| message.to_owned());
        let sofar = so_far(&store, &ledger, job).await?;
        Ok(sofar.map(|sofar| JobNow {
            rows: sofar.request.rows,
            rows_assigned: sofar.rows_assigned,
            rows_failed: sofar.rows_failed,
            outcome: None,
            held,
            breaker: standing(&entries).map(|(_, open)| open.message.clone()),
        }))
    }

    /// Ends the holds of a column, also those for failed rows, and closes its breaker.
    pub async fn end_holds(&self, column: &str) -> Result<Released> {
        self.release(column, |_, _| Ok(Some(EntryBody::Resume {})))
            .await
    }

    /// Lets unattended work hand out `up_to` rows, or all that are in need now.
    pub async fn approve(&self, column: &str, up_to: Option<u64>) -> Result<(Released, u64)> {
        let mut approved = 0;
        let released = self
            .release(column, |kept, in_need| match kept {
                Released::Hold(HoldReason::Approval, _) => {
                    approved = up_to.unwrap_or(in_need);
                    Ok(Some(EntryBody::Approval { rows: approved }))
                }
                Released::Hold(HoldReason::Budget, _) => Err(Error::new(
                    ErrorKind::Invalid,
                    format!("column '{column}' is held for failed rows, which no approval ends; see 'failures', then 'column resume'"),
                )),
                Released::Breaker(_) | Released::NothingHeld => Ok(None),
            })
            .await?;
        Ok((released, approved))
    }

    /// Writes down what ends what keeps a column's rows back, if `by` says how.
    async fn release(
        &self,
        column: &str,
        mut by: impl FnMut(&Released, u64) -> Result<Option<EntryBody>>,
    ) -> Result<Released> {
        self.settle().await?;
        for _ in 0..MOST_LOST_RACES {
            let version = self.latest().await?;
            let catalog = Catalog::read(version.view())?;
            let (column, survey) = self.one(&version, &catalog, column).await?;
            let entries = survey.entries();
            let kept = match (standing_hold(&entries), standing(&entries)) {
                (Some((reason, message)), _) => Released::Hold(reason, message.to_owned()),
                (None, Some((_, open))) => Released::Breaker(open.message.clone()),
                (None, None) => return Ok(Released::NothingHeld),
            };
            let Some(body) = by(&kept, survey.rows_to_hand_out())? else {
                return Ok(Released::NothingHeld);
            };
            let world = self.world.as_ref();
            if let PlanOutcome::Dispatched(_) =
                write_down(&survey, &column, body, None, world).await?
            {
                return Ok(kept);
            }
        }
        Err(busy(column))
    }

    /// Collects what nothing needs; without any grace only if nobody works on the table.
    pub async fn reconcile(&self, column: &str, no_grace: bool) -> Result<usize> {
        self.settle().await?;
        let version = self.latest().await?;
        let catalog = Catalog::read(version.view())?;
        let (column, survey) = self.one(&version, &catalog, column).await?;
        let grace = if no_grace { Grace::NONE } else { GRACE };
        collect(&column, &survey, self.world.as_ref(), grace).await
    }

    async fn one(
        &self,
        version: &Arc<dyn TableVersion>,
        catalog: &Catalog,
        column: &str,
    ) -> Result<(Column, Survey)> {
        catalog.expect_acting(column)?;
        let mut surveyed = self
            .survey(version, catalog, &|bound| bound.is_named(column))
            .await?;
        surveyed.pop().ok_or_else(|| {
            Error::invalid(format!("column '{column}' vanished while it was looked at"))
        })
    }
}

impl KnownJob {
    /// How it ended, if it is over.
    pub fn outcome(&self) -> Option<JobOutcome> {
        match self {
            Self::Open(_) => None,
            Self::Ended(end) => Some(end.outcome),
        }
    }

    /// Rows that failed in it.
    pub fn rows_failed(&self) -> u64 {
        match self {
            Self::Open(open) => open.progress.rows_failed,
            Self::Ended(end) => end.rows_failed,
        }
    }

    /// Its id.
    pub fn id(&self) -> &JobId {
        match self {
            Self::Open(open) => &open.job,
            Self::Ended(end) => &end.job,
        }
    }
}

/// What the batches of a job left so far.
struct SoFar {
    request: Request,
    rows_assigned: u64,
    rows_failed: u64,
}

/// Counts a job by the checkpoint manifests of its batches.
async fn so_far(
    store: &ColumnStore,
    ledger: &[Arc<StoredEntry>],
    job: &JobId,
) -> Result<Option<SoFar>> {
    let of_job = || {
        let entries = ledger.iter().map(|stored| &stored.entry);
        entries.filter(|entry| entry.job().as_ref() == Some(job))
    };
    let request = of_job().find_map(|entry| match &entry.body {
        EntryBody::Request(request) => Some(request.clone()),
        _ => None,
    });
    let Some(request) = request else {
        return Ok(None);
    };
    // What a fold lays together was counted where it was computed.
    let batches: BTreeSet<BatchId> = of_job()
        .flat_map(LedgerEntry::work)
        .filter(|(_, work)| matches!(work, Work::Compute(_)))
        .map(|(batch, _)| batch)
        .collect();
    let finished = match batches.is_empty() {
        true => BTreeMap::new(),
        false => store.checkpoints(&batches).await?,
    };
    Ok(Some(SoFar {
        request,
        rows_assigned: (finished.values())
            .map(|manifest| manifest.rows_computed())
            .sum(),
        rows_failed: finished
            .values()
            .map(|manifest| manifest.rows_failed())
            .sum(),
    }))
}

fn busy(column: &str) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        format!(
            "column '{column}' is too busy: others keep taking the next place in its ledger; try again"
        ),
    )
}
