//! What the breaker of a surveyed column asks for.

use std::collections::BTreeSet;

use lance_backfill_core::batch::{Lane, Work};
use lance_backfill_core::breaker::{Breaker, Evidence, FIRST_WAIT_MS, decide};
use lance_backfill_core::checkpoint::CheckpointManifest;
use lance_backfill_core::ids::{BatchId, GenerationId};
use lance_backfill_core::ledger::{EntryBody, LedgerEntry, OpenBreaker};

use super::{OpenWork, Survey};

/// A breaker that stands, for whoever looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandingBreaker {
    /// As it was opened.
    pub open: OpenBreaker,
    /// When the next probe may be handed out, in milliseconds since the epoch.
    pub until_ms: u64,
}

impl Survey {
    /// Decides what the breaker asks of whoever hands out rows of this generation.
    ///
    /// `first_wait_ms` is the wait before the first probe.
    pub fn breaker(
        &self,
        generation: &GenerationId,
        first_wait_ms: Option<u64>,
        now_ms: u64,
    ) -> Breaker {
        let entries: Vec<(&LedgerEntry, u64)> = (self.ledger.iter())
            .map(|stored| (&stored.entry, stored.created_ms))
            .collect();
        let open: BTreeSet<BatchId> = (self.open_work.iter())
            .map(|open| open.batch.clone())
            .collect();
        let evidence = Evidence {
            entries: &entries,
            checkpoint: &|batch| self.checkpoint(batch),
            open: &open,
        };
        let first_wait_ms = first_wait_ms.unwrap_or(FIRST_WAIT_MS);
        decide(evidence, generation, first_wait_ms, now_ms)
    }

    /// The breaker that stands for this generation, if one does.
    pub fn standing_breaker(&self, generation: &GenerationId) -> Option<StandingBreaker> {
        let entries = self.entries();
        let (seq, open) = lance_backfill_core::breaker::standing(&entries)?;
        let opened = self.ledger.iter().find(|stored| stored.entry.seq == seq)?;
        (open.generation == *generation).then(|| StandingBreaker {
            until_ms: opened.created_ms.saturating_add(open.wait_ms),
            open: open.clone(),
        })
    }

    /// The checkpoint manifest of a batch of the ledger, if it left one.
    pub fn checkpoint(&self, batch: &BatchId) -> Option<&CheckpointManifest> {
        self.checkpoints.get(batch).map(AsRef::as_ref)
    }

    /// Rows of open batches that were sent through a lane.
    pub fn rows_in_flight(&self, lane: Lane) -> u64 {
        let through = |open: &&OpenWork| {
            let entry = &open.entry.entry;
            // What a session handed out is in no queue.
            entry.session.is_none()
                && matches!(&entry.body, EntryBody::Page(page) if page.lane == lane)
        };
        let rows = |open: &OpenWork| match &open.work {
            Work::Compute(spec) => spec.rows(),
            Work::Fold(_) => 0,
        };
        self.open_work.iter().filter(through).map(rows).sum()
    }
}
