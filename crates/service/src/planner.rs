//! Planner: looks at a table and hands out what is in need.

use std::collections::BTreeMap;
use std::sync::Arc;

use lance_backfill_core::batch::{BatchMessage, Lane, Work};
use lance_backfill_core::format::Stored;
use lance_backfill_core::ids::{BatchId, LedgerSeq};
use lance_backfill_core::ledger::{EntryBody, LedgerEntry, Page};
use lance_backfill_core::message::{CommitMessage, PlanMessage, Wake};
use lance_backfill_core::route::{Route, Wish, route};
use lance_backfill_core::table::SeenVersion;
use lance_backfill_core::waits::Waits;
use lance_backfill_embedded::Engine;
use lance_backfill_embedded::catalog::Catalog;
use lance_backfill_ports::Result;
use lance_backfill_ports::table::TableVersion;
use lance_backfill_stages::column::Column;
use lance_backfill_stages::column_store::StoredEntry;
use lance_backfill_stages::survey::{OpenWork, Survey};
use lance_backfill_stages::until::Until;

use crate::Service;
use crate::registry::Admission;
use crate::spending::STOPPED;

mod hand_out;
mod outage;

/// Plans of a table that began anew because another planner was faster.
const MOST_RACES: usize = 8;
/// Work that was handed out but perhaps never sent is left to its planner for so long.
const SENDING_MS: u64 = 60_000;
/// The same of work of which nothing is written down, once the message of a plan comes again.
const PASSING_MS: u64 = 2_000;
/// Batches and folds of a page of new rows that need no mark that they were sent.
const MOST_UNMARKED: usize = 4;
/// Entries of a ledger at rest that need not be collected before the schedule does: each collection
/// lists four folders, and each entry is read by every process once.
const MOST_ENTRIES: usize = 8;
/// Looks at a table in one plan: each one but the last wrote an entry into a ledger, or lost its place.
const MOST_LOOKS: usize = 200;

/// What is known of the messages that ask for a plan, beside what they say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asking {
    /// Version of which an event tells: it is looked at, unless somebody looked at a newer one.
    pub seen: Option<SeenVersion>,
    /// Whether one of them came before: who got it then may have handed out what it did not send.
    pub came_before: bool,
}

/// What became of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Planned {
    /// Its columns were looked at.
    Looked {
        /// Version of the table.
        version: u64,
        /// Each column that is kept up to date.
        columns: Vec<ColumnPlan>,
        /// Columns for which there was no time.
        left: usize,
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
    /// How long its rows had waited when it was looked at.
    pub waits: Waits,
    /// When that was, in milliseconds since the epoch.
    pub looked_ms: u64,
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
    /// Whether no work was sent, for whatever reason.
    const fn is_nothing(&self) -> bool {
        self.batches == 0 && self.folds == 0 && self.again == 0
    }

    fn add(&mut self, more: Self) {
        self.batches += more.batches;
        self.rows += more.rows;
        self.folds += more.folds;
        self.again += more.again;
        self.held = more.held;
    }
}

/// What came of handing out a column's work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
enum Handed {
    /// All that can be now.
    Done,
    /// A part: something was written down, and the column is to be surveyed again.
    More,
    /// Another entry took the place in the ledger: the column is to be surveyed again.
    Raced,
}

impl Service {
    /// Looks at a table, and sends its work to the workers.
    pub async fn plan(&self, message: &PlanMessage) -> Result<Planned> {
        let asking = Asking::default();
        self.plan_until(message, &asking, &Until::never()).await
    }

    /// The same within some time: it stops between two columns.
    pub async fn plan_until(
        &self,
        message: &PlanMessage,
        asking: &Asking,
        until: &Until,
    ) -> Result<Planned> {
        let engine = self.tables.engine(&message.table).await?;
        let planned = Box::pin(self.plan_table(&engine, message, asking, until)).await;
        if planned.is_err() {
            self.tables.close(&message.table).await;
        }
        planned
    }

