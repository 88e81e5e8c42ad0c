//! Devices of this process, which the hosts of functions that need one share.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OnceCell};

use super::host::Host;
use super::watch::{now, wait};

mod found;
mod sizes;
mod turns;

use found::{Found, PARTS};
use sizes::Sizes;
use turns::{Need, Taken, Turn, Turns};

/// A process that serves many columns gives back the devices of a machine that others use, too.
const LONGEST_REST: Duration = Duration::from_secs(300);
/// How often it is looked whether a host rested for too long.
const LOOK: Duration = Duration::from_secs(15);

/// The GPUs of this process; clones are the same ones. Nothing is looked for before it is asked for.
///
/// They are what `LANCE_BACKFILL_GPUS` says (a number of them, fractions too), else what
/// `CUDA_VISIBLE_DEVICES` shows, else what the machine has.
#[derive(Clone)]
pub struct Devices {
    shared: Arc<Shared>,
}

struct Shared {
    environment: BTreeMap<String, String>,
    sizes: Sizes,
    found: OnceLock<Found>,
    listed: OnceCell<Vec<found::Listed>>,
    turns: OnceLock<Mutex<Turns<Host>>>,
    /// Something is free, or rests, or no longer waits.
    changed: Notify,
    functions: AtomicU64,
    /// Whether a task looks for hosts that rested for too long.
    looked_after: AtomicBool,
}

impl Shared {
    fn found(&self) -> &Found {
        self.found.get_or_init(|| Found::of(&self.environment))
    }

    fn parts(&self) -> Vec<u32> {
        let devices = self.found().devices.iter();
        devices.map(|device| device.parts).collect()
    }

    fn turns(&self) -> MutexGuard<'_, Turns<Host>> {
        let turns = self
            .turns
            .get_or_init(|| Mutex::new(Turns::new(self.parts())));
        turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Devices {
    /// Those of a process with this environment; what fits into them is remembered in a cache folder.
    pub fn new(environment: BTreeMap<String, String>, cache: &Path) -> Self {
        Self {
            shared: Arc::new(Shared {
                environment,
                sizes: Sizes::new(cache),
                found: OnceLock::new(),
                listed: OnceCell::new(),
                turns: OnceLock::new(),
                changed: Notify::new(),
                functions: AtomicU64::new(0),
                looked_after: AtomicBool::new(false),
            }),
        }
    }

    /// Why no host that needs so many can run here, in a few words; nothing where one can.
    pub fn lacks(&self, gpus: f64) -> Option<String> {
        if gpus <= 0.0 {
            return None;
        }
        let found = self.shared.found();
        let fits = Need::of(gpus).hosts(self.shared.parts()) > 0;
        let wanted = match gpus {
            gpus if gpus > 1.0 => format!("{gpus} GPUs"),
            gpus if gpus < 1.0 => format!("{gpus} of a GPU"),
            _ => "a GPU".to_owned(),
        };
        (!fits).then(|| format!("it asks for {wanted}, and {}", found.why))
    }

    /// Hosts that fit side by side, and one where none does.
    pub fn hosts(&self, gpus: f64) -> usize {
        Need::of(gpus).hosts(self.shared.parts()).max(1)
    }

    /// A place for a function that has no host yet.
    pub(super) fn of_function(&self, gpus: f64) -> Seat {
        Seat {
            shared: Arc::clone(&self.shared),
            function: self.shared.functions.fetch_add(1, Ordering::Relaxed),
            need: Need::of(gpus),
        }
    }

    /// Most weight of a call that was found to fit.
    pub(super) fn fitting(&self, key: &str) -> Option<u64> {
        self.shared.sizes.get(key)
    }

    /// Takes note of the same, for this process and the next ones.
    pub(super) fn note_fitting(&self, key: &str, weight: u64) {
        self.shared.sizes.note(key, weight);
    }
}

/// The place of one function among those that use devices.
pub(super) struct Seat {
    shared: Arc<Shared>,
    function: u64,
    need: Need,
}

/// What a call gets.
pub(super) enum Next {
    /// A host that rested.
    Warm(Box<Host>),
    /// Room for a new one.
    Room(Share),
}

impl Seat {
    /// Waits for a host that rests, or for room for another one; ends hosts of other functions where
    /// it is this one's turn.
    pub(super) async fn next(&self) -> Next {
        let line = InLine::new(self);
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            // Before it is looked: what changes in between is not missed.
            changed.as_mut().enable();
            let turn = self.shared.turns().ask(line.ticket, now());
            match turn {
                Turn::Warm(host) => return Next::Warm(Box::new(host)),
                Turn::Room(places) => {
                    let taken = Taken {
                        places,
                        parts: self.need.parts,
                        load: Duration::ZERO,
                    };
                    return Next::Room(Share {
                        shared: self.shared.clone(),
                        taken,
                    });
                }
                Turn::End(hosts) => {
                    for host in hosts {
                        tracing::info!(
                            function = host.described.name,
                            "a host leaves its device to another function"
                        );
                        // Its memory on the device is free when it is gone, not when it is killed.
                        drop(host.end().await);
                    }
                }
                Turn::Wait(None) => changed.await,
                Turn::Wait(Some(until)) => tokio::select! {
                    () = changed => {}
                    () = wait(until.saturating_duration_since(now())) => {}
                },
            }
        }
    }

