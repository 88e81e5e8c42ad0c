//! A process of ours: surveys, then commits, executes or plans, and starts anew after a fault.

use std::sync::Arc;

use anyhow::ensure;
use lance_backfill_core::batch::{Lane, Work};
use lance_backfill_core::breaker::{Breaker, standing};
use lance_backfill_core::commit::Finished;
use lance_backfill_core::invariant;
use lance_backfill_core::job::{JobOutcome, Selection, Take};
use lance_backfill_core::ledger::{EntryBody, Request};
use lance_backfill_core::plan::Limits;
use lance_backfill_core::table::TableView;
use lance_backfill_ports::state_store::{Created, StateStore};
use lance_backfill_ports::table::{Table, TableVersion};
use lance_backfill_stages::column::Column;
use lance_backfill_stages::column_store::ColumnStore;
use lance_backfill_stages::commit::commit;
use lance_backfill_stages::execute::{Attempted, OpenBatch, Workers, execute};
use lance_backfill_stages::plan::{Order, PlanOutcome, dispatch, write_down};
use lance_backfill_stages::reconcile::{Grace, collect};
use lance_backfill_stages::survey::{OpenRequest, OpenWork, Scope, Survey, survey, survey_for};
use lance_backfill_stages::until::Until;
use lance_backfill_testkit::{
    Fault, Faults, Faulty, ManualClock, MemStateStore, MemTable, Random, SeededWorld,
};

use crate::column::{Product, bound};
use crate::trace::Trace;

/// Steps of our own after which a column must be converged.
const MOST_STEPS: usize = 300;

/// First wait of a breaker: a few steps.
const FIRST_WAIT_MS: u64 = 700;

/// What one step did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Committed,
    Executed,
    Planned,
    LostRace,
    /// A breaker is open until this moment.
    Waits(u64),
    Idle,
}

/// Who else is at work during a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Company {
    None,
    Others,
}

pub(crate) struct Process {
    name: &'static str,
    table: Faulty<MemTable>,
    state: Arc<dyn StateStore>,
    pub(crate) faults: Faults,
    cached: Arc<ColumnStore>,
    world: SeededWorld,
    clock: ManualClock,
    random: Random,
    filtered: bool,
    function: Arc<Product>,
    trace: Trace,
}

impl Process {
    pub(crate) fn new(
        name: &'static str,
        seed: u64,
        (table, state, clock): (&MemTable, &MemStateStore, &ManualClock),
        filtered: bool,
        function: &Arc<Product>,
        trace: &Trace,
    ) -> Self {
        let faults = Faults::with_yields(seed);
        let state: Arc<dyn StateStore> = Arc::new(Faulty::new(state.clone(), faults.clone()));
        Self {
            name,
            table: Faulty::new(table.clone(), faults.clone()),
            cached: Arc::new(ColumnStore::new(state.clone())),
            state,
            faults,
            world: SeededWorld::new(clock.clone(), seed ^ 0xabcd),
            clock: clock.clone(),
            random: Random::new(seed),
            filtered,
            function: function.clone(),
            trace: trace.clone(),
        }
    }

