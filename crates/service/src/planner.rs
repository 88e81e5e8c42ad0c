//! Planner: looks at a table and hands out what is in need.

use std::collections::BTreeMap;
use std::sync::Arc;

use lance_backfill_core::batch::{BatchMessage, Lane, Work};
use lance_backfill_core::format::Stored;
use lance_backfill_core::ids::{BatchId, FragmentId, JobId, LedgerSeq};
use lance_backfill_core::job::JobOutcome;
use lance_backfill_core::ledger::{
    Allowance, EntryBody, HoldReason, LedgerEntry, allowance, approved_left, standing_hold,
};
use lance_backfill_core::message::{CommitMessage, PlanMessage, Wake};
use lance_backfill_core::plan::Limits;
use lance_backfill_embedded::Engine;
use lance_backfill_embedded::catalog::Catalog;
use lance_backfill_ports::Result;
use lance_backfill_stages::column::Column;
use lance_backfill_stages::column_store::StoredEntry;
use lance_backfill_stages::plan::{Order, PlanOutcome};
use lance_backfill_stages::survey::{OpenWork, Survey};

use crate::Service;
use crate::registry::Admission;
use crate::spending::STOPPED;

/// Plans of a table that began anew because another planner was faster.
const MOST_RACES: usize = 8;
/// Work that was handed out but perhaps never sent is left to its planner for so long.
const SENDING_MS: u64 = 60_000;
/// Entries of a ledger at rest that need not be collected before the schedule does: each collection
/// lists four folders, and each entry is read by every process once.
const MOST_ENTRIES: usize = 8;
/// Rows in flight, in seconds of work: beyond it deadlines, cancelling and new rows would wait too long.
const WINDOW_S: f64 = 600.0;
/// Rows, in seconds of work, that go through the fresh lane: more would keep later ones waiting there.
const FRESH_S: f64 = 60.0;

/// What became of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Planned {
    /// Its columns were looked at.
    Looked {
        /// Version of the table.
        version: u64,
        /// Each column that is kept up to date.
        columns: Vec<ColumnPlan>,
    },
    /// There is nothing for a planner in it.
    Ignored {
        /// One line for a person.
        reason: String,
    },
    /// Other planners were faster again and again: they do what is to be done.
    Outrun,
}

/// What was sent of a column's work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnPlan {
    /// Name.
    pub column: String,
    /// Its work.
    pub sent: Sent,
}

/// Messages that a plan sent, and why it sent no more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sent {
    /// Batches.
    pub batches: usize,
    /// Rows in them.
    pub rows: u64,
    /// Folds.
    pub folds: usize,
    /// Batches and folds that were handed out before, and sent again.
    pub again: usize,
    /// Why rows in need were left.
    pub held: Option<String>,
}

impl Sent {
    fn add(&mut self, more: Self) {
        self.batches += more.batches;
        self.rows += more.rows;
        self.folds += more.folds;
        self.again += more.again;
        self.held = more.held;
    }
}

/// Another entry is in the ledger: the column is to be surveyed again.
struct Raced;

impl Service {
    /// Looks at a table, and sends its work to the workers.
    pub async fn plan(&self, message: &PlanMessage) -> Result<Planned> {
        let engine = self.tables.engine(&message.table).await?;
        let planned = Box::pin(self.plan_table(&engine, message)).await;
        if planned.is_err() {
            self.tables.close(&message.table).await;
        }
        planned
    }

