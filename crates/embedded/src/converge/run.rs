//! One call of converge: what it does next, one step at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use lance_backfill_core::batch::{Lane, Work};
use lance_backfill_core::definition::Function;
use lance_backfill_core::error_budget::Counted;
use lance_backfill_core::ids::{BatchId, FragmentId, JobId, LedgerSeq};
use lance_backfill_core::job::JobOutcome;
use lance_backfill_core::ledger::{
    Allowance, EntryBody, HoldReason, LedgerEntry, allowance, approved_left, standing_hold,
};
use lance_backfill_core::plan::Limits;
use lance_backfill_ports::table::TableVersion;
use lance_backfill_ports::{Error, Result};
use lance_backfill_stages::column::Column;
use lance_backfill_stages::execute::Evaluated;
use lance_backfill_stages::plan::{Order, PlanOutcome, dispatch, write_down};
use lance_backfill_stages::survey::{OpenWork, Survey};

use super::breaker::Asked;
use super::{Attention, Converged, Estimated, Progress, Stopped, Task};
use crate::catalog::Catalog;
use crate::engine::Engine;
use crate::session::Liveness;

/// How often an open batch of another live session is looked at.
const WAIT_FOR_OTHERS: Duration = Duration::from_millis(200);
/// Each look waits twice as long as the one before, up to some seconds.
const MOST_DOUBLINGS: u32 = 4;

pub(super) enum Step {
    /// Something was done: survey again.
    Progress,
    /// Somebody else was faster: survey again.
    Again,
    /// Nothing is left to do.
    Done,
    /// Nothing more can be done now.
    Stop(Stopped),
}

/// What this call did of one ledger entry.
#[derive(Default)]
pub(super) struct OwnWork {
    /// Fragments that it computed rows of.
    pub(super) fragments: BTreeSet<FragmentId>,
    /// Values and NULLs computed.
    pub(super) computed: u64,
    /// Of those, published by this call.
    pub(super) published: u64,
}

/// A batch that this call does.
pub(super) struct Claim {
    pub(super) batch: BatchId,
    /// Job that ordered it, if one did.
    pub(super) job: Option<JobId>,
    pub(super) work: Work,
}

pub(super) struct Run<'a> {
    pub(super) engine: &'a Engine,
    pub(super) task: Task<'a>,
    /// Ledger entries whose work this call did, and what became of it.
    pub(super) own: BTreeMap<LedgerSeq, OwnWork>,
    pub(super) converged: Converged,
    /// When the last commit ended, and how long it took.
    pub(super) last_commit: Option<(u64, u64)>,
    /// How often others were waited for since anything was done.
    pub(super) waits: u32,
    /// When the estimate was made.
    pub(super) estimated_ms: u64,
    /// Whether the function is known to be callable.
    pub(super) prepared: bool,
    /// Whether one batch is all that may be handed out.
    pub(super) probing: bool,
    /// Why a batch stopped before its end.
    pub(super) stopping: Option<Stopped>,
    /// Rows evaluated, those of batches at work included.
    pub(super) evaluated: Arc<Evaluated>,
    pub(super) total: u64,
    pub(super) failed: u64,
    pub(super) computed: u64,
}

impl<'a> Run<'a> {
    pub(super) fn new(engine: &'a Engine, task: Task<'a>) -> Self {
        Self {
            engine,
            task,
            own: BTreeMap::new(),
            converged: Converged::default(),
            last_commit: None,
            waits: 0,
            estimated_ms: 0,
            prepared: false,
            probing: false,
            stopping: None,
            evaluated: Arc::default(),
            total: 0,
            failed: 0,
            computed: 0,
        }
    }

    pub(super) async fn survey(
        &self,
        version: &Arc<dyn TableVersion>,
        catalog: &Catalog,
    ) -> Result<(Column, Survey)> {
        let column = self.task.column;
        let surveyed = self
            .engine
            .survey(version, catalog, &|bound| bound.is_named(column))
            .await?;
        surveyed
            .into_iter()
            .find(|(found, _)| found.bound.is_named(column))
            .ok_or_else(|| {
                Error::invalid(format!("column '{column}' vanished while it was worked on"))
            })
    }