    async fn plan_table(
        &self,
        engine: &Engine,
        message: &PlanMessage,
        asking: &Asking,
        until: &Until,
    ) -> Result<Planned> {
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
        let mut sums: BTreeMap<String, (Sent, Waits)> = BTreeMap::new();
        let mut races = 0;
        let unsent_after_ms = match (asking.came_before, message.hops) {
            (true, _) => Some(PASSING_MS),
            // The plan that this one goes on with may have sent all of it.
            (false, 1..) => Some(SENDING_MS),
            (false, 0) => None,
        };
        // What was told may be why it failed.
        let mut told = asking.seen.as_ref().filter(|_| !asking.came_before);
        'plan: for _ in 0..MOST_LOOKS {
            // An event comes for each version: what is newer than this one has its own look.
            let seen = match told.take() {
                Some(told) => engine.seen(told).await?,
                None => None,
            };
            let is_told = seen.is_some();
            let version = match seen {
                Some(version) => version,
                None => engine.latest().await?,
            };
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
            if is_told && surveyed.iter().any(|(_, survey)| survey.is_behind()) {
                // The event was late: what was done since may be forgotten again.
                continue 'plan;
            }
            let mut left = surveyed.len();
            for (column, survey) in &surveyed {
                if until.is_over() {
                    break;
                }
                // What came before this plan is sent again once, however often it looks.
                let first_look = !sums.contains_key(column.name());
                let why = Some(message.why).filter(|_| first_look);
                let look = Look {
                    table: &message.table,
                    version: version.as_ref(),
                    why,
                    unsent_after_ms,
                };
                let planned = self.plan_column(engine, column, survey, &look);
                let (sent, handed) = planned.await?;
                let idle = sent.is_nothing();
                let sum = sums.entry(column.name().to_owned()).or_default();
                sum.0.add(sent);
                if let Some(why) = why {
                    // As it was before anything was handed out.
                    sum.1 = waits(engine, &version, (column, survey), why, idle).await?;
                }
                match handed {
                    Handed::Done => {}
                    Handed::More => continue 'plan,
                    Handed::Raced if races == MOST_RACES => return Ok(Planned::Outrun),
                    Handed::Raced => {
                        races += 1;
                        continue 'plan;
                    }
                }
                left -= 1;
            }
            let columns = sums.into_iter();
            let looked_ms = engine.now_ms();
            let columns = columns.map(|(column, (sent, waits))| ColumnPlan {
                column,
                sent,
                waits,
                looked_ms,
            });
            let columns = columns.collect();
            self.registry.add(&message.table).await?;
            let version = version.view().version;
            if left == 0 {
                self.tables.note_planned(&message.table, version);
            }
            return Ok(Planned::Looked {
                version,
                columns,
                left,
            });
        }
        Ok(Planned::Outrun)
    }

    async fn plan_column(
        &self,
        engine: &Engine,
        column: &Column,
        survey: &Survey,
        look: &Look<'_>,
    ) -> Result<(Sent, Handed)> {
        let Look { table, why, .. } = *look;
        let has_work = survey.rows_to_hand_out() > 0
            || !survey.requests.is_empty()
            || !survey.open_work.is_empty();
        let definition = &column.bound.definition;
        let classes = self.queues.classes.keys().map(String::as_str);
        let (route, mut refusal) = match route(&Wish::of(definition), classes) {
            Ok(route) => (route, None),
            Err(why) => (Route::Workers, Some(format!("the service {why}"))),
        };
        if has_work && refusal.is_none() {
            refusal = engine.refusal(definition).await?;
        }
        let mut planning = Planning {
            service: self,
            engine,
            column,
            survey,
            table,
            seen: look.version.where_seen(),
            route,
            refusal,
            sent: Sent::default(),
            bulk: false,
        };
        let is_at_rest = survey.unsettled.is_empty() && survey.open_work.is_empty();
        let is_stopped = !is_at_rest && self.spending.is_stopped().await?;
        if is_stopped {
            planning.sent.held = Some(STOPPED.to_owned());
        } else if let Some(why) = why {
            planning.send_again(why, look.unsent_after_ms).await?;
        }
        let reconciles = why.is_some_and(Wake::reconciles);
        if reconciles && survey.has_finished() {
            // Who was to publish it never came.
            let finished = CommitMessage {
                version: CommitMessage::VERSION,
                table: table.to_owned(),
                binding: column.bound.binding.clone(),
                batch: None,
                checkpoint: None,
                entry: None,
            };
            let reason = format!("scheduled at {}", engine.now_ms());
            self.queues.send_commit(&finished, &reason).await?;
        }
        let handed = match planning.judge().await? {
            Handed::Done if is_stopped => Handed::Done,
            Handed::Done => planning.hand_out().await?,
            handed => handed,
        };
        let Planning { sent, bulk, .. } = planning;
        // Afterwards: it is what tells new fragments from those that were there before. Without a note,
        // all that a large backfill has not begun yet would seem new until some of it is settled.
        let head = &survey.snapshot.snapshot.head;
        let is_news = bulk && head.max_fragment < survey.max_fragment;
        if handed == Handed::Done && (is_news || !survey.newly_settled.is_empty()) {
            engine.note_settled(column, survey).await?;
        }
        let rests = handed == Handed::Done && sent.is_nothing() && survey.open_work.is_empty();
        let many = survey.ledger.len() > MOST_ENTRIES;
        if rests && (many || (reconciles && survey.ledger.len() > 1)) {
            engine.collect(column, survey).await?;
        }
        Ok((sent, handed))
    }
}