    /// Takes some steps under planned faults; after each fault a new process goes on.
    pub(crate) async fn run(&mut self, steps: u64) -> anyhow::Result<()> {
        for _ in 0..steps {
            if self.random.below(3) == 0 {
                let fault = match self.random.below(4) {
                    0 => Fault::Refuse,
                    1 => Fault::LoseAnswer,
                    2 => Fault::CrashBefore,
                    _ => Fault::CrashAfter,
                };
                self.faults.plan(1 + self.random.below(12), fault);
            }
            self.clock.advance_ms(self.random.below(400));
            if self.random.below(8) == 0 {
                let down = !self.function.is_down();
                self.function.set_down(down);
                self.trace.tell(format!("the function is down: {down}"));
            }
            match Box::pin(self.step()).await {
                Ok(step) => self.trace.tell(format!("{} {step:?}", self.name)),
                Err(error) if format!("{error:#}").contains("planned fault") => {
                    self.trace.tell(format!("{} {error:#}", self.name));
                    self.restart();
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn restart(&mut self) {
        self.faults.revive();
        self.cached = Arc::new(ColumnStore::new(self.state.clone()));
    }

    /// Works without faults until nothing is left; returns the last survey.
    pub(crate) async fn converge(&mut self) -> anyhow::Result<Survey> {
        self.restart();
        self.function.set_down(false);
        for _ in 0..MOST_STEPS {
            let step = Box::pin(self.step_as(Company::None)).await?;
            let idle = step == Step::Idle;
            self.trace.tell(format!("{} {step:?}", self.name));
            if let Step::Waits(until_ms) = step {
                let now_ms = self.clock.now_ms();
                self.clock.advance_ms(until_ms.saturating_sub(now_ms));
            }
            if idle {
                let version = self.table.latest().await?;
                let column = self.column(version.view())?;
                let found = survey(&self.table, &version, &column, &[]).await?;
                collect(&column, &found, &self.world, Grace::NONE).await?;
                return Ok(found);
            }
        }
        anyhow::bail!("no convergence after {MOST_STEPS} steps")
    }

    fn column(&self, view: &TableView) -> anyhow::Result<Column> {
        bound(
            view,
            self.filtered,
            &self.function,
            &self.state,
            Some(&self.cached),
        )
    }

    async fn step(&mut self) -> anyhow::Result<Step> {
        let step = Box::pin(self.step_as(Company::Others)).await?;
        if step == Step::Idle && self.random.below(2) == 0 {
            let version = self.table.latest().await?;
            let column = self.column(version.view())?;
            let found = Box::pin(survey(&self.table, &version, &column, &[])).await?;
            collect(&column, &found, &self.world, Grace::NONE).await?;
        }
        Ok(step)
    }

    /// A row in need waits since some moment that is over, and what is finished was so at one.
    fn check_waits(&self, view: &TableView, found: &Survey) -> anyhow::Result<()> {
        let waits = found.waits(view, true);
        let now_ms = self.clock.now_ms();
        let in_need = found.counts.remaining() > 0;
        let somebody_waits = waits.since_ms().is_some();
        ensure!(
            !in_need || somebody_waits,
            "rows are in need, and none waits: {waits:?}"
        );
        ensure!(
            waits.since_ms().is_none_or(|since_ms| since_ms <= now_ms),
            "a row waits since a moment to come, not {now_ms}: {waits:?}"
        );
        ensure!(
            waits.finished_ms.is_empty() != found.has_finished(),
            "what is finished was never so, or the other way round: {waits:?}"
        );
        ensure!(
            waits.finished_ms.iter().all(|at_ms| *at_ms <= now_ms),
            "a batch is finished at a moment to come, not {now_ms}: {waits:?}"
        );
        let rests = !in_need && found.open_work.is_empty() && !found.has_finished();
        ensure!(
            !rests || found.unsettled.values().any(|now| !now.parts.is_empty()) || !somebody_waits,
            "nothing is left to do, and somebody waits: {waits:?}"
        );
        Ok(())
    }

    /// What a survey did not look for is not there.
    async fn check_records(&self, column: &Column, found: &Survey) -> anyhow::Result<()> {
        let store = ColumnStore::new(self.state.clone());
        for (fragment, unsettled) in &found.unsettled {
            let present = &unsettled.present;
            let key = (*fragment, present.identities.clone(), present.place.clone());
            let records = store.records(&[key]).await?;
            ensure!(
                records.get(fragment).map(|record| record.as_ref()) == present.record.as_ref(),
                "fragment {fragment} of '{}' has another record: {records:?}, not {:?}",
                column.name(),
                present.record
            );
        }
        Ok(())
    }

    /// The version before the newest, as a late event tells of it, if nobody has seen a newer one.
    async fn told(&mut self) -> anyhow::Result<Option<(Arc<dyn TableVersion>, Column, Survey)>> {
        if self.random.below(4) > 0 {
            return Ok(None);
        }
        let newest = self.table.latest().await?.view().version;
        let Some(version) = self.table.at(newest - 1).await? else {
            return Ok(None);
        };
        if version.view().field("p").is_none() {
            return Ok(None);
        }
        let column = self.column(version.view())?;
        let found = Box::pin(survey(&self.table, &version, &column, &[])).await?;
        Ok((!found.is_behind()).then_some((version, column, found)))
    }

    async fn step_as(&mut self, company: Company) -> anyhow::Result<Step> {
        let told = match company {
            Company::None => None,
            Company::Others => Box::pin(self.told()).await?,
        };
        let is_told = told.is_some();
        let (version, column, found) = match told {
            Some(told) => told,
            None => {
                let version = self.table.latest().await?;
                let column = self.column(version.view())?;
                let found = Box::pin(survey(&self.table, &version, &column, &[])).await?;
                (version, column, found)
            }
        };
        invariant::counts_add_up(&found.counts)?;
        one_probe(&found, &column)?;
        ensure!(found.counts.failed == 0, "a fault of a batch failed rows");
        for unsettled in found.unsettled.values() {
            invariant::no_lost_row(&unsettled.state, &unsettled.live)?;
        }
        ensure!(
            found.counts.total == version.view().live_rows(),
            "{} of {} live rows are counted",
            found.counts.total,
            version.view().live_rows()
        );
        self.check_waits(version.view(), &found)?;
        if company == Company::None {
            self.check_records(&column, &found).await?;
        }
        // A snapshot is written when there is something to say, and not always then.
        let noted = !found.newly_settled.is_empty() && self.random.below(3) > 0;
        if let Some(extension) = found
            .snapshot_extension(&column.bound.generation)
            .filter(|_| noted)
        {
            match column
                .store
                .extend_snapshot(&found.snapshot, extension)
                .await?
            {
                Created::New | Created::AlreadyThere => {}
            }
        }
        if found.has_finished() && !is_told {
            let narrow = survey_for(&self.table, &version, &column, &[], Scope::Finished);
            let narrow = Box::pin(narrow).await?;
            let finished = |survey: &Survey| -> Vec<Vec<Finished>> {
                let all = survey.unsettled.values();
                let all = all.map(|unsettled| unsettled.finished.clone());
                all.filter(|finished| !finished.is_empty()).collect()
            };
            ensure!(
                company == Company::Others || finished(&narrow) == finished(&found),
                "a commit does not see what is finished"
            );
            match self.random.below(2) {
                0 => commit(&version, &column, &narrow).await?,
                _ => commit(&version, &column, &found).await?,
            };
            return Ok(Step::Committed);
        }
        let many = found.open_work.len() as u64;
        if many > 0 {
            let nth = usize::try_from(self.random.below(many))?;
            if let Some(open) = found.open_work.get(nth) {
                let workers = Workers::new(2);
                let job = open.entry.entry.job();
                let evaluated = Arc::default();
                let until = Until::never();
                let batch = execute(
                    &self.table,
                    &column,
                    OpenBatch {
                        batch: &open.batch,
                        job: job.as_ref(),
                        work: &open.work,
                        at: is_told.then_some(&version),
                        until: &until,
                        attempted: match self.random.below(2) {
                            0 => Attempted::Never,
                            _ => Attempted::Perhaps,
                        },
                    },
                    &evaluated,
                    &workers,
                    &self.world,
                );
                Box::pin(batch).await?;
                return Ok(Step::Executed);
            }
        }
        let mut limits = Limits {
            rows_per_s: 100.0,
            target_s: 1.0,
            workers: 2,
            most_rows_per_batch: 3 + self.random.below(12),
            most_batches: 4,
            most_slices: 3,
            deadline_s: 10,
            fold_deadline_s: 10,
            most_rows: u64::MAX,
            fold_now: self.random.below(8) == 0,
            after: None,
        };
        for request in found.finished_requests() {
            let end = request.end(&column.bound.binding, JobOutcome::Done);
            column.store.end_job(end).await?;
        }
        let generation = &column.bound.generation;
        let now_ms = self.clock.now_ms();
        let mut waits = None;
        match found.breaker(generation, Some(FIRST_WAIT_MS), now_ms) {
            Breaker::Closed => {}
            Breaker::Probe => limits = limits.probe(),
            Breaker::ToOpen(open) => {
                return self.note(&found, &column, EntryBody::Breaker(open)).await;
            }
            Breaker::ToClose(_) => {
                return self
                    .note(&found, &column, EntryBody::BreakerClosed {})
                    .await;
            }
            Breaker::Open { until_ms } => {
                limits.most_rows = 0;
                waits = Some(until_ms);
            }
            Breaker::Probing => limits.most_rows = 0,
        }
        let open = |request: &&OpenRequest| request.progress.rows_remaining > 0;
        let order = Order {
            job: found.requests.iter().find(open).map(|request| &request.job),
            lane: Lane::Bulk,
            session: None,
            approved: 0,
        };
        let outcome = dispatch(&found, &column, &limits, order, &self.world).await?;
        let mut step = of(&outcome);
        if let (PlanOutcome::Nothing, Some(_)) = (&outcome, order.job) {
            // Its last rows wait for something; the others need not.
            let order = Order { job: None, ..order };
            step = of(&dispatch(&found, &column, &limits, order, &self.world).await?);
        }
        Ok(match (step, waits) {
            (Step::Idle, Some(until_ms)) => Step::Waits(until_ms),
            (step, _) => step,
        })
    }

    async fn note(&self, found: &Survey, column: &Column, body: EntryBody) -> anyhow::Result<Step> {
        let outcome = write_down(found, column, body, None, &self.world).await?;
        Ok(of(&outcome))
    }

    /// Notes where the column's history begins, as declaring a column does.
    pub(crate) async fn begin(&mut self) -> anyhow::Result<()> {
        let version = self.table.latest().await?;
        let column = self.column(version.view())?;
        let found = Box::pin(survey(&self.table, &version, &column, &[])).await?;
        let generation = &column.bound.generation;
        let head = found.snapshot_extension(generation);
        ensure!(head.is_some(), "a new column has no history");
        if let Some(head) = head {
            let noted = column.store.extend_snapshot(&found.snapshot, head).await?;
            ensure!(noted == Created::New, "somebody else noted it");
        }
        Ok(())
    }

    /// Orders all rows to be computed again.
    pub(crate) async fn order(&mut self) -> anyhow::Result<()> {
        self.restart();
        let version = self.table.latest().await?;
        let column = self.column(version.view())?;
        let found = Box::pin(survey(&self.table, &version, &column, &[])).await?;
        let request = EntryBody::Request(Request {
            selection: Selection {
                take: Take::Recompute,
                ..Selection::in_need()
            },
            rows: found.counts.total,
        });
        let ordered = write_down(&found, &column, request, None, &self.world).await?;
        ensure!(matches!(ordered, PlanOutcome::Dispatched(_)), "a lost race");
        Ok(())
    }
}

/// While a breaker stands, at most one batch that was handed out since is at work.
fn one_probe(found: &Survey, column: &Column) -> anyhow::Result<()> {
    let entries = found.entries();
    let Some((opened, open)) = standing(&entries) else {
        return Ok(());
    };
    let is_probe =
        |work: &&OpenWork| matches!(work.work, Work::Compute(_)) && work.entry.entry.seq > opened;
    let probes = found.open_work.iter().filter(is_probe).count();
    ensure!(
        probes <= 1 || open.generation != column.bound.generation,
        "{probes} probes are at work"
    );
    Ok(())
}

const fn of(outcome: &PlanOutcome) -> Step {
    match outcome {
        PlanOutcome::Dispatched(_) => Step::Planned,
        PlanOutcome::LostRace => Step::LostRace,
        PlanOutcome::Nothing => Step::Idle,
    }
}
