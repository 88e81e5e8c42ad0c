//! The breaker of a column: what hits whole batches keeps the others from workers that would fail too.
//!
//! A fault of a batch is no row's failure, so its rows stay in need and would be handed out again at
//! once. The planner opens the breaker instead, which is an entry of the ledger; then one batch at a
//! time probes, after longer and longer waits, until one succeeds.

use std::collections::BTreeSet;

use crate::batch::Work;
use crate::checkpoint::CheckpointManifest;
use crate::ids::{BatchId, GenerationId, LedgerSeq};
use crate::ledger::{EntryBody, LedgerEntry, OpenBreaker};

/// First wait before a probe; each further one is twice as long.
///
/// Halved, a provider that restarts is asked in vain more often; doubled, its return is noticed later.
pub const FIRST_WAIT_MS: u64 = 60_000;
/// Longest wait before a probe: so late is an outage noticed to be over.
pub const LONGEST_WAIT_MS: u64 = 3_600_000;

/// What the ledger and the checkpoint manifests of a column tell.
#[derive(Clone, Copy)]
pub struct Evidence<'a> {
    /// Entries in order, with the milliseconds at which the store took them.
    pub entries: &'a [(&'a LedgerEntry, u64)],
    /// The checkpoint manifest of a batch, if it left one.
    pub checkpoint: &'a dyn Fn(&BatchId) -> Option<&'a CheckpointManifest>,
    /// Batches that somebody still works on, or will.
    pub open: &'a BTreeSet<BatchId>,
}

/// What the breaker of a column asks of whoever hands out its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Breaker {
    /// Nothing: rows are handed out.
    Closed,
    /// This is written down before anything else is.
    ToOpen(OpenBreaker),
    /// That it is closed is written down before anything else is.
    ToClose(Closing),
    /// No row is handed out before this moment.
    Open {
        /// Milliseconds since the epoch.
        until_ms: u64,
    },
    /// No row is handed out before the probe that is at work has ended.
    Probing,
    /// One batch is handed out, and no other.
    Probe,
}

/// Why a breaker closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    /// A batch that was handed out after it opened could call the function.
    ProbeSucceeded,
    /// The column is computed with something else now.
    Edited,
}

/// The breaker that stands after the given entries, if one does, and where.
pub fn standing(entries: &[LedgerEntry]) -> Option<(LedgerSeq, &OpenBreaker)> {
    let newest = entries.iter().rev().find(|entry| ends_faults(&entry.body));
    newest.and_then(|entry| match &entry.body {
        EntryBody::Breaker(open) => Some((entry.seq, open)),
        _ => None,
    })
}

/// Pages that must outlive what else is collected, where those of `kept` do: those after a standing
/// breaker, by which it goes, and the newest that disproves a fault before it.
pub fn still_counts<'a>(
    entries: &[LedgerEntry],
    checkpoint: &dyn Fn(&BatchId) -> Option<&'a CheckpointManifest>,
    kept: &BTreeSet<LedgerSeq>,
) -> BTreeSet<LedgerSeq> {
    let mut counts = BTreeSet::new();
    if let Some((opened, open)) = standing(entries) {
        let after = (entries.iter())
            .filter(|entry| entry.seq > opened && is_of(entry, &open.generation))
            .map(|entry| entry.seq);
        counts.extend(after);
    }
    let succeeded = |entry: &&LedgerEntry| {
        let mut batches = entry.work().into_iter();
        batches.any(|(batch, _)| checkpoint(&batch).is_some_and(|done| done.shows_success()))
    };
    let newest = entries.iter().rev().find(succeeded).map(|entry| entry.seq);
    if let Some(newest) = newest
        && kept.range(..newest).next().is_some()
    {
        counts.insert(newest);
    }
    counts
}

/// Whether faults of the entries before it are accounted for.
pub(crate) const fn ends_faults(body: &EntryBody) -> bool {
    matches!(
        body,
        EntryBody::Breaker(_) | EntryBody::BreakerClosed {} | EntryBody::Resume {}
    )
}