/// How long rows have waited; the schedule asks exactly, others as far as the survey tells.
async fn waits(
    engine: &Engine,
    version: &Arc<dyn TableVersion>,
    (column, survey): (&Column, &Survey),
    why: Wake,
    idle: bool,
) -> Result<Waits> {
    let mut waits = survey.waits(version.view(), column.bound.definition.auto);
    if why != Wake::Scheduled {
        return Ok(waits);
    }
    let now_ms = engine.now_ms();
    let has_breaker = (survey.standing_breaker(&column.bound.generation)).is_some();
    if idle
        && (waits.stands_still() || (waits.rows_left > 0 && has_breaker))
        && let Some(oldest_s) = engine.oldest_need_s(version, column, survey).await?
    {
        waits.left_since_ms = now_ms.saturating_sub(oldest_s.saturating_mul(1_000));
    }
    // What is finished in a table that a person has paused waits for the end of the pause.
    if waits.stalled(now_ms) > 0 && engine.paused_for_ms().await?.is_some() {
        waits.finished_ms.clear();
    }
    Ok(waits)
}

/// One look at a column.
struct Look<'a> {
    table: &'a str,
    version: &'a dyn TableVersion,
    /// Why, if it is the first of this plan.
    why: Option<Wake>,
    /// Age at which work of which nothing is written down counts as unsent, if it can be.
    unsent_after_ms: Option<u64>,
}

/// One column at one version.
struct Planning<'a> {
    service: &'a Service,
    engine: &'a Engine,
    column: &'a Column,
    survey: &'a Survey,
    table: &'a str,
    /// Where the version is that was surveyed.
    seen: Option<SeenVersion>,
    /// Who does its batches; folds any worker does.
    route: Route<'a>,
    /// Why this service does not run its function, if it does not.
    refusal: Option<String>,
    sent: Sent,
    /// Whether rows in need went through the bulk lane.
    bulk: bool,
}

impl Planning<'_> {
    /// Sends what a planner handed out and did not live to send; and, by the schedule, what is overdue.
    async fn send_again(&mut self, why: Wake, unsent_after_ms: Option<u64>) -> Result<()> {
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
            let is_marked = is_marked(&entry.entry);
            let unsent =
                !is_marked && is_queued && unsent_after_ms.is_some_and(|after| age_ms > after);
            if is_marked
                && is_queued
                && !given_up
                && age_ms > SENDING_MS
                && !asked.contains_key(&seq)
            {
                let was_sent = self.column.store.was_sent(&entry.entry).await?;
                asked.insert(seq, (!was_sent).then(|| entry.clone()));
            }
            let lost = matches!(asked.get(&seq), Some(Some(_)));
            if (lost || overdue || given_up || unsent)
                && let Some(message) = self.message(&entry.entry, batch, work, None)
            {
                messages.push(message);
            }
        }
        self.sent.again = messages.len();
        if !messages.is_empty() {
            let queues = &self.service.queues;
            queues.send_batches(messages, self.route).await?;
        }
        for unsent in asked.into_values().flatten() {
            self.column.store.note_sent(&unsent.entry).await?;
        }
        Ok(())
    }

    fn message(
        &self,
        entry: &LedgerEntry,
        batch: &BatchId,
        work: &Work,
        seen: Option<&SeenVersion>,
    ) -> Option<BatchMessage> {
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
            seen: seen.cloned(),
            entry: Some(entry.clone()).filter(|_| works(page) <= MOST_UNMARKED),
        })
    }
}

const fn works(page: &Page) -> usize {
    page.batches.len() + page.folds.len()
}

/// Whether it is written down that the work of an entry was sent.
///
/// Of a few new batches it is not: if their planner did not live to send them, its own message comes
/// again, and the plan that follows sends what it finds open. Twice in the queues, they would be done
/// twice at most if both are taken at once; large pages wait longer, and would cost more.
fn is_marked(entry: &LedgerEntry) -> bool {
    match &entry.body {
        EntryBody::Page(page) => {
            page.lane != Lane::Fresh || page.job.is_some() || works(page) > MOST_UNMARKED
        }
        _ => true,
    }
}
