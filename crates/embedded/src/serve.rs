//! Serve: keeps tables converged until it is told to stop.
//!
//! Events and polls only say where to look; the engine decides what is to be done. One task owns
//! the schedule and hands each table that is due to a thread of its own, so a table that fails, hangs
//! or even panics stops no other.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use lance_backfill_core::schedule::{Cadence, Ended, Kept, Noticed, Schedule};
use lance_backfill_ports::Result;
use lance_backfill_stages::execute::Workers;
use tokio::runtime::Handle;
use tokio::sync;
use tokio::task::JoinSet;

use crate::engine::EngineOptions;

mod clock;
mod keeper;
mod place;
mod report;
mod watch;

pub use report::{Happening, Observer, Served, ServedColumn, ServedTable};

use clock::Clock;
use keeper::Keeper;
use place::Place;
use report::Tally;
use watch::{Notice, Watcher};

/// First wait after a failure: a fault that passes by itself passes soon.
const FIRST_RETRY_MS: u64 = 1_000;
/// Longest wait after failures; a person who repaired a table waits no longer than this.
const MOST_RETRY_MS: u64 = 60_000;
/// Longest rest after a round, see `Cadence`: rows that come in meanwhile wait this much longer, and
/// those of several appends are taken together.
const MOST_REST_MS: u64 = 100;
/// Tables with a round at once. Rounds mostly wait for the disk; what they compute with is bounded
/// by the workers that all tables share. Halved, many tables that wait for another process
/// hold up the rest; doubled, more manifests are in memory at once.
const ROUNDS_AT_ONCE: usize = 64;
/// Between two scans of one place after events: a folder that fills is looked at in steps.
const SCAN_REST_MS: u64 = 20;
/// Time for rounds to end by themselves when we are told to stop.
const LAST_ROUNDS: Duration = Duration::from_secs(1);

/// What to serve, and how.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// Tables, or folders of tables.
    pub paths: Vec<String>,
    /// For each table; the workers are shared by all.
    pub engine: EngineOptions,
    /// How often a table is looked at without an event.
    pub poll: Duration,
}

/// Serves until `stop` is done.
///
/// `Invalid` if a path does not exist; everything that happens later is told to `observer`
/// and tried again.
pub async fn serve(
    options: &ServeOptions,
    observer: Arc<dyn Observer>,
    stop: impl Future<Output = ()>,
) -> Result<Served> {
    let mut server = Box::pin(Server::start(options, observer)).await?;
    tokio::pin!(stop);
    loop {
        server.start_rounds();
        let wake_ms = server.wake_ms();
        tokio::select! {
            () = &mut stop => break,
            notice = server.watcher.next() => server.notice(notice),
            Some(ended) = server.rounds.join_next() => server.end_round(ended.ok()),
            () = server.clock.sleep_until(wake_ms) => {}
        }
        server.scan_places().await;
    }
    Box::pin(server.finish()).await
}

/// A round on a table and how it ended.
struct Round {
    keeper: Keeper,
    ended: Ended,
}

struct Server {
    options: ServeOptions,
    observer: Arc<dyn Observer>,
    clock: Clock,
    workers: Workers,
    schedule: Schedule,
    watcher: Watcher,
    places: Vec<Watched>,
    /// Tables at rest; those with a round are in its thread.
    resting: BTreeMap<String, Keeper>,
    rounds: JoinSet<Round>,
    /// Told to rounds that have had their time.
    stop: sync::watch::Sender<bool>,
    tallies: BTreeMap<String, Arc<Mutex<Tally>>>,
}

/// A place and what was last found there.
struct Watched {
    place: Place,
    tables: BTreeSet<String>,
    next_scan_ms: u64,
    /// No scan before this, whatever happens.
    rest_until_ms: u64,
    fault: Option<String>,
}

impl Server {
    async fn start(options: &ServeOptions, observer: Arc<dyn Observer>) -> Result<Self> {
        let poll_ms = u64::try_from(options.poll.as_millis()).unwrap_or(u64::MAX);
        let cadence = Cadence {
            poll_ms,
            first_retry_ms: FIRST_RETRY_MS,
            most_retry_ms: MOST_RETRY_MS,
            most_rest_ms: MOST_REST_MS,
            at_once: ROUNDS_AT_ONCE,
        };
        let (watcher, without_events) = Watcher::start();
        if let Some(cause) = without_events {
            observer.happened(&Happening::NoEvents { cause: &cause });
        }
        let mut places = vec![];
        for path in &options.paths {
            places.push(Watched {
                place: Place::reach(path, &options.engine.open).await?,
                tables: BTreeSet::new(),
                next_scan_ms: 0,
                rest_until_ms: 0,
                fault: None,
            });
        }
        let mut server = Self {
            options: options.clone(),
            observer,
            clock: Clock::start(),
            workers: Workers::new(options.engine.workers),
            schedule: Schedule::new(cadence),
            watcher,
            places,
            resting: BTreeMap::new(),
            rounds: JoinSet::new(),
            stop: sync::watch::Sender::new(false),
            tallies: BTreeMap::new(),
        };
        server.scan_places().await;
        server.observer.happened(&Happening::Started {
            tables: server.schedule.tables().count(),
        });
        Ok(server)
    }

    /// When something is to be done though nothing happens.
    fn wake_ms(&self) -> u64 {
        let scan_ms = self.places.iter().map(|watched| watched.next_scan_ms).min();
        let round_ms = self.schedule.next_due_ms();
        scan_ms
            .into_iter()
            .chain(round_ms)
            .min()
            .unwrap_or(u64::MAX)
    }

