//! Converge: plan, execute and commit until a column needs nothing more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use lance_backfill_core::batch::{Lane, Work};
use lance_backfill_core::checkpoint::{CheckpointManifest, Fault, FaultKind};
use lance_backfill_core::coverage::Outcome;
use lance_backfill_core::definition::OnError;
use lance_backfill_core::ids::{BatchId, FragmentId, LedgerSeq};
use lance_backfill_core::ledger::{HoldReason, standing_hold};
use lance_backfill_core::plan::Limits;
use lance_backfill_ports::table::TableVersion;
use lance_backfill_ports::{Error, ErrorKind, Result};
use lance_backfill_stages::column::Column;
use lance_backfill_stages::commit::commit;
use lance_backfill_stages::execute::{execute, measured_rate};
use lance_backfill_stages::plan::{PlanOutcome, dispatch};
use lance_backfill_stages::reconcile::collect;
use lance_backfill_stages::survey::{OpenWork, Survey};

use crate::catalog::Catalog;
use crate::engine::Engine;
use crate::session::Liveness;

/// Rows per second assumed of a SQL expression until it was measured: low, so that first batches are short.
const SQL_ROWS_PER_S: f64 = 1_000_000.0;
/// Time that one batch should take.
const BATCH_TARGET_S: f64 = 30.0;
/// Time until anybody may take a batch over: many times its target.
const BATCH_DEADLINE_S: u64 = 600;
/// At least this long between two commits in bulk: each rewrites the table's manifest.
const COMMIT_INTERVAL: Duration = Duration::from_secs(2);
/// Commits take at most a fiftieth of the time.
const COMMIT_SHARE: u32 = 50;
/// How often an open batch of another live session is looked at.
const WAIT_FOR_OTHERS: Duration = Duration::from_millis(200);
/// Age at which objects that no ledger entry names are collected: above any batch's deadline.
const COLLECT_GRACE_MS: u64 = 3_600_000;
/// Rounds without progress before we say so instead of trying on.
const MOST_FRUITLESS_ROUNDS: usize = 50;

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
}

