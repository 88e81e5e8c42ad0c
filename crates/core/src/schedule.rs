//! When to look at which of many watched tables.
//!
//! Times are milliseconds of any clock that never goes back.

use std::collections::BTreeMap;

/// How often and how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cadence {
    /// A table that nobody speaks of is looked at this often: events get lost.
    pub poll_ms: u64,
    /// After the first failure in a row; doubled by each further one.
    pub first_retry_ms: u64,
    /// Longest wait after failures.
    pub most_retry_ms: u64,
    /// Longest rest after a round: a table rests as long as its round took, so a busy writer
    /// gets at most half of the time, and small work never waits noticeably.
    pub most_rest_ms: u64,
    /// Tables looked at side by side.
    pub at_once: usize,
}

impl Cadence {
    /// How long to wait after so many failures in a row.
    pub fn retry_ms(&self, failures: u32) -> u64 {
        let doublings = failures.saturating_sub(1).min(32);
        self.first_retry_ms
            .saturating_mul(1 << doublings)
            .min(self.most_retry_ms)
    }
}

/// How a round on a table ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Nothing can be done before something happens.
    Settled,
    /// There is more to do: writers were faster.
    Unfinished,
    /// The table could not be worked on.
    Failed,
}

/// What became of a table whose round ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Kept {
    /// It is looked at again.
    Watched,
    /// It vanished and came back meanwhile: what is known of it is of another table.
    Reborn,
    /// It vanished meanwhile.
    Gone,
}

/// Whether an event was about a watched table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Noticed {
    /// It is watched.
    Known,
    /// It is not, or not any more.
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    There,
    Vanished,
    Reborn,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Standing {
    /// When the next round is due.
    due_ms: u64,
    /// No event brings the next round forward beyond this.
    rest_until_ms: u64,
    /// Start of the round that runs, if one does.
    running_since_ms: Option<u64>,
    /// Something happened since that round started.
    noticed: bool,
    failures: u32,
    presence: Presence,
}

/// Watched tables, by name, and when each is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    cadence: Cadence,
    tables: BTreeMap<String, Standing>,
    running: usize,
}

impl Schedule {
    /// No tables yet.
    pub fn new(cadence: Cadence) -> Self {
        Self {
            cadence,
            tables: BTreeMap::new(),
            running: 0,
        }
    }

    /// Watched tables, by name.
    pub fn tables(&self) -> impl Iterator<Item = &str> {
        let there = |(name, standing): (_, &Standing)| match standing.presence {
            Presence::There | Presence::Reborn => Some(name),
            Presence::Vanished => None,
        };
        self.tables
            .iter()
            .map(|(name, standing)| (name.as_str(), standing))
            .filter_map(there)
    }

    /// Watches a table from now on; its first round is due at once.
    pub fn add(&mut self, table: &str, now_ms: u64) {
        match self.tables.get_mut(table) {
            Some(standing) => {
                if standing.presence == Presence::Vanished {
                    standing.presence = Presence::Reborn;
                    standing.noticed = true;
                }
            }
            None => {
                let standing = Standing {
                    due_ms: now_ms,
                    rest_until_ms: now_ms,
                    running_since_ms: None,
                    noticed: false,
                    failures: 0,
                    presence: Presence::There,
                };
                self.tables.insert(table.to_owned(), standing);
            }
        }
    }

    /// Stops watching a table; a round on it that runs is not interrupted.
    pub fn remove(&mut self, table: &str) {
        match self.tables.get_mut(table) {
            Some(standing) if standing.running_since_ms.is_some() => {
                standing.presence = Presence::Vanished;
            }
            _ => {
                self.tables.remove(table);
            }
        }
    }

    /// Something happened to a table: its next round is due now, or once it has rested.
    pub fn notice(&mut self, table: &str, now_ms: u64) -> Noticed {
        let Some(standing) = self.tables.get_mut(table) else {
            return Noticed::Unknown;
        };
        if standing.presence == Presence::Vanished {
            return Noticed::Unknown;
        }
        if standing.running_since_ms.is_some() {
            standing.noticed = true;
        } else {
            let earliest = now_ms.max(standing.rest_until_ms);
            standing.due_ms = standing.due_ms.min(earliest);
        }
        Noticed::Known
    }

    /// Something may have happened to any table.
    pub fn notice_all(&mut self, now_ms: u64) {
        let tables: Vec<String> = self.tables.keys().cloned().collect();
        for table in tables {
            let _ = self.notice(&table, now_ms);
        }
    }

    /// The table whose round starts now, if one is due and there is room: the longest overdue.
    pub fn start(&mut self, now_ms: u64) -> Option<String> {
        if self.running >= self.cadence.at_once {
            return None;
        }
        let (name, standing) = self
            .tables
            .iter_mut()
            .filter(|(_, standing)| standing.running_since_ms.is_none())
            .filter(|(_, standing)| standing.due_ms <= now_ms)
            .min_by_key(|(_, standing)| standing.due_ms)?;
        standing.running_since_ms = Some(now_ms);
        standing.noticed = false;
        self.running += 1;
        Some(name.clone())
    }

    /// A round that was started has ended.
    pub fn end(&mut self, table: &str, ended: Ended, now_ms: u64) -> Kept {
        let Some(standing) = self.tables.get_mut(table) else {
            return Kept::Gone;
        };
        let Some(since_ms) = standing.running_since_ms.take() else {
            return Kept::Watched;
        };
        self.running -= 1;
        match standing.presence {
            Presence::There => {}
            Presence::Reborn => {
                standing.presence = Presence::There;
                standing.failures = 0;
                (standing.rest_until_ms, standing.due_ms) = (now_ms, now_ms);
                return Kept::Reborn;
            }
            Presence::Vanished => {
                self.tables.remove(table);
                return Kept::Gone;
            }
        }
        let took_ms = now_ms.saturating_sub(since_ms);
        let rest_ms = took_ms.min(self.cadence.most_rest_ms);
        standing.failures = match ended {
            Ended::Failed => standing.failures.saturating_add(1),
            Ended::Settled | Ended::Unfinished => 0,
        };
        // An event is a reason to try a failing table soon, not at once: its writer may be busy.
        let (rest_ms, wait_ms) = match ended {
            Ended::Settled => (rest_ms, self.cadence.poll_ms),
            Ended::Unfinished => (rest_ms, rest_ms),
            Ended::Failed => (
                rest_ms.max(self.cadence.first_retry_ms),
                self.cadence.retry_ms(standing.failures),
            ),
        };
        standing.rest_until_ms = now_ms.saturating_add(rest_ms);
        standing.due_ms = now_ms.saturating_add(wait_ms);
        if standing.noticed {
            standing.due_ms = standing.due_ms.min(standing.rest_until_ms);
        }
        Kept::Watched
    }

    /// When `start` has something to give, if nothing else happens before; `None` while it is full.
    pub fn next_due_ms(&self) -> Option<u64> {
        if self.running >= self.cadence.at_once {
            return None;
        }
        self.tables
            .values()
            .filter(|standing| standing.running_since_ms.is_none())
            .map(|standing| standing.due_ms)
            .min()
    }
}

#[cfg(test)]
mod tests;