    fn notice(&mut self, notice: Notice) {
        let now_ms = self.clock.now_ms();
        match notice {
            Notice::Version { table, place } => match self.schedule.notice(&table, now_ms) {
                Noticed::Known => {}
                Noticed::Unknown => self.scan_soon(place, now_ms),
            },
            Notice::Place(place) => self.scan_soon(place, now_ms),
            Notice::Anything => {
                self.schedule.notice_all(now_ms);
                (0..self.places.len()).for_each(|place| self.scan_soon(place, now_ms));
            }
        }
    }

    fn scan_soon(&mut self, place: usize, now_ms: u64) {
        if let Some(watched) = self.places.get_mut(place) {
            watched.next_scan_ms = watched.rest_until_ms.max(now_ms);
        }
    }

    /// Looks which tables there are, at the places that are due.
    async fn scan_places(&mut self) {
        let mut changed = false;
        for index in 0..self.places.len() {
            let Some(watched) = self.places.get_mut(index) else {
                continue;
            };
            if watched.next_scan_ms > self.clock.now_ms() {
                continue;
            }
            let found = watched.place.tables(index, &mut self.watcher).await;
            let now_ms = self.clock.now_ms();
            watched.rest_until_ms = now_ms + SCAN_REST_MS;
            watched.next_scan_ms = now_ms.saturating_add(watched.place.scan_ms(self.options.poll));
            match found {
                Ok(tables) => {
                    watched.fault = None;
                    changed |= tables != watched.tables;
                    watched.tables = tables;
                }
                // What is known stays: it may be a passing fault of the store.
                Err(error) => {
                    let cause = error.one_line();
                    if watched.fault.as_ref() != Some(&cause) {
                        self.observer.happened(&Happening::Trouble {
                            table: watched.place.name(),
                            column: None,
                            cause: &cause,
                        });
                    }
                    watched.fault = Some(cause);
                }
            }
        }
        if changed {
            self.follow_places();
        }
    }

    /// Watches the tables that are at some place, and no others.
    fn follow_places(&mut self) {
        let there: BTreeSet<&String> = self
            .places
            .iter()
            .flat_map(|watched| &watched.tables)
            .collect();
        let known: BTreeSet<String> = self.schedule.tables().map(str::to_owned).collect();
        for gone in known.iter().filter(|table| !there.contains(table)) {
            self.schedule.remove(gone);
            self.resting.remove(gone);
            self.tallies.remove(gone);
            self.observer.happened(&Happening::Gone { table: gone });
        }
        let now_ms = self.clock.now_ms();
        for table in there {
            if !known.contains(table) {
                self.schedule.add(table, now_ms);
                self.tallies.entry(table.clone()).or_default();
                self.observer.happened(&Happening::Found { table });
            }
        }
    }

    fn start_rounds(&mut self) {
        while let Some(table) = self.schedule.start(self.clock.now_ms()) {
            let keeper = self.resting.remove(&table);
            let mut keeper = keeper.unwrap_or_else(|| {
                Keeper::new(
                    &table,
                    self.options.engine.clone(),
                    self.workers.clone(),
                    self.tallies.entry(table.clone()).or_default().clone(),
                )
            });
            let (clock, observer) = (self.clock, self.observer.clone());
            let mut stop = self.stop.subscribe();
            let runtime = Handle::current();
            // A thread of its own: surveying a large table computes, and others must not wait for it.
            self.rounds.spawn_blocking(move || {
                let round = async {
                    tokio::select! {
                        ended = keeper.round(clock, observer.as_ref()) => ended,
                        _ = stop.changed() => Ended::Unfinished,
                    }
                };
                // A bug that one table brings out must not take the others down.
                let ended = runtime.block_on(AssertUnwindSafe(round).catch_unwind());
                let ended = ended.unwrap_or_else(|_| {
                    keeper.give_up("a bug of lance-backfill: see the log", &*observer)
                });
                Round { keeper, ended }
            });
        }
    }

    fn end_round(&mut self, round: Option<Round>) {
        let Some(Round { keeper, ended }) = round else {
            return;
        };
        let table = keeper.table().to_owned();
        match self.schedule.end(&table, ended, self.clock.now_ms()) {
            Kept::Watched => {
                self.resting.insert(table, keeper);
            }
            // What is known of it is of another table.
            Kept::Reborn | Kept::Gone => {}
        }
    }

    /// Lets rounds end that are about to, drops the others: the next session takes them over.
    async fn finish(mut self) -> Result<Served> {
        let deadline_ms = self.clock.now_ms() + u64::try_from(LAST_ROUNDS.as_millis()).unwrap_or(0);
        loop {
            tokio::select! {
                ended = self.rounds.join_next() => match ended {
                    Some(ended) => self.end_round(ended.ok()),
                    None => break,
                },
                () = self.clock.sleep_until(deadline_ms) => break,
            }
        }
        // Whoever still works is dropped at its next wait.
        self.stop.send_replace(true);
        let tables = self
            .tallies
            .iter()
            .map(|(table, tally)| {
                let tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
                tally.served(table)
            })
            .collect();
        Ok(Served {
            file_events: self.watcher.has_events(),
            seconds: Duration::from_millis(self.clock.now_ms()).as_secs_f64(),
            tables,
        })
    }
}