/// Why a column was left before it was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stopped {
    /// More rows failed than the policy allows.
    Budget(String),
    /// It is held until a resume or an approval.
    Held(HoldReason, String),
    /// The function cannot be called.
    Fault(String),
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
        column: &str,
        progress: &dyn Progress,
    ) -> Result<Converged> {
        if let Some(moved) = self.settle().await? {
            progress.note(&moved);
        }
        let mut run = Run {
            engine: self,
            own: BTreeMap::new(),
            converged: Converged::default(),
            last_commit: None,
            total: 0,
            failed: 0,
            computed: 0,
        };
        let mut fruitless = 0;
        loop {
            let version = self.latest().await?;
            let (column, survey) = run.survey(&version, catalog, column).await?;
            let step = Box::pin(run.step(&version, &column, &survey, progress)).await?;
            if matches!(step, Step::Done | Step::Stop(_)) {
                run.count_published_by_others(&version, &column).await?;
            }
            match step {
                Step::Progress => fruitless = 0,
                Step::Again => fruitless += 1,
                Step::Done => {
                    collect(&column, &survey, self.world.now_ms(), COLLECT_GRACE_MS).await?;
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
}

impl Engine {
    /// What bounds the next page of a column.
    pub(crate) fn limits(&self, survey: &Survey) -> Limits {
        let measured = measured_rate(survey.checkpoints.values().map(AsRef::as_ref));
        let workers = u32::try_from(self.options.workers).unwrap_or(u32::MAX);
        Limits {
            rows_per_s: measured.unwrap_or(SQL_ROWS_PER_S),
            measured: measured.is_some(),
            target_s: BATCH_TARGET_S,
            workers,
            most_rows_per_batch: self.options.most_rows_per_batch.unwrap_or(u64::MAX),
            most_batches: 256,
            most_slices: 256,
            deadline_s: BATCH_DEADLINE_S,
            most_rows: u64::MAX,
        }
    }
}

enum Step {
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
struct OwnWork {
    /// Fragments that it computed rows of.
    fragments: BTreeSet<FragmentId>,
    /// Values and NULLs computed.
    computed: u64,
    /// Of those, published by this call.
    published: u64,
}

struct Run<'a> {
    engine: &'a Engine,
    /// Ledger entries whose work this call did, and what became of it.
    own: BTreeMap<LedgerSeq, OwnWork>,
    converged: Converged,
    /// When the last commit ended, and how long it took.
    last_commit: Option<(u64, u64)>,
    total: u64,
    failed: u64,
    computed: u64,
}

impl Run<'_> {
    async fn survey(
        &self,
        version: &Arc<dyn TableVersion>,
        catalog: &Catalog,
        column: &str,
    ) -> Result<(Column, Survey)> {
        let surveyed = self
            .engine
            .survey(version, catalog, &|bound| bound.output.name == column)
            .await?;
        surveyed
            .into_iter()
            .find(|(found, _)| found.name() == column)
            .ok_or_else(|| {
                Error::invalid(format!("column '{column}' vanished while it was worked on"))
            })
    }

    async fn step(
        &mut self,
        version: &Arc<dyn TableVersion>,
        column: &Column,
        survey: &Survey,
        progress: &dyn Progress,
    ) -> Result<Step> {
        if let Some(extension) = survey.snapshot_extension(&column.bound.generation) {
            column
                .store
                .extend_snapshot(&survey.snapshot, extension)
                .await?;
        }
        if survey.has_finished() {
            return self.commit(version, column, survey).await;
        }
        let entries: Vec<_> = survey
            .ledger
            .iter()
            .map(|stored| stored.entry.clone())
            .collect();
        if let Some((reason, message)) = standing_hold(&entries) {
            return Ok(Step::Stop(Stopped::Held(reason, message.to_owned())));
        }
        if let Some(stopped) = self.over_budget(column) {
            return Ok(Step::Stop(stopped));
        }
        let (mine, others) = self.sort_open(survey)?;
        if !mine.is_empty() {
            return self.work(column, mine, progress).await;
        }
        let session = self.engine.session()?;
        let limits = self.engine.limits(survey);
        match dispatch(
            survey,
            column,
            &limits,
            Lane::Bulk,
            Some(&session.id),
            self.engine.world.as_ref(),
        )
        .await?
        {
            PlanOutcome::Dispatched(entry) => {
                let rows: u64 = survey.needs().iter().map(|need| need.ready.len()).sum();
                self.total = self.total.max(self.computed + self.failed + rows);
                self.own.entry(entry.seq).or_default();
                self.work(column, entry.work(), progress).await
            }
            PlanOutcome::LostRace => Ok(Step::Again),
            PlanOutcome::Nothing if others > 0 => {
                progress.note(&format!(
                    "column '{}': waiting for {others} batches of another process",
                    column.name()
                ));
                wait(WAIT_FOR_OTHERS).await;
                Ok(Step::Progress)
            }
            PlanOutcome::Nothing => Ok(Step::Done),
        }
    }

    /// Open batches that this process may do, and how many belong to others that live.
    fn sort_open(&self, survey: &Survey) -> Result<(Vec<(BatchId, Work)>, usize)> {
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
                mine.push((batch.clone(), work.clone()));
            } else {
                others += 1;
            }
        }
        Ok((mine, others))
    }

    /// Does batches side by side; publishes in between when enough time went by.
    async fn work(
        &mut self,
        column: &Column,
        work: Vec<(BatchId, Work)>,
        progress: &dyn Progress,
    ) -> Result<Step> {
        let engine = self.engine;
        let started_ms = engine.world.now_ms();
        for (batch, _) in &work {
            self.own.entry(batch.seq).or_default();
        }
        let mut running: FuturesUnordered<_> = work
            .iter()
            .map(|(batch, work)| {
                execute(
                    engine.table.as_ref(),
                    column,
                    batch,
                    None,
                    work,
                    &engine.workers,
                    engine.world.as_ref(),
                )
                .boxed()
            })
            .collect();
        let mut stop = None;
        while let Some(done) = running.next().await {
            let manifest = done?;
            self.count(&manifest);
            progress.rows(column.name(), self.computed + self.failed, self.total);
            stop = stop.or_else(|| manifest.fault.as_ref().map(stopped_by));
            stop = stop.or_else(|| self.over_budget(column));
            if stop.is_some() {
                // What is finished counts; the rest of the page stays open and is ours to redo.
                break;
            }
            if !running.is_empty() && self.commit_is_due(started_ms) {
                self.publish(column).await?;
            }
        }
        drop(running);
        match stop {
            Some(stopped) => {
                self.publish(column).await?;
                Ok(Step::Stop(stopped))
            }
            None => Ok(Step::Progress),
        }
    }

    fn count(&mut self, manifest: &CheckpointManifest) {
        self.converged.batches += 1;
        self.converged.bytes_written += manifest.bytes_written;
        if manifest.calls > 0 {
            self.computed += manifest.rows_computed();
            self.failed += manifest.rows_failed();
            let own = self.own.entry(manifest.batch.seq).or_default();
            own.computed += manifest.rows_computed();
            own.fragments
                .extend(manifest.slices.iter().map(|slice| slice.fragment));
        }
    }

    /// Adds rows that this call computed and another process published: any process may commit.
    async fn count_published_by_others(
        &mut self,
        version: &Arc<dyn TableVersion>,
        column: &Column,
    ) -> Result<()> {
        let missing = |own: &&mut OwnWork| own.computed > own.published;
        let wanted: BTreeSet<FragmentId> = (self.own.values_mut())
            .filter(missing)
            .flat_map(|own| own.fragments.iter().copied())
            .collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let keys: Vec<_> = (version.view().fragments.iter())
            .filter(|fragment| wanted.contains(&fragment.id))
            .map(|fragment| {
                let (identities, place) = column.identify(fragment);
                (fragment.id, identities, place)
            })
            .collect();
        let records = column.store.records(&keys).await?;
        for (seq, own) in &mut self.own {
            let published: u64 = (own.fragments.iter())
                .filter_map(|fragment| records.get(fragment))
                .flat_map(|record| &record.runs)
                .filter(|run| run.ledger == *seq)
                .filter(|run| matches!(run.outcome, Outcome::Value | Outcome::Null))
                .map(|run| run.rows.len())
                .sum();
            let more = published.min(own.computed).saturating_sub(own.published);
            own.published += more;
            self.converged.rows_assigned += more;
        }
        Ok(())
    }

    /// Whether this call's failed rows exceed the column's policy.
    fn over_budget(&self, column: &Column) -> Option<Stopped> {
        let policy = &column.bound.definition.error_policy;
        let all = self.failed + self.computed;
        if let Some(most) = policy.max_failed_rows.filter(|most| self.failed > *most) {
            return Some(Stopped::Budget(format!(
                "{} rows failed, {most} are tolerated",
                self.failed
            )));
        }
        if policy.on_error == OnError::Fail && self.failed > 0 {
            return Some(Stopped::Budget(format!(
                "{} rows failed, none is tolerated",
                self.failed
            )));
        }
        let most = policy.max_failed_fraction?;
        (all >= 100 && self.failed as f64 > most * all as f64).then(|| {
            Stopped::Budget(format!(
                "{} of {all} rows failed, a share of {most} is tolerated",
                self.failed
            ))
        })
    }

    fn commit_is_due(&self, started_ms: u64) -> bool {
        let (since_ms, took_ms) = self.last_commit.unwrap_or((started_ms, 0));
        let interval = COMMIT_INTERVAL
            .as_millis()
            .max(u128::from(took_ms) * u128::from(COMMIT_SHARE));
        u128::from(self.engine.world.now_ms().saturating_sub(since_ms)) >= interval
    }

    /// Publishes what is finished now, on the newest version.
    async fn publish(&mut self, column: &Column) -> Result<()> {
        for _ in 0..MOST_FRUITLESS_ROUNDS {
            let version = self.engine.latest().await?;
            let catalog = Catalog::read(version.view())?;
            let (column, survey) = self.survey(&version, &catalog, column.name()).await?;
            if !survey.has_finished() {
                return Ok(());
            }
            // A commit that was not disturbed may have left folds or conflicts to a later one.
            if let Step::Progress = self.commit(&version, &column, &survey).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn commit(
        &mut self,
        version: &Arc<dyn TableVersion>,
        column: &Column,
        survey: &Survey,
    ) -> Result<Step> {
        let started_ms = self.engine.world.now_ms();
        let report = commit(version, column, survey).await?;
        let now_ms = self.engine.world.now_ms();
        self.last_commit = Some((now_ms, now_ms.saturating_sub(started_ms)));
        for (seq, rows) in &report.assigned {
            if let Some(own) = self.own.get_mut(seq) {
                own.published += rows;
                self.converged.rows_assigned += rows;
            }
        }
        if report.published_version.is_some() {
            self.converged.published_version = report.published_version;
        }
        if let Some(reason) = &report.conflict {
            tracing::debug!(
                column = column.name(),
                reason,
                "a commit met another writer"
            );
            return Ok(Step::Again);
        }
        let did = report.files + report.records > 0;
        Ok(if did { Step::Progress } else { Step::Again })
    }
}

fn stopped_by(fault: &Fault) -> Stopped {
    match fault.kind {
        FaultKind::Budget => Stopped::Budget(fault.message.clone()),
        FaultKind::Function | FaultKind::Environment | FaultKind::Schema | FaultKind::Storage => {
            Stopped::Fault(fault.message.clone())
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the embedded driver is the one place that waits"
)]
async fn wait(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// Rows by generation, for a report.
pub fn generations(survey: &Survey) -> BTreeMap<String, u64> {
    survey
        .generations
        .iter()
        .map(|(generation, rows)| (generation.to_string(), *rows))
        .collect()
}
