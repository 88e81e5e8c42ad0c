//! Survey: what a column's rows hold and need at one version of the table.
//!
//! Settled fragments cost a comparison of digests. For the others the records are read, and what
//! no record tells is looked up in the table and written down as a record.

use std::collections::BTreeMap;
use std::sync::Arc;

use lance_backfill_core::batch::{FoldPart, Work};
use lance_backfill_core::checkpoint::{CheckpointManifest, StagedColumnFile};
use lance_backfill_core::commit::{Finished, Present};
use lance_backfill_core::ids::{BatchId, FragmentId, GenerationId, JobId, LedgerSeq};
use lance_backfill_core::ledger::LedgerEntry;
use lance_backfill_core::plan::FragmentNeed;
use lance_backfill_core::rate::Rate;
use lance_backfill_core::rows::RowSet;
use lance_backfill_core::snapshot::{CoverageSnapshot, Entry, Head};
use lance_backfill_core::state::{Counts, FragmentState};

use crate::column_store::{LoadedSnapshot, StoredEntry};

mod breaker;
mod drop;
mod happenings;
pub(crate) mod look;
pub(crate) mod requests;
mod scope;
mod take;
mod waits;

pub use breaker::StandingBreaker;
pub use requests::{JobProgress, OpenRequest};
pub use scope::Scope;
pub use take::{survey, survey_for};

/// What a column's rows hold and need at one version.
pub struct Survey {
    /// Version that was looked at.
    pub version: u64,
    /// Live rows by state.
    pub counts: Counts,
    /// Live rows by the generation that made them.
    pub generations: BTreeMap<GenerationId, u64>,
    /// Fragments of the version.
    pub fragments: u64,
    /// Highest fragment of the version.
    pub max_fragment: Option<FragmentId>,
    /// Fragments with something to do, to publish or to wait for.
    pub unsettled: BTreeMap<FragmentId, Unsettled>,
    /// Entries of the plan ledger.
    pub ledger: Vec<Arc<StoredEntry>>,
    /// Checkpoint manifests of the ledger's batches.
    pub checkpoints: BTreeMap<BatchId, Arc<CheckpointManifest>>,
    /// Batches and folds without a checkpoint manifest.
    pub open_work: Vec<OpenWork>,
    /// Snapshot that the survey started from.
    pub snapshot: Arc<LoadedSnapshot>,
    /// Settled fragments that the snapshot does not have yet.
    pub newly_settled: BTreeMap<FragmentId, Entry>,
    /// What people asked for and is not over, in ledger order.
    pub requests: Vec<OpenRequest>,
}

/// A batch that nobody has finished.
#[derive(Debug, Clone)]
pub struct OpenWork {
    /// The batch.
    pub batch: BatchId,
    /// What it asks for.
    pub work: Work,
    /// Entry that handed it out.
    pub entry: Arc<StoredEntry>,
}

/// A fragment with something to do.
pub struct Unsettled {
    /// Identities and record at the surveyed version.
    pub present: Present,
    /// Live rows.
    pub live: RowSet,
    /// Live rows by state.
    pub state: FragmentState,
    /// Rows in open batches under the present inputs.
    pub open: RowSet,
    /// Rows that are finished and not yet published.
    pub done: RowSet,
    /// Rows in need whose computed inputs are not ready.
    pub waiting: RowSet,
    /// Rows that open requests still ask for; nobody waits for them.
    pub requested: BTreeMap<JobId, RowSet>,
    /// Results that must be folded.
    pub parts: Vec<FoldPart>,
    /// Rows for which they count.
    pub part_rows: RowSet,
    /// Those of them that are staged files, with the rows for which they count.
    pub staged_parts: Vec<(FoldPart, StagedColumnFile, RowSet)>,
    /// When the oldest of them was handed out.
    pub oldest_part_ms: u64,
    /// Whether a fold is open or waits to be published.
    pub fold_open: bool,
    /// Finished work that a commit can publish.
    pub finished: Vec<Finished>,
}

/// What a column that others depend on says of a fragment's rows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Unready {
    /// Rows that will get another value.
    pub waiting: RowSet,
    /// Rows that will not get one.
    pub blocked: RowSet,
}

impl Unsettled {
    /// Rows that can be handed out: in need or asked for, their inputs ready, in nobody's hands.
    fn ready(&self, job: Option<&JobId>) -> RowSet {
        let mut rows = match job {
            None => self.state.in_need(),
            Some(job) => self.requested.get(job).cloned().unwrap_or_default(),
        };
        rows.remove(&self.open);
        rows.remove(&self.done);
        rows.remove(&self.waiting);
        rows
    }

    /// Rows that somebody wants to have computed.
    pub fn wanted(&self) -> RowSet {
        let mut rows = self.state.in_need();
        for requested in self.requested.values() {
            rows.extend(requested);
        }
        rows
    }
}

impl Unready {
    /// Whether all rows have what dependents read.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.blocked.is_empty()
    }
}