    pub(super) async fn step(
        &mut self,
        version: &Arc<dyn TableVersion>,
        column: &Column,
        survey: &Survey,
        progress: &dyn Progress,
    ) -> Result<Step> {
        // Without settled fragments it can wait until nothing is left to do.
        if !survey.newly_settled.is_empty() {
            self.engine.note_settled(column, survey).await?;
        }
        let mut paused = None;
        if survey.has_finished() {
            match self.commit(version, column, survey).await? {
                // Computing goes on; what is finished waits.
                Step::Stop(stopped @ Stopped::Paused(_)) => paused = Some(stopped),
                step => return Ok(step),
            }
        }
        // A job whose last batch went over the budget is not done, although no row is left.
        let ended = match self.stopping.is_some() || self.over_budget(column).is_some() {
            true => BTreeSet::new(),
            false => self.end_finished_jobs(column, survey).await?,
        };
        let entries = survey.entries();
        if let Some((reason, message)) = standing_hold(&entries) {
            let held = Stopped::Held(reason, message.to_owned());
            match (reason, self.task.attention, self.task.job) {
                // What a person asks for by name is approved by that.
                (HoldReason::Approval, Attention::Attended, Some(_)) => {}
                (HoldReason::Approval, Attention::Attended, None) => {
                    let rows = survey.rows_to_hand_out();
                    let body = EntryBody::Approval { rows };
                    return self.write_down(survey, column, body).await;
                }
                _ => return self.fold_and_stop(column, survey, held, progress).await,
            }
        }
        if let Some(stopped) = self.stopping.take().or_else(|| self.over_budget(column)) {
            let over = stopped.clone();
            let step = Box::pin(self.fold_and_stop(column, survey, over, progress)).await?;
            if !matches!(step, Step::Stop(_)) {
                self.stopping = Some(stopped);
                return Ok(step);
            }
            return self.stop(column, survey, stopped).await;
        }
        match self.ask_breaker(column, survey).await? {
            Asked::WroteDown(step) => return Ok(step),
            Asked::Wait(standing) => {
                let stopped = Stopped::Breaker(standing);
                return self.fold_and_stop(column, survey, stopped, progress).await;
            }
            Asked::Probe => self.probing = true,
            Asked::HandOut => self.probing = false,
        }
        let (mut mine, others) = self.sort_open(survey)?;
        if self.probing {
            mine.truncate(1);
        }
        if !mine.is_empty() {
            return self.work(column, mine, progress).await;
        }
        for request in &survey.requests {
            let wanted = self.task.job.is_none_or(|job| *job == request.job);
            if wanted && !ended.contains(&request.job) {
                let order = self.order(Some(&request.job), approved_left(&entries));
                let limits = self.engine.limits(column, survey);
                let step = self
                    .hand_out(column, survey, order, &limits, progress)
                    .await?;
                if let Some(step) = step {
                    return Ok(step);
                }
            }
        }
        if self.task.job.is_none() {
            let step = self.hand_out_rows_in_need(column, survey, &entries, progress);
            if let Some(step) = step.await? {
                return Ok(step);
            }
        } else {
            // What the job finished before somebody called it off.
            let limits = self.limits_of_folds(column, survey);
            if let Some(step) = self.fold(column, survey, &limits, progress).await? {
                return Ok(step);
            }
        }
        if others == 0 {
            return Ok(paused.map_or(Step::Done, Step::Stop));
        }
        progress.note(&format!(
            "column '{}': waiting for {others} batches of another process",
            column.name()
        ));
        wait(WAIT_FOR_OTHERS * (1 << self.waits.min(MOST_DOUBLINGS))).await;
        self.waits += 1;
        Ok(Step::Progress)
    }

