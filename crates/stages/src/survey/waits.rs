//! What a survey tells of how long rows have waited.

use std::collections::{BTreeMap, BTreeSet};

use lance_backfill_core::checkpoint::{CheckpointManifest, SliceOutput, SliceResult};
use lance_backfill_core::commit::Finished;
use lance_backfill_core::ids::LedgerSeq;
use lance_backfill_core::ledger::held_since;
use lance_backfill_core::table::TableView;
use lance_backfill_core::waits::Waits;

use super::Survey;

impl Survey {
    /// How long rows have waited; of a column that is not kept up to date by itself, those that were
    /// handed out.
    pub fn waits(&self, view: &TableView, auto: bool) -> Waits {
        let wanted = self.unsettled.values().map(|now| now.wanted().len()).sum();
        let rows_left = if auto { self.rows_to_hand_out() } else { 0 };
        Waits {
            rows: wanted,
            rows_left,
            left_since_ms: view.created_ms,
            held_ms: held_since(&self.entries()).and_then(|seq| self.stored_ms(seq)),
            handed_out_ms: self.handed_out_ms(),
            finished_ms: self.finished_ms(),
        }
    }

    fn stored_ms(&self, seq: LedgerSeq) -> Option<u64> {
        let stored = self.ledger.iter().find(|stored| stored.entry.seq == seq);
        stored.map(|stored| stored.created_ms)
    }

    /// When the oldest work was handed out that is open, or finished and not published.
    fn handed_out_ms(&self) -> Option<u64> {
        let open = self.open_work.iter().map(|open| open.entry.created_ms);
        let finished: BTreeSet<LedgerSeq> = (self.unsettled.values())
            .flat_map(|now| &now.finished)
            .flat_map(|finished| &finished.contributions)
            .map(|contribution| contribution.ledger)
            .collect();
        let finished = (finished.into_iter()).filter_map(|seq| self.stored_ms(seq));
        let parts = (self.unsettled.values())
            .filter(|now| !now.parts.is_empty())
            .map(|now| now.oldest_part_ms);
        open.chain(finished).chain(parts).min()
    }

    /// When each batch was finished that a commit could publish now.
    fn finished_ms(&self) -> Vec<u64> {
        let mut batches = BTreeMap::new();
        for finished in self.unsettled.values().flat_map(|now| &now.finished) {
            let of_it = |done: &&CheckpointManifest| left(done, finished);
            let manifests = self.checkpoints.values().map(AsRef::as_ref);
            for done in manifests.filter(of_it) {
                batches.insert(&done.batch, done.finished_ms);
            }
        }
        batches.into_values().collect()
    }
}

/// Whether a batch left what is finished of a fragment: its file, or what there is to say of it.
fn left(done: &CheckpointManifest, finished: &Finished) -> bool {
    match &finished.file {
        Some(file) => (done.slices.iter()).any(|slice| match &slice.output {
            SliceOutput::ColumnFile(of_slice) => of_slice.name == file.name,
            SliceOutput::Values(_) | SliceOutput::Nothing | SliceOutput::Obsolete => false,
        }),
        None => {
            let ordered = |seq| (finished.contributions.iter()).any(|one| one.ledger == seq);
            let of_fragment = |slice: &SliceResult| slice.fragment == finished.fragment;
            ordered(done.batch.seq) && done.slices.iter().any(of_fragment)
        }
    }
}