/// Decides what the breaker asks for.
///
/// `generation` is the column's; faults of others count no more, and neither does what came of batches
/// that were handed out before the breaker opened, closed, or was ended by a person. `first_wait_ms`
/// is the wait before the first probe.
pub fn decide(
    evidence: Evidence<'_>,
    generation: &GenerationId,
    first_wait_ms: u64,
    now_ms: u64,
) -> Breaker {
    let entries = evidence.entries;
    let newest = (entries.iter()).rposition(|(entry, _)| ends_faults(&entry.body));
    let opened = newest
        .and_then(|at| entries.get(at))
        .and_then(|(entry, created_ms)| match &entry.body {
            EntryBody::Breaker(open) => Some((open, *created_ms)),
            _ => None,
        });
    if opened.is_some_and(|(open, _)| open.generation != *generation) {
        return Breaker::ToClose(Closing::Edited);
    }
    let since = entries.get(newest.map_or(0, |at| at + 1)..);
    let batches = Batches::of(since.unwrap_or_default(), evidence, generation);
    if let Some((_, message)) = batches.fault {
        let (faults, wait_ms) = match opened {
            Some((open, _)) => (
                open.faults.saturating_add(1),
                open.wait_ms.saturating_mul(2),
            ),
            None => (1, first_wait_ms),
        };
        return Breaker::ToOpen(OpenBreaker {
            generation: generation.clone(),
            faults,
            wait_ms: wait_ms.clamp(1, LONGEST_WAIT_MS),
            message: message.to_owned(),
        });
    }
    let Some((open, created_ms)) = opened else {
        return Breaker::Closed;
    };
    let until_ms = created_ms.saturating_add(open.wait_ms);
    if batches.succeeded.is_some() {
        Breaker::ToClose(Closing::ProbeSucceeded)
    } else if batches.any_open {
        Breaker::Probing
    } else if now_ms < until_ms {
        Breaker::Open { until_ms }
    } else {
        Breaker::Probe
    }
}

/// What came of the batches that were handed out since.
#[derive(Default)]
struct Batches<'a> {
    /// Newest page with a fault that no later page disproved, and what went wrong.
    fault: Option<(LedgerSeq, &'a str)>,
    /// Newest page with a success.
    succeeded: Option<LedgerSeq>,
    any_open: bool,
}

impl<'a> Batches<'a> {
    fn of(
        since: &'a [(&'a LedgerEntry, u64)],
        evidence: Evidence<'a>,
        generation: &GenerationId,
    ) -> Self {
        let mut found = Self::default();
        for (entry, _) in since {
            if !is_of(entry, generation) {
                continue;
            }
            for (batch, work) in entry.work() {
                if matches!(work, Work::Fold(_)) {
                    // It calls no function.
                    continue;
                }
                match (evidence.checkpoint)(&batch) {
                    None => found.any_open |= evidence.open.contains(&batch),
                    // An edit may have come between the order and the work.
                    Some(done) if done.generation != *generation => {}
                    Some(done) => match done.fault_of_all() {
                        Some(fault) => found.fault = Some((entry.seq, &fault.message)),
                        None if done.shows_success() => found.succeeded = Some(entry.seq),
                        // Nothing was tried: its inputs changed, or nobody finished it.
                        None => {}
                    },
                }
            }
        }
        // Within a page nobody knows which came first.
        let stands = |fault: &(LedgerSeq, &str)| found.succeeded <= Some(fault.0);
        found.fault = found.fault.filter(stands);
        found
    }
}

/// Whether an entry hands out work of a generation.
fn is_of(entry: &LedgerEntry, generation: &GenerationId) -> bool {
    matches!(&entry.body, EntryBody::Page(page) if page.generation == *generation)
}

#[cfg(test)]
mod tests;
