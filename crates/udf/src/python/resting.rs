//! Warm hosts between calls: those of all functions of this process, of which each may hold a model.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::host::Host;
use super::watch::{now, wait};

/// A process that serves many columns gives back the memory of those that nothing is appended to.
const LONGEST_REST: Duration = Duration::from_secs(300);
/// How often it is looked whether a host rested for too long.
const LOOK: Duration = Duration::from_secs(15);
/// More at rest, of several functions, and the one that rests longest goes.
const MOST_PER_CORE: usize = 4;

/// Hosts at rest; clones are the same ones.
#[derive(Clone)]
pub struct Resting {
    shared: Arc<Shared>,
}

struct Shared {
    shelf: Mutex<Shelf<Host>>,
    /// Whether hosts at rest may stay while another function starts its own.
    several: bool,
    functions: AtomicU64,
    /// Whether a task looks for hosts that rested for too long.
    looked_after: AtomicBool,
}

impl Shared {
    fn shelf(&self) -> MutexGuard<'_, Shelf<Host>> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The hosts of one function among those at rest.
pub(super) struct Own {
    shared: Arc<Shared>,
    function: u64,
}

impl Resting {
    /// Room for the hosts of so many cores.
    pub fn new(cores: usize) -> Self {
        Self::of(cores.max(1).saturating_mul(MOST_PER_CORE), true)
    }

    /// The same, of one function at a time: its hosts may take all the memory that there is for hosts.
    pub fn of_one_function() -> Self {
        Self::of(usize::MAX, false)
    }

    fn of(most: usize, several: bool) -> Self {
        Self {
            shared: Arc::new(Shared {
                shelf: Mutex::new(Shelf::new(most)),
                several,
                functions: AtomicU64::new(0),
                looked_after: AtomicBool::new(false),
            }),
        }
    }

    /// A function that has none yet.
    pub(super) fn of_function(&self) -> Own {
        Own {
            shared: Arc::clone(&self.shared),
            function: self.shared.functions.fetch_add(1, Ordering::Relaxed),
        }
    }
}

impl Own {
    /// The host that rested shortest.
    pub(super) fn take(&self) -> Option<Host> {
        self.shared.shelf().take(self.function)
    }

    /// A new host is about to start.
    pub(super) fn make_room(&self) {
        if !self.shared.several {
            let gone = self.shared.shelf().remove_others(self.function);
            drop(gone);
        }
    }

    pub(super) fn count(&self) -> usize {
        self.shared.shelf().count(self.function)
    }

    pub(super) fn put(&self, host: Host) {
        let gone = self.shared.shelf().put(self.function, now(), host);
        drop(gone);
        if !self.shared.looked_after.swap(true, Ordering::AcqRel) {
            tokio::spawn(look_after(Arc::downgrade(&self.shared)));
        }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let gone = self.shared.shelf().remove(self.function);
        drop(gone);
    }
}

async fn look_after(shared: Weak<Shared>) {
    loop {
        wait(LOOK).await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        let gone = shared.shelf().expired(now());
        if !gone.is_empty() {
            tracing::debug!(hosts = gone.len(), "hosts that had nothing to do are ended");
        }
    }
}

/// What rests, longest first.
struct Shelf<T> {
    most: usize,
    rests: Vec<Rest<T>>,
}

struct Rest<T> {
    function: u64,
    since: Instant,
    host: T,
}

impl<T> Shelf<T> {
    const fn new(most: usize) -> Self {
        Self {
            most,
            rests: vec![],
        }
    }

    fn take(&mut self, function: u64) -> Option<T> {
        let place = self
            .rests
            .iter()
            .rposition(|rest| rest.function == function)?;
        Some(self.rests.remove(place).host)
    }

    fn count(&self, function: u64) -> usize {
        let own = self.rests.iter().filter(|rest| rest.function == function);
        own.count()
    }

    /// Returns what must go for it; never a host of the same function, which needs as many as it has.
    fn put(&mut self, function: u64, since: Instant, host: T) -> Option<T> {
        self.rests.push(Rest {
            function,
            since,
            host,
        });
        if self.rests.len() <= self.most {
            return None;
        }
        let longest = self
            .rests
            .iter()
            .position(|rest| rest.function != function)?;
        Some(self.rests.remove(longest).host)
    }

    fn expired(&mut self, now: Instant) -> Vec<T> {
        self.extract(|rest| now.saturating_duration_since(rest.since) >= LONGEST_REST)
    }

    fn remove(&mut self, function: u64) -> Vec<T> {
        self.extract(|rest| rest.function == function)
    }

    fn remove_others(&mut self, function: u64) -> Vec<T> {
        self.extract(|rest| rest.function != function)
    }

    fn extract(&mut self, goes: impl Fn(&Rest<T>) -> bool) -> Vec<T> {
        let gone = self.rests.extract_if(.., |rest| goes(rest));
        gone.map(|rest| rest.host).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_function_gets_its_own_hosts_back_the_warmest_first() {
        let mut shelf = Shelf::new(8);
        let at = now();
        for (function, host) in [(1, "a"), (2, "b"), (1, "c")] {
            assert_eq!(shelf.put(function, at, host), None);
        }
        assert_eq!((shelf.count(1), shelf.count(2), shelf.count(3)), (2, 1, 0));
        assert_eq!(shelf.take(1), Some("c"));
        assert_eq!(shelf.take(1), Some("a"));
        assert_eq!(shelf.take(1), None);
        assert_eq!(shelf.remove(2), ["b"]);
        assert_eq!(shelf.count(2), 0);
        for (function, host) in [(1, "d"), (2, "e"), (3, "f")] {
            assert_eq!(shelf.put(function, at, host), None);
        }
        assert_eq!(shelf.remove_others(2), ["d", "f"]);
        assert_eq!(shelf.take(2), Some("e"));
    }

    #[test]
    fn a_full_shelf_gives_up_the_one_that_rests_longest_but_never_one_of_the_same_function() {
        let mut shelf = Shelf::new(2);
        let at = now();
        assert_eq!(shelf.put(1, at, "a"), None);
        assert_eq!(shelf.put(1, at, "b"), None);
        assert_eq!(shelf.put(1, at, "c"), None, "its own are left");
        assert_eq!(shelf.put(2, at, "d"), Some("a"));
        assert_eq!(shelf.put(1, at, "e"), Some("d"));
    }

    #[test]
    fn what_rested_for_too_long_goes() {
        let mut shelf = Shelf::new(8);
        let at = now();
        shelf.put(1, at, "old");
        shelf.put(1, at + LONGEST_REST / 2, "new");
        assert!(shelf.expired(at + LONGEST_REST / 2).is_empty());
        assert_eq!(shelf.expired(at + LONGEST_REST), ["old"]);
        assert_eq!(shelf.take(1), Some("new"));
    }
}
