//! What a survey looks at, and where it need not look for records.

use std::collections::BTreeMap;
use std::sync::Arc;

use lance_backfill_core::batch::Work;
use lance_backfill_core::ids::FragmentId;
use lance_backfill_core::job::Selection;
use lance_backfill_core::state::Identities;

use super::happenings::{Happenings, fragments_of};
use crate::column::Column;
use crate::column_store::{LoadedSnapshot, RecordPlace, StoredEntry};

/// What a survey looks at.
#[derive(Debug, Clone, Copy)]
pub enum Scope<'a> {
    /// All fragments.
    Whole,
    /// All fragments, as if somebody asked for a selection now: its rows are those of the last request.
    Asked(&'a Selection),
    /// Fragments with finished work that the version does not have: enough for a commit.
    ///
    /// Its counts are of these alone, and open work is listed whether somebody wants it or not. Where
    /// history must be asked, all fragments are looked at.
    Finished,
}

impl<'a> Scope<'a> {
    pub(super) const fn asked(self) -> Option<&'a Selection> {
        match self {
            Self::Asked(selection) => Some(selection),
            Self::Whole | Self::Finished => None,
        }
    }
}

/// What tells where the record of a fragment can be.
///
/// SUBTLE: a record of identities is written by whoever scans a filter, learns where values came from,
/// carries state along history, or publishes work that left no file. For a fragment that appeared after
/// the version of the snapshot's head, in a column without filter, under one definition and without
/// values, only the last can have happened. That takes an entry of the ledger which names the fragment,
/// and [`collect`](crate::reconcile::collect) deletes none before the head has seen the fragment. So if
/// no entry names it, nobody has written a record. If its values came from the one batch that names it,
/// they have a record under their file, and nobody had a reason to write another one. Ledger and
/// snapshot come from one listing, the ledger first: an entry that is missing was collected before.
pub(super) struct RecordPlaces<'a> {
    column: &'a Column,
    snapshot: &'a LoadedSnapshot,
    happenings: &'a Happenings,
    /// Batches and folds by the fragments that they name.
    works: BTreeMap<FragmentId, usize>,
}

impl<'a> RecordPlaces<'a> {
    pub(super) fn new(
        column: &'a Column,
        snapshot: &'a LoadedSnapshot,
        ledger: &[Arc<StoredEntry>],
        happenings: &'a Happenings,
    ) -> Self {
        let mut works = BTreeMap::new();
        let all = ledger.iter().flat_map(|stored| stored.entry.work());
        for (_, work) in all {
            for fragment in named(&work) {
                *works.entry(fragment).or_default() += 1;
            }
        }
        Self {
            column,
            snapshot,
            happenings,
            works,
        }
    }

    pub(super) fn of(&self, fragment: FragmentId, identities: &Identities) -> RecordPlace {
        let head = &self.snapshot.snapshot.head;
        let last = self.snapshot.snapshot.entries.last_key_value();
        let highest = head.max_fragment.max(last.map(|(fragment, _)| *fragment));
        let is_new = head.table_version > 0
            && !self.snapshot.is_torn
            && highest.is_none_or(|highest| fragment > highest)
            && identities.earlier.is_empty()
            && !self.happenings.came_from_elsewhere(fragment);
        if !is_new {
            return RecordPlace::Anywhere;
        }
        let works = self.works.get(&fragment).copied().unwrap_or_default();
        match (works, identities.out) {
            (0, None) if self.column.filter.is_none() => RecordPlace::Nowhere,
            (1, Some(_)) => RecordPlace::File,
            _ => RecordPlace::Anywhere,
        }
    }
}

fn named(work: &Work) -> Vec<FragmentId> {
    let mut fragments = fragments_of(work);
    fragments.sort_unstable();
    fragments.dedup();
    fragments
}