    async fn plan_table(&self, engine: &Engine, message: &PlanMessage) -> Result<Planned> {
        if let Some(reason) = engine.copy_note() {
            return Ok(Planned::Ignored { reason });
        }
        if self.registry.admission(&message.table).await? == Admission::Removed {
            let reason =
                "it was taken out: 'lance-backfill tables add' takes it in again".to_owned();
            return Ok(Planned::Ignored { reason });
        }
        engine.settle().await?;
        // A person may ask for rows of a column that is not kept up to date by itself.
        let paused_too = message.why >= Wake::Requested;
        let mut sums: BTreeMap<String, Sent> = BTreeMap::new();
        'plan: for _ in 0..MOST_RACES {
            let version = engine.latest().await?;
            let catalog = Catalog::read(version.view())?;
            let surveyed = engine
                .survey(&version, &catalog, &|bound| {
                    bound.definition.auto || paused_too
                })
                .await?;
            if surveyed.is_empty() {
                let reason = "it has no computed column that is kept up to date".to_owned();
                return Ok(Planned::Ignored { reason });
            }
            for (column, survey) in &surveyed {
                let (sent, done) = self.plan_column(engine, column, survey, message).await?;
                sums.entry(column.name().to_owned()).or_default().add(sent);
                if done.is_err() {
                    continue 'plan;
                }
            }
            let columns = sums.into_iter();
            let columns = columns.map(|(column, sent)| ColumnPlan { column, sent });
            let columns = columns.collect();
            self.registry.add(&message.table).await?;
            let version = version.view().version;
            self.tables.note_planned(&message.table, version);
            return Ok(Planned::Looked { version, columns });
        }
        Ok(Planned::Outrun)
    }

    async fn plan_column(
        &self,
        engine: &Engine,
        column: &Column,
        survey: &Survey,
        message: &PlanMessage,
    ) -> Result<(Sent, std::result::Result<(), Raced>)> {
        let has_work = survey.rows_to_hand_out() > 0
            || !survey.requests.is_empty()
            || !survey.open_work.is_empty();
        let refusal = match has_work {
            true => engine.refusal(&column.bound.definition).await?,
            false => None,
        };
        let mut planning = Planning {
            service: self,
            engine,
            column,
            survey,
            table: &message.table,
            refusal,
            sent: Sent::default(),
        };
        let is_at_rest = survey.unsettled.is_empty() && survey.open_work.is_empty();
        let is_stopped = !is_at_rest && self.spending.is_stopped().await?;
        if is_stopped {
            planning.sent.held = Some(STOPPED.to_owned());
        } else {
            planning.send_again(message.why).await?;
        }
        if message.why.reconciles() && survey.has_finished() {
            // Who was to publish it never came.
            let finished = CommitMessage {
                version: CommitMessage::VERSION,
                table: message.table.clone(),
                binding: column.bound.binding.clone(),
                batch: None,
                checkpoint: None,
            };
            let reason = format!("scheduled at {}", engine.now_ms());
            self.queues.send_commit(&finished, &reason).await?;
        }
        for request in survey.finished_requests() {
            let end = request.end(&column.bound.binding, JobOutcome::Done);
            column.store.end_job(end).await?;
        }
        let done = match is_stopped {
            true => Ok(()),
            false => planning.hand_out().await?,
        };
        let sent = planning.sent;
        // Afterwards: it is what tells new fragments from those that were there before.
        if done.is_ok() && !survey.newly_settled.is_empty() {
            engine.note_settled(column, survey).await?;
        }
        let rests = done.is_ok() && sent == Sent::default() && survey.open_work.is_empty();
        let many = survey.ledger.len() > MOST_ENTRIES;
        if rests && (many || (message.why.reconciles() && survey.ledger.len() > 1)) {
            engine.collect(column, survey).await?;
        }
        Ok((sent, done))
    }
}

/// One column at one version.
struct Planning<'a> {
    service: &'a Service,
    engine: &'a Engine,
    column: &'a Column,
    survey: &'a Survey,
    table: &'a str,
    /// Why this service does not run its function, if it does not.
    refusal: Option<String>,
    sent: Sent,
}