    /// Hands out rows in need, as far as they may be without a person.
    async fn hand_out_rows_in_need(
        &mut self,
        column: &Column,
        survey: &Survey,
        entries: &[LedgerEntry],
        progress: &dyn Progress,
    ) -> Result<Option<Step>> {
        let approved = approved_left(entries);
        let mut limits = self.engine.limits(column, survey);
        let approved = match self.task.attention {
            Attention::Attended => approved,
            Attention::Unattended => {
                let limit = column.bound.definition.approval_limit();
                let in_need = survey.rows_to_hand_out();
                match allowance(in_need, limit, approved) {
                    Allowance::Free => 0,
                    Allowance::Approved(rows) => {
                        limits.most_rows = rows;
                        rows
                    }
                    Allowance::Hold => {
                        let limit = limit.unwrap_or_default();
                        let body = EntryBody::Hold {
                            reason: HoldReason::Approval,
                            message: format!(
                                "{in_need} rows are in need, and more than {limit} wait for approval"
                            ),
                        };
                        return self.write_down(survey, column, body).await.map(Some);
                    }
                }
            }
        };
        let order = self.order(None, approved);
        self.hand_out(column, survey, order, &limits, progress)
            .await
    }

    /// Hands out a page and does it; `None` if there is nothing to hand out.
    async fn hand_out(
        &mut self,
        column: &Column,
        survey: &Survey,
        order: Order<'_>,
        limits: &Limits,
        progress: &dyn Progress,
    ) -> Result<Option<Step>> {
        let session = self.engine.session()?;
        let order = Order {
            session: Some(&session.id),
            ..order
        };
        let world = self.engine.world.as_ref();
        let starts_hosts = matches!(column.bound.definition.function, Function::Python { .. });
        if starts_hosts && limits.most_rows > 0 && !self.prepared {
            let needs = survey.needs(order.job, world.now_ms());
            let rows = needs.iter().map(|need| need.ready.len()).sum();
            if rows > 0
                && let Err(fault) = self.prepare(column, rows).await
            {
                return Ok(Some(Step::Stop(Stopped::Fault(fault))));
            }
        }
        let limits = match self.probing {
            true => limits.probe(),
            false => *limits,
        };
        match dispatch(survey, column, &limits, order, world).await? {
            PlanOutcome::Dispatched(entry) => {
                let needs = survey.needs(order.job, world.now_ms());
                let rows: u64 = needs.iter().map(|need| need.ready.len()).sum();
                self.total = self.total.max(self.computed + self.failed + rows);
                self.estimate(column, survey, rows);
                self.own.entry(entry.seq).or_default();
                let job = entry.job();
                let claim = |(batch, work)| Claim {
                    batch,
                    job: job.clone(),
                    work,
                };
                let work = entry.work().into_iter().map(claim).collect();
                self.work(column, work, progress).await.map(Some)
            }
            PlanOutcome::LostRace => Ok(Some(Step::Again)),
            PlanOutcome::Nothing => Ok(None),
        }
    }

    /// Says once how long the rest will take, as soon as anything is known of the function's speed.
    fn estimate(&mut self, column: &Column, survey: &Survey, rows: u64) {
        let limits = self.engine.limits(column, survey);
        if self.converged.estimated.is_none()
            && let Some(estimate) = self.engine.estimate(column, survey, rows, &limits)
        {
            self.estimated_ms = self.engine.world.now_ms();
            self.converged.estimated = Some(Estimated {
                rows,
                estimate,
                took_s: 0.0,
            });
        }
    }

    pub(super) fn end_estimate(&mut self) {
        let took_ms = self.engine.world.now_ms().saturating_sub(self.estimated_ms);
        if let Some(estimated) = &mut self.converged.estimated {
            estimated.took_s = took_ms as f64 / 1_000.0;
        }
    }