    /// A call of a host is over.
    pub(super) fn rest(&self, host: Host) {
        let Some(taken) = host.share.as_ref().map(|share| share.taken.clone()) else {
            return;
        };
        (self.shared.turns()).rest(self.function, taken, host, now());
        self.shared.changed.notify_waiters();
        if !self.shared.found().reserved && !self.shared.looked_after.swap(true, Ordering::AcqRel) {
            tokio::spawn(look_after(Arc::downgrade(&self.shared)));
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let gone = self.shared.turns().remove(self.function);
        drop(gone);
    }
}

/// Somebody in line, who leaves it however the wait ends.
struct InLine<'a> {
    shared: &'a Shared,
    ticket: u64,
}

impl<'a> InLine<'a> {
    fn new(seat: &'a Seat) -> Self {
        let ticket = (seat.shared.turns()).wait(seat.function, seat.need, now());
        Self {
            shared: &seat.shared,
            ticket,
        }
    }
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        self.shared.turns().leave(self.ticket);
        self.shared.changed.notify_waiters();
    }
}

/// What a host has of devices; it is free again when this is dropped.
pub(super) struct Share {
    shared: Arc<Shared>,
    taken: Taken,
}

impl Share {
    /// How the host finds its devices.
    pub(super) fn variables(&self) -> Vec<(String, String)> {
        let found = self.shared.found();
        let devices = self.taken.places.iter();
        let ids: Vec<&str> = devices
            .filter_map(|place| Some(found.devices.get(*place)?.id.as_str()))
            .collect();
        let mut variables = vec![("CUDA_VISIBLE_DEVICES".to_owned(), ids.join(","))];
        if self.taken.parts < PARTS {
            let share = f64::from(self.taken.parts) / f64::from(PARTS);
            variables.push(("LANCE_BACKFILL_DEVICE_SHARE".to_owned(), share.to_string()));
        }
        variables
    }

    /// What kind of device it is, and how much of it the host has.
    pub(super) async fn model(&self) -> String {
        let listed = self.shared.listed.get_or_init(|| {
            let environment = self.shared.environment.clone();
            async {
                // It waits for a program, and whoever cannot be asked says nothing.
                let asked = tokio::task::spawn_blocking(move || found::ask(&environment));
                asked.await.unwrap_or_default()
            }
        });
        let listed = listed.await;
        let found = self.shared.found();
        let place = self.taken.places.first();
        let id = place.and_then(|place| found.devices.get(*place));
        let model = found::model(id.map_or("", |device| device.id.as_str()), listed);
        format!("{model}/{}", self.taken.parts)
    }

    /// How long the start of its host took.
    pub(super) fn loaded_since(&mut self, since: Instant) {
        self.taken.load = since.elapsed();
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shared.turns().free(&self.taken);
        self.shared.changed.notify_waiters();
    }
}

async fn look_after(shared: Weak<Shared>) {
    loop {
        wait(LOOK).await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        let gone = shared.turns().expired(LONGEST_REST, now());
        if !gone.is_empty() {
            tracing::debug!(hosts = gone.len(), "hosts that had nothing to do are ended");
        }
    }
}