impl Planning<'_> {
    /// Sends what a planner handed out and did not live to send; and, by the schedule, what is overdue.
    async fn send_again(&mut self, why: Wake) -> Result<()> {
        let now_ms = self.engine.now_ms();
        // Entries that were asked about: those that nobody sent.
        let mut asked: BTreeMap<LedgerSeq, Option<Arc<StoredEntry>>> = BTreeMap::new();
        let mut messages = vec![];
        for OpenWork { batch, work, entry } in &self.survey.open_work {
            // A fold calls no function.
            if self.refusal.is_some() && matches!(work, Work::Compute(_)) {
                continue;
            }
            let deadline_s = match work {
                Work::Compute(spec) => spec.deadline_s,
                Work::Fold(spec) => spec.deadline_s,
            };
            let age_ms = now_ms.saturating_sub(entry.created_ms);
            let overdue = why.reconciles() && age_ms > deadline_s.saturating_mul(1_000);
            let seq = entry.entry.seq;
            // Embedded processes do their work themselves, as long as they live.
            let is_queued = entry.entry.session.is_none();
            // In a pause workers acknowledge what they do not do.
            let given_up = is_queued && why == Wake::Resumed;
            if is_queued && !given_up && age_ms > SENDING_MS && !asked.contains_key(&seq) {
                let was_sent = self.column.store.was_sent(&entry.entry).await?;
                asked.insert(seq, (!was_sent).then(|| entry.clone()));
            }
            let lost = matches!(asked.get(&seq), Some(Some(_)));
            if (lost || overdue || given_up)
                && let Some(message) = self.message(&entry.entry, batch, work)
            {
                messages.push(message);
            }
        }
        self.sent.again = messages.len();
        if !messages.is_empty() {
            self.service.queues.send_batches(messages).await?;
        }
        for unsent in asked.into_values().flatten() {
            self.column.store.note_sent(&unsent.entry).await?;
        }
        Ok(())
    }

    /// Hands out one page for each job, and one of the rows in need.
    async fn hand_out(&mut self) -> Result<std::result::Result<(), Raced>> {
        let entries = self.survey.entries();
        let approved = approved_left(&entries);
        let mut limits = self.limits();
        if let Some(refusal) = &self.refusal {
            // What is finished becomes visible. Once the reason is gone, the next plan goes on.
            self.sent.held = Some(refusal.clone());
            limits.most_rows = 0;
            limits.fold_now = true;
            return self.page(None, Lane::Fresh, approved, &limits).await;
        }
        let hold = standing_hold(&entries).map(|(reason, text)| (reason, text.to_owned()));
        if let Some((reason, text)) = &hold {
            self.sent.held = Some(text.clone());
            if *reason == HoldReason::Budget {
                // What is finished becomes visible; nothing else happens until somebody resumes it.
                limits.most_rows = 0;
                limits.fold_now = true;
                return self.page(None, Lane::Fresh, approved, &limits).await;
            }
        }
        // One page a plan: the next survey tells what it left.
        for request in &self.survey.requests {
            let job = Some(&request.job);
            let before = self.sent.rows;
            if let Err(raced) = self.page(job, Lane::Bulk, approved, &limits).await? {
                return Ok(Err(raced));
            }
            if self.sent.rows > before {
                return Ok(Ok(()));
            }
        }
        if hold.is_some() || !self.column.bound.definition.auto {
            limits.most_rows = 0;
            return self.page(None, Lane::Fresh, approved, &limits).await;
        }
        let in_need = self.survey.rows_to_hand_out();
        let most = self.column.bound.definition.approval_limit();
        let approved = match allowance(in_need, most, approved) {
            Allowance::Free => 0,
            Allowance::Approved(rows) => {
                limits.most_rows = limits.most_rows.min(rows);
                rows
            }
            Allowance::Hold => {
                let most = most.unwrap_or_default();
                let message =
                    format!("{in_need} rows are in need, and more than {most} wait for approval");
                self.sent.held = Some(message.clone());
                let reason = HoldReason::Approval;
                let body = EntryBody::Hold { reason, message };
                let noted = self.engine.note(self.column, self.survey, body).await?;
                return Ok(match noted {
                    PlanOutcome::LostRace => Err(Raced),
                    PlanOutcome::Dispatched(_) | PlanOutcome::Nothing => Ok(()),
                });
            }
        };
        let fresh = whole(self.rows_in(FRESH_S, &limits));
        if in_need <= fresh {
            return self.page(None, Lane::Fresh, approved, &limits).await;
        }
        let known = self.survey.snapshot.snapshot.head.max_fragment;
        let new = known.map_or(0, |known| self.rows_after(known));
        if new == 0 || new > fresh {
            return self.page(None, Lane::Bulk, approved, &limits).await;
        }
        let before_others = Limits {
            after: known,
            ..limits
        };
        let before = self.sent.batches;
        if let Err(raced) = self
            .page(None, Lane::Fresh, approved, &before_others)
            .await?
        {
            return Ok(Err(raced));
        }
        if self.sent.batches > before {
            // The others follow, as the next survey finds them.
            return Ok(Err(Raced));
        }
        self.page(None, Lane::Bulk, approved, &limits).await
    }

    /// Hands out one page, and sends it.
    async fn page(
        &mut self,
        job: Option<&JobId>,
        lane: Lane,
        approved: u64,
        limits: &Limits,
    ) -> Result<std::result::Result<(), Raced>> {
        let order = Order {
            job,
            lane,
            session: None,
            approved,
        };
        let outcome = self
            .engine
            .hand_out(self.column, self.survey, limits, order)
            .await?;
        let entry = match outcome {
            PlanOutcome::Dispatched(entry) => entry,
            PlanOutcome::Nothing => return Ok(Ok(())),
            PlanOutcome::LostRace => return Ok(Err(Raced)),
        };
        let mut messages = vec![];
        for (batch, work) in entry.work() {
            match &work {
                Work::Compute(spec) => {
                    self.sent.batches += 1;
                    self.sent.rows += spec.rows();
                }
                Work::Fold(_) => self.sent.folds += 1,
            }
            messages.extend(self.message(&entry, &batch, &work));
        }
        self.service.queues.send_batches(messages).await?;
        self.column.store.note_sent(&entry).await?;
        Ok(Ok(()))
    }

    fn message(&self, entry: &LedgerEntry, batch: &BatchId, work: &Work) -> Option<BatchMessage> {
        let EntryBody::Page(page) = &entry.body else {
            return None;
        };
        Some(BatchMessage {
            version: BatchMessage::VERSION,
            batch: batch.clone(),
            table: self.table.to_owned(),
            binding: entry.binding.clone(),
            generation: page.generation.clone(),
            job: page.job.clone(),
            lane: page.lane,
            work: Some(work.clone()),
        })
    }

    /// What bounds the next page: in flight is no more than the window.
    fn limits(&self) -> Limits {
        let limits = Limits {
            workers: self.service.options.batches_at_once,
            ..self.engine.limits(self.column, self.survey)
        };
        let open: u64 = (self.survey.unsettled.values())
            .map(|unsettled| unsettled.open.len())
            .sum();
        Limits {
            most_rows: whole(self.rows_in(WINDOW_S, &limits)).saturating_sub(open),
            ..limits
        }
    }

    /// Rows that can be handed out of fragments after this one.
    fn rows_after(&self, known: FragmentId) -> u64 {
        let needs = self.survey.needs(None, self.engine.now_ms());
        let new = needs.iter().filter(|need| need.fragment > known);
        new.map(|need| need.ready.len()).sum()
    }

    /// Rows that all workers together do in so many seconds.
    fn rows_in(&self, seconds: f64, limits: &Limits) -> f64 {
        limits.rows_per_s * seconds * f64::from(limits.workers.max(1))
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rows are not negative, and a cast of more than fits gives the most that does"
)]
const fn whole(rows: f64) -> u64 {
    rows as u64
}