    const fn order<'b>(&self, job: Option<&'b JobId>, approved: u64) -> Order<'b> {
        Order {
            job,
            lane: match self.task.attention {
                Attention::Attended => Lane::Bulk,
                Attention::Unattended => Lane::Fresh,
            },
            session: None,
            approved,
        }
    }

    pub(super) async fn write_down(
        &self,
        survey: &Survey,
        column: &Column,
        body: EntryBody,
    ) -> Result<Step> {
        let world = self.engine.world.as_ref();
        Ok(match write_down(survey, column, body, None, world).await? {
            PlanOutcome::Dispatched(_) => Step::Progress,
            PlanOutcome::LostRace | PlanOutcome::Nothing => Step::Again,
        })
    }

    /// Lays finished parts together before a column is left: what was paid for becomes visible.
    async fn fold_and_stop(
        &mut self,
        column: &Column,
        survey: &Survey,
        held: Stopped,
        progress: &dyn Progress,
    ) -> Result<Step> {
        let (mut mine, _) = self.sort_open(survey)?;
        mine.retain(|claim| matches!(claim.work, Work::Fold(_)));
        if !mine.is_empty() {
            return self.work(column, mine, progress).await;
        }
        let limits = Limits {
            fold_now: true,
            ..self.limits_of_folds(column, survey)
        };
        let step = self.fold(column, survey, &limits, progress).await?;
        Ok(step.unwrap_or(Step::Stop(held)))
    }

    fn limits_of_folds(&self, column: &Column, survey: &Survey) -> Limits {
        Limits {
            most_rows: 0,
            ..self.engine.limits(column, survey)
        }
    }

    /// Hands out the folds that are due, and no rows.
    async fn fold(
        &mut self,
        column: &Column,
        survey: &Survey,
        limits: &Limits,
        progress: &dyn Progress,
    ) -> Result<Option<Step>> {
        let order = self.order(None, approved_left(&survey.entries()));
        self.hand_out(column, survey, order, limits, progress).await
    }

    /// Leaves a column whose rows fail too often: its job is over, and nobody begins again unattended.
    async fn stop(&mut self, column: &Column, survey: &Survey, why: Stopped) -> Result<Step> {
        for request in &survey.requests {
            let ours = |seq: &LedgerSeq| {
                let entry = survey.ledger.iter().find(|stored| stored.entry.seq == *seq);
                entry.is_some_and(|stored| stored.entry.job().as_ref() == Some(&request.job))
            };
            if self.own.keys().any(ours) {
                let end = request.end(&column.bound.binding, JobOutcome::OverBudget);
                column.store.end_job(end).await?;
            }
        }
        if let (Attention::Unattended, Stopped::Budget(message)) = (self.task.attention, &why) {
            let body = EntryBody::Hold {
                reason: HoldReason::Budget,
                message: message.clone(),
            };
            let step = self.write_down(survey, column, body).await?;
            if matches!(step, Step::Again) {
                // Somebody else took the place in the ledger; the reason stands.
                self.stopping = Some(why);
            }
            return Ok(step);
        }
        Ok(Step::Stop(why))
    }

    /// Says of jobs that have no rows left that they are over.
    async fn end_finished_jobs(&self, column: &Column, survey: &Survey) -> Result<BTreeSet<JobId>> {
        let mut ended = BTreeSet::new();
        for request in survey.finished_requests() {
            let end = request.end(&column.bound.binding, JobOutcome::Done);
            column.store.end_job(end).await?;
            ended.insert(request.job.clone());
        }
        Ok(ended)
    }

    /// Open batches that this process may do, and how many belong to others that live.
    pub(super) fn sort_open(&self, survey: &Survey) -> Result<(Vec<Claim>, usize)> {
        if survey.open_work.is_empty() {
            return Ok((vec![], 0));
        }
        let session = self.engine.session()?;
        let now_ms = self.engine.world.now_ms();
        let mut mine = vec![];
        let mut others = 0;
        for OpenWork { batch, work, entry } in &survey.open_work {
            let deadline_s = match work {
                Work::Compute(spec) => spec.deadline_s,
                Work::Fold(spec) => spec.deadline_s,
            };
            let overdue = now_ms > entry.created_ms.saturating_add(deadline_s * 1_000);
            let owner = entry.entry.session.as_deref();
            let dead = match owner {
                Some(owner) => owner == session.id || session.look(owner) == Liveness::Dead,
                None => false,
            };
            if dead || overdue {
                mine.push(Claim {
                    batch: batch.clone(),
                    job: entry.entry.job(),
                    work: work.clone(),
                });
            } else {
                others += 1;
            }
        }
        Ok((mine, others))
    }

    /// Whether this call's failed rows exceed the column's policy.
    pub(super) fn over_budget(&self, column: &Column) -> Option<Stopped> {
        let counted = Counted {
            computed: self.computed,
            failed: self.failed,
        };
        let policy = &column.bound.definition.error_policy;
        counted.exceeds(policy).map(Stopped::Budget)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the embedded driver is the one place that waits"
)]
pub(super) async fn wait(duration: Duration) {
    tokio::time::sleep(duration).await;
}