impl Survey {
    /// What dependents must know of a fragment.
    pub fn unready(&self, fragment: FragmentId) -> Unready {
        match self.unsettled.get(&fragment) {
            Some(unsettled) => {
                let state = &unsettled.state;
                Unready {
                    waiting: state.in_need(),
                    blocked: state.failed.union(&state.blocked),
                }
            }
            None => Unready::default(),
        }
    }

    /// Rows that a planner may hand out, by fragment: those in need, or those of one job.
    pub fn needs(&self, job: Option<&JobId>, now_ms: u64) -> Vec<FragmentNeed> {
        self.unsettled
            .iter()
            .map(|(fragment, unsettled)| FragmentNeed {
                fragment: *fragment,
                in_id: unsettled.present.identities.in_id,
                watched: unsettled.present.identities.watched,
                out: unsettled.present.identities.out,
                ready: unsettled.ready(job),
                open: unsettled.open.clone(),
                parts: unsettled.parts.clone(),
                part_rows: unsettled.part_rows.clone(),
                live_rows: unsettled.live.len(),
                oldest_part_s: now_ms.saturating_sub(unsettled.oldest_part_ms) / 1_000,
                fold_open: unsettled.fold_open,
            })
            .collect()
    }

    /// How many rows in need nobody works on yet, those that wait for other columns included.
    pub fn rows_to_hand_out(&self) -> u64 {
        let free = |unsettled: &Unsettled| {
            let mut rows = unsettled.state.in_need();
            rows.remove(&unsettled.open);
            rows.remove(&unsettled.done);
            rows.len()
        };
        self.unsettled.values().map(free).sum()
    }

    /// Open requests of which no row is left, as far as this version tells.
    pub fn finished_requests(&self) -> impl Iterator<Item = &OpenRequest> {
        let seen = |request: &&OpenRequest| {
            let ordered = (self.ledger.iter()).find(|stored| stored.entry.seq == request.job.seq);
            ordered.is_some_and(|stored| stored.entry.table_version <= self.version)
        };
        let done = |request: &&OpenRequest| {
            request.progress.rows_remaining == 0 && request.broken.is_none()
        };
        self.requests.iter().filter(done).filter(seen)
    }

    /// The entries of the ledger, without what the store says of them.
    pub fn entries(&self) -> Vec<LedgerEntry> {
        (self.ledger.iter())
            .map(|stored| stored.entry.clone())
            .collect()
    }

    /// Whether somebody looked at a newer version of the table, as far as the records tell: what they
    /// wrote since may be collected again.
    pub fn is_behind(&self) -> bool {
        let LoadedSnapshot {
            snapshot, is_torn, ..
        } = self.snapshot.as_ref();
        let planned = |stored: &Arc<StoredEntry>| stored.entry.table_version;
        *is_torn
            || snapshot.head.table_version > self.version
            || self.ledger.iter().map(planned).max() > Some(self.version)
    }

    /// Whether some finished work can be published.
    pub fn has_finished(&self) -> bool {
        self.unsettled
            .values()
            .any(|unsettled| !unsettled.finished.is_empty())
    }

    /// Number of the ledger's next entry.
    pub fn next_seq(&self) -> LedgerSeq {
        self.ledger
            .last()
            .map_or(LedgerSeq::FIRST, |stored| stored.entry.seq.next())
    }

    /// Measured speed of a generation: of the batches at hand, else of those before them.
    pub fn rate(&self, generation: &GenerationId) -> Option<Rate> {
        let own = (self.checkpoints.values()).filter(|manifest| manifest.generation == *generation);
        let head = &self.snapshot.snapshot.head;
        let before = head
            .rate
            .filter(|_| head.generation.as_ref() == Some(generation));
        Rate::of(own.map(|manifest| (manifest.rows_computed(), manifest.elapsed_ms))).or(before)
    }

    /// What batches that were too short to measure say of the function's speed.
    pub fn pilot_rate(&self, generation: &GenerationId) -> Option<Rate> {
        let own = (self.checkpoints.values()).filter(|manifest| manifest.generation == *generation);
        Rate::at_least(own.map(|manifest| (manifest.rows_computed(), manifest.elapsed_ms)))
    }

    /// The snapshot's new entries, if there is anything to say.
    pub fn snapshot_extension(&self, generation: &GenerationId) -> Option<CoverageSnapshot> {
        // The version too: history that was accounted for need not be walked again.
        if self.newly_settled.is_empty()
            && self.snapshot.snapshot.head.table_version >= self.version
        {
            return None;
        }
        let seen = &self.snapshot.snapshot.head;
        // A survey of an older version must not take back what was accounted for.
        let (table_version, max_fragment) = match self.version >= seen.table_version {
            true => (self.version, self.max_fragment),
            false => (seen.table_version, seen.max_fragment),
        };
        let head = Head {
            table_version,
            max_fragment,
            generation: Some(generation.clone()),
            rate: self.rate(generation),
        };
        Some(CoverageSnapshot {
            head,
            entries: self.newly_settled.clone(),
        })
    }
}
