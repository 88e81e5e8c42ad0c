//! One table as it is served: its open engine, and what is known of it since the last look.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lance_backfill_core::definition::{BoundColumn, Definition};
use lance_backfill_core::ids::JobId;
use lance_backfill_core::ledger::HoldReason;
use lance_backfill_core::schedule::Ended;
use lance_backfill_ports::Result;
use lance_backfill_stages::execute::Workers;

use super::clock::Clock;
use super::report::{Happening, Observer, Tally};
use crate::catalog::Catalog;
use crate::converge::{Attention, Converged, Progress, Stopped, Task};
use crate::engine::{Engine, EngineOptions};
use crate::pause::paused_line;

/// A settled table is looked at this often all the same: a job whose process died makes no version.
const LOOK_ANYWAY_MS: u64 = 300_000;
/// Passes over all columns in one round: writers may never rest, and other tables wait.
const MOST_PASSES: usize = 8;
/// A column that somebody holds or paused is asked again at the next look at its table.
const ASK_AGAIN_MS: u64 = 1_000;
/// First wait of a column that cannot be computed, doubled by each further failure.
const FIRST_RETRY_MS: u64 = 5_000;
/// Longest wait of a column that cannot be computed: each attempt may cost calls.
const MOST_RETRY_MS: u64 = 600_000;

/// A table that is served.
pub(super) struct Keeper {
    table: String,
    options: EngineOptions,
    workers: Workers,
    engine: Option<Engine>,
    /// Newest version that was seen.
    seen: u64,
    /// When all columns were looked at last.
    looked_ms: u64,
    /// Version at which nothing was left to do but what is in trouble.
    settled: Option<u64>,
    fault: Option<String>,
    troubles: BTreeMap<String, Trouble>,
    /// Jobs that cannot be done any more, of which that was said.
    told: BTreeSet<(String, JobId)>,
    tally: Arc<Mutex<Tally>>,
}

/// Why a column is left alone for a while.
struct Trouble {
    cause: String,
    /// Any edit is a reason to try at once.
    definition: Definition,
    failures: u32,
    retry_ms: u64,
}

impl Keeper {
    pub(super) fn new(
        table: &str,
        options: EngineOptions,
        workers: Workers,
        tally: Arc<Mutex<Tally>>,
    ) -> Self {
        Self {
            table: table.to_owned(),
            options,
            workers,
            engine: None,
            seen: 0,
            looked_ms: 0,
            settled: None,
            fault: None,
            troubles: BTreeMap::new(),
            told: BTreeSet::new(),
            tally,
        }
    }

    pub(super) fn table(&self) -> &str {
        &self.table
    }

    /// Brings every column of the table up to date that can be; costs one look if nothing changed.
    pub(super) async fn round(&mut self, clock: Clock, observer: &dyn Observer) -> Ended {
        match Box::pin(self.converge(clock, observer)).await {
            Ok(ended) => {
                if self.fault.take().is_some() {
                    self.tally().trouble = None;
                    observer.happened(&Happening::Recovered {
                        table: &self.table,
                        column: None,
                    });
                }
                ended
            }
            Err(error) => self.give_up(&error.one_line(), observer),
        }
    }

    /// The table cannot be worked on now.
    pub(super) fn give_up(&mut self, cause: &str, observer: &dyn Observer) -> Ended {
        // A fresh start: what is remembered may be what is wrong.
        self.engine = None;
        self.settled = None;
        if self.fault.as_deref() != Some(cause) {
            observer.happened(&Happening::Trouble {
                table: &self.table,
                column: None,
                cause,
            });
        }
        self.fault = Some(cause.to_owned());
        self.tally().trouble = self.fault.clone();
        Ended::Failed
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn open(&self) -> Result<Engine> {
        Engine::open_beside(&self.table, self.options.clone(), self.workers.clone()).await
    }

    async fn converge(&mut self, clock: Clock, observer: &dyn Observer) -> Result<Ended> {
        let mut engine = match self.engine.take() {
            Some(engine) => engine,
            None => self.open().await?,
        };
        let mut version = engine.latest().await?.view().version;
        if version < self.seen {
            // Another table has taken its place: nothing that is remembered holds for it.
            engine = self.open().await?;
            version = engine.latest().await?.view().version;
            self.settled = None;
            self.troubles.clear();
        }
        self.seen = version;
        self.tally().version = Some(version);
        let ended = self.passes(&engine, version, clock, observer).await;
        if let Ok(Ended::Settled) = ended {
            engine.slim();
            if self.troubles.is_empty() {
                engine.rest();
            }
        }
        self.engine = Some(engine);
        ended
    }

    async fn passes(
        &mut self,
        engine: &Engine,
        version: u64,
        clock: Clock,
        observer: &dyn Observer,
    ) -> Result<Ended> {
        let now_ms = clock.now_ms();
        let retry = |trouble: &Trouble| trouble.retry_ms <= now_ms;
        let looked = now_ms.saturating_sub(self.looked_ms) < LOOK_ANYWAY_MS;
        if self.settled == Some(version) && looked && !self.troubles.values().any(retry) {
            return Ok(Ended::Settled);
        }
        self.settled = None;
        self.looked_ms = now_ms;
        self.tally().rounds += 1;
        // Columns that were found settled, and at which version.
        let mut settled: BTreeMap<String, u64> = BTreeMap::new();
        for _ in 0..MOST_PASSES {
            let latest = engine.latest().await?;
            let columns = unattended(&Catalog::read(latest.view())?);
            self.forget_troubles_of_others(&columns);
            for column in &columns {
                if let Some(version) = self
                    .converge_column(engine, column, &settled, clock, observer)
                    .await?
                {
                    settled.insert(column.clone(), version);
                }
            }
            let latest = engine.latest().await?;
            let version = latest.view().version;
            self.seen = version;
            self.tally().version = Some(version);
            // A column may have been declared meanwhile, even by a commit that we went past.
            let columns = unattended(&Catalog::read(latest.view())?);
            let done = |column: &String| {
                settled.get(column) == Some(&version) || self.troubles.contains_key(column)
            };
            if columns.iter().all(done) {
                self.settled = Some(version);
                return Ok(Ended::Settled);
            }
        }
        Ok(Ended::Unfinished)
    }

    /// Brings one column up to date; the version at which it is known to be.
    async fn converge_column(
        &mut self,
        engine: &Engine,
        column: &str,
        settled: &BTreeMap<String, u64>,
        clock: Clock,
        observer: &dyn Observer,
    ) -> Result<Option<u64>> {
        let latest = engine.latest().await?;
        let version = latest.view().version;
        if settled.get(column) == Some(&version) {
            return Ok(Some(version));
        }
        let catalog = Catalog::read(latest.view())?;
        let Some(bound) = (catalog.acting()).find(|bound| bound.is_named(column)) else {
            return Ok(None);
        };
        let waits = |trouble: &Trouble| {
            trouble.retry_ms > clock.now_ms() && trouble.definition == bound.definition
        };
        if self.troubles.get(column).is_some_and(waits) {
            return Ok(None);
        }
        let started_ms = clock.now_ms();
        let task = Task {
            column,
            job: None,
            attention: Attention::Unattended,
        };
        let converged = match engine.converge(&catalog, task, &Silent).await {
            Ok(converged) => converged,
            Err(error) => {
                self.trouble(bound, &error.one_line(), Wait::Longer, clock, observer);
                return Ok(None);
            }
        };
        let took_ms = clock.now_ms().saturating_sub(started_ms);
        self.count(column, &converged);
        for broken in &converged.broken {
            if self.told.insert((column.to_owned(), broken.job.clone())) {
                observer.happened(&Happening::BrokenJob {
                    table: &self.table,
                    column,
                    cause: &broken.to_string(),
                });
            }
        }
        if let Some(to_version) = converged.published_version {
            observer.happened(&Happening::Converged {
                table: &self.table,
                column,
                rows: converged.rows_assigned,
                from_version: version,
                to_version,
                seconds: took_ms as f64 / 1_000.0,
            });
        }
        if let Some(stopped) = &converged.stopped {
            let (cause, wait) = describe(stopped);
            self.trouble(bound, &cause, wait, clock, observer);
            return Ok(None);
        }
        if self.troubles.remove(column).is_some() {
            self.tally().column(column).trouble = None;
            observer.happened(&Happening::Recovered {
                table: &self.table,
                column: Some(column),
            });
        }
        // Settled at the newest version only if nobody but us made it.
        let newest = engine.latest().await?.view().version;
        let ours = newest == version || converged.published_version == Some(newest);
        Ok(ours.then_some(newest))
    }

    fn count(&self, column: &str, converged: &Converged) {
        let mut tally = self.tally();
        let sum = tally.column(column);
        sum.rows_assigned += converged.rows_assigned;
        sum.batches += converged.batches;
        sum.bytes_written += converged.bytes_written;
        sum.published_version = converged.published_version.or(sum.published_version);
    }

    fn trouble(
        &mut self,
        bound: &BoundColumn,
        cause: &str,
        wait: Wait,
        clock: Clock,
        observer: &dyn Observer,
    ) {
        let column = &bound.name;
        let before = self.troubles.get(column);
        let failures = before.map_or(1, |trouble| trouble.failures.saturating_add(1));
        let wait_ms = match wait {
            Wait::ForSomebody => ASK_AGAIN_MS,
            Wait::Longer => FIRST_RETRY_MS
                .saturating_mul(1 << failures.saturating_sub(1).min(32))
                .min(MOST_RETRY_MS),
        };
        // A pause is told with the time that is left, which is no news.
        let told = before.is_some_and(|trouble| same_cause(&trouble.cause, cause));
        if !told {
            observer.happened(&Happening::Trouble {
                table: &self.table,
                column: Some(column),
                cause,
            });
        }
        self.tally().column(column).trouble = Some(cause.to_owned());
        let trouble = Trouble {
            cause: cause.to_owned(),
            definition: bound.definition.clone(),
            failures,
            retry_ms: clock.now_ms().saturating_add(wait_ms),
        };
        self.troubles.insert(column.clone(), trouble);
    }

    /// A column that was dropped, detached or paused is nobody's trouble.
    fn forget_troubles_of_others(&mut self, columns: &[String]) {
        let gone: Vec<String> = self
            .troubles
            .keys()
            .filter(|column| !columns.contains(column))
            .cloned()
            .collect();
        for column in gone {
            self.troubles.remove(&column);
            self.tally().column(&column).trouble = None;
        }
    }
}

/// How long a column in trouble is left alone.
#[derive(Debug, Clone, Copy)]
enum Wait {
    /// Asking costs next to nothing, and a person ends it.
    ForSomebody,
    /// Longer each time.
    Longer,
}

fn describe(stopped: &Stopped) -> (String, Wait) {
    match stopped {
        Stopped::Budget(message) => (format!("error budget exceeded: {message}"), Wait::Longer),
        Stopped::Held(HoldReason::Budget, message) => (
            format!("held, too many rows failed: {message}; see 'failures', then 'column resume'"),
            Wait::ForSomebody,
        ),
        Stopped::Held(HoldReason::Approval, message) => (
            format!("held: {message}; 'approve' or 'refresh' ends that"),
            Wait::ForSomebody,
        ),
        Stopped::Fault(fault) => (
            format!("the function cannot be called: {}", fault.message),
            Wait::Longer,
        ),
        // When it is tried again is no news either.
        Stopped::Breaker(standing) => (
            format!(
                "the breaker is open: {}; 'column resume' ends the wait",
                standing.open.message
            ),
            Wait::ForSomebody,
        ),
        Stopped::Paused(for_ms) => (paused_line(*for_ms), Wait::ForSomebody),
    }
}

/// Whether two causes differ in numbers only: the count of a failure is no news either.
fn same_cause(left: &str, right: &str) -> bool {
    let words = |text: &str| -> String {
        text.chars()
            .filter(|letter| !letter.is_ascii_digit())
            .collect()
    };
    words(left) == words(right)
}

/// Columns that are kept up to date, dependencies first.
fn unattended(catalog: &Catalog) -> Vec<String> {
    catalog
        .acting()
        .filter(|bound| bound.definition.auto)
        .map(|bound| bound.name.clone())
        .collect()
}

/// Nobody watches the rows of a column one by one.
struct Silent;

impl Progress for Silent {
    fn rows(&self, _column: &str, _done: u64, _total: u64) {}

    fn note(&self, line: &str) {
        tracing::debug!("{line}");
    }
}
