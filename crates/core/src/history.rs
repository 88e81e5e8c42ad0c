//! What other writers did to a table, and how state follows rows that moved.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::coverage::{CoverageRecord, RowErrors, Run};
use crate::format::Stored;
use crate::ids::{BindingId, FieldId, FragmentId, GenerationId};
use crate::rows::RowSet;
use crate::state::{Identities, Inputs};

/// What one version did, as far as it can concern a computed column.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The version that it made.
    pub version: u64,
    /// What it did.
    pub kind: ChangeKind,
}

/// Kinds of changes.
#[derive(Debug, Clone, PartialEq)]
pub enum ChangeKind {
    /// Rows were rewritten unchanged into other fragments: a compaction.
    Rewrite {
        /// Old fragments and what replaced them, in order.
        groups: Vec<(Vec<FragmentId>, Vec<FragmentId>)>,
    },
    /// Rows got other values.
    Update(Update),
    /// Column files were replaced.
    Replacement {
        /// Fragments.
        fragments: Vec<FragmentId>,
        /// Fields in the new files.
        fields: Vec<FieldId>,
        /// Column whose work was published, if it was one of ours.
        binding: Option<BindingId>,
    },
    /// Nothing that moves rows or changes values in place.
    Other,
    /// The version is gone or cannot be read.
    Lost,
}

/// An update or upsert.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    /// Whether columns were patched in place; otherwise rows moved into new fragments.
    pub in_place: bool,
    /// Fields that were set; `None` when the transaction does not say.
    pub fields: Option<Vec<FieldId>>,
    /// Fragments that lost rows or were patched.
    pub touched: Vec<FragmentId>,
    /// Fragments that vanished.
    pub removed: Vec<FragmentId>,
    /// Patched rows by fragment; empty when the transaction does not say.
    pub offsets: BTreeMap<FragmentId, RowSet>,
}

/// A stretch of rows that moved together: `old` begins at the first offset, `new` at the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    /// First offset in the old fragment.
    pub old: u32,
    /// First offset in the new fragment.
    pub new: u32,
    /// Rows.
    pub rows: u32,
}

/// The rows of a set at their new places.
pub fn moved(rows: &RowSet, moves: &[Move]) -> RowSet {
    let mut result = RowSet::new();
    for stretch in moves {
        let old = stretch.old..stretch.old.saturating_add(stretch.rows);
        if rows.count_within(old.clone()) == u64::from(stretch.rows) {
            result.insert_range(stretch.new..stretch.new.saturating_add(stretch.rows));
            continue;
        }
        for place in rows.within(old) {
            result.insert(stretch.new + place);
        }
    }
    result
}

/// How the live rows of old fragments lie in new ones when they were concatenated in order.
///
/// `None` when the numbers of rows do not add up: the rewrite did something else.
pub fn concatenation(
    old: &[(FragmentId, RowSet)],
    new: &[(FragmentId, u32)],
) -> Option<BTreeMap<(FragmentId, FragmentId), Vec<Move>>> {
    let live: u64 = old.iter().map(|(_, rows)| rows.len()).sum();
    let capacity: u64 = new.iter().map(|(_, rows)| u64::from(*rows)).sum();
    if live != capacity {
        return None;
    }
    let mut moves = BTreeMap::<_, Vec<Move>>::new();
    let mut targets = new.iter().copied().filter(|(_, rows)| *rows > 0);
    let mut target = targets.next();
    let mut filled = 0;
    for (fragment, rows) in old {
        for mut range in rows.ranges() {
            while !range.is_empty() {
                let (new_fragment, capacity) = target?;
                let taken = (range.end - range.start).min(capacity - filled);
                let stretch = Move {
                    old: range.start,
                    new: filled,
                    rows: taken,
                };
                moves
                    .entry((*fragment, new_fragment))
                    .or_default()
                    .push(stretch);
                range.start += taken;
                filled += taken;
                if filled == capacity {
                    target = targets.next();
                    filled = 0;
                }
            }
        }
    }
    Some(moves)
}

/// How rows moved, found by their stable ids; rows without counterpart are left out.
pub fn by_row_ids(old: &[u64], new: &[u64]) -> Vec<Move> {
    let places: std::collections::HashMap<u64, u32> = old.iter().copied().zip(0_u32..).collect();
    let mut moves: Vec<Move> = vec![];
    for (id, new_offset) in new.iter().zip(0_u32..) {
        let Some(old_offset) = places.get(id).copied() else {
            continue;
        };
        match moves.last_mut() {
            Some(last)
                if last.old + last.rows == old_offset && last.new + last.rows == new_offset =>
            {
                last.rows += 1
            }
            _ => moves.push(Move {
                old: old_offset,
                new: new_offset,
                rows: 1,
            }),
        }
    }
    moves
}

/// Rows that may have got other inputs, for each set of columns that is read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ChangedRows {
    /// Of the present generation.
    pub own: RowSet,
    /// Of accepted generations that read other columns.
    pub older: BTreeMap<GenerationId, RowSet>,
    /// Of any of them.
    pub any: RowSet,
}

impl ChangedRows {
    /// Rows whose inputs changed if this generation made them, or nobody knows which.
    fn of(&self, generation: Option<&GenerationId>) -> &RowSet {
        match generation {
            None => &self.any,
            Some(generation) => self.older.get(generation).unwrap_or(&self.own),
        }
    }
}

/// The state of rows on their way from old fragments into a new one.
#[derive(Debug, Clone)]
pub struct Carried {
    record: CoverageRecord,
    now: Identities,
    filter_known: bool,
}

impl Carried {
    /// Nothing known yet of a fragment.
    pub fn new(
        binding: &BindingId,
        fragment: FragmentId,
        physical_rows: u32,
        now: Identities,
    ) -> Self {
        let record = CoverageRecord {
            version: CoverageRecord::VERSION,
            binding: binding.clone(),
            fragment,
            physical_rows,
            file: None,
            in_id: now.watched,
            elig_id: now.elig_id,
            out: now.out,
            runs: vec![],
            filtered: RowSet::new(),
            errors: vec![],
        };
        Self {
            record,
            now,
            filter_known: true,
        }
    }

    /// Adds rows that moved from a fragment whose state is known.
    ///
    /// `changed` are rows, by new offset, that may have got other inputs: what was computed for them
    /// stays known, under the inputs that it was computed from, and so is stale. Each run is compared
    /// in the columns that its own generation read.
    pub fn add(
        &mut self,
        old: &CoverageRecord,
        then: &Identities,
        moves: &[Move],
        changed: &ChangedRows,
    ) {
        let mut runs = vec![];
        for run in &old.runs {
            let rows = moved(&run.rows, moves);
            let made_by = run.generation.as_ref();
            let was_present = then.compare(made_by, run.in_id) == Inputs::Same;
            let kept = rows.difference(changed.of(made_by));
            let stale = rows.intersection(changed.of(made_by));
            let kept_in_id = if was_present {
                self.now.of(made_by)
            } else {
                run.in_id
            };
            runs.push(Run {
                rows: kept,
                in_id: kept_in_id,
                ..run.clone()
            });
            runs.push(Run {
                rows: stale,
                ..run.clone()
            });
        }
        let errors = old
            .errors
            .iter()
            .map(|errors| RowErrors {
                rows: moved(&errors.rows, moves),
                ..errors.clone()
            })
            .collect();
        self.record.lay_over(runs, errors);
        self.record.filtered.extend(&moved(&old.filtered, moves));
        self.filter_known &= old.elig_id == then.elig_id;
    }

    /// Says that some rows were selected by the filter on other values than they have now.
    pub fn forget_filter(&mut self) {
        self.filter_known = false;
    }

    /// Lays runs over what was carried, such as values that somebody supplied.
    pub fn lay_over(&mut self, runs: Vec<Run>) {
        self.record.lay_over(runs, vec![]);
    }

    /// Takes what is known of some rows back: they are unassigned.
    pub fn forget(&mut self, rows: &RowSet) {
        self.record.forget(rows);
    }

    /// The record of the new fragment; its `elig_id` is none when the filter must be asked again.
    pub fn into_record(mut self) -> CoverageRecord {
        if !self.filter_known {
            self.record.elig_id = None;
            self.record.filtered = RowSet::new();
        }
        self.record
    }
}

/// Rows whose value was ordered by different ledger entries in two records of one fragment.
pub fn rows_that_differ(
    before: Option<&CoverageRecord>,
    after: Option<&CoverageRecord>,
    physical_rows: u32,
) -> RowSet {
    let mut same = RowSet::new();
    let (Some(before), Some(after)) = (before, after) else {
        return RowSet::full(physical_rows);
    };
    for run in &before.runs {
        for other in &after.runs {
            if run.ledger == other.ledger
                && run.outcome == other.outcome
                && run.generation == other.generation
            {
                same.extend(&run.rows.intersection(&other.rows));
            }
        }
    }
    // Rows of which neither record speaks were not touched between the two.
    let silent =
        RowSet::full(physical_rows).difference(&before.assigned().union(&after.assigned()));
    RowSet::full(physical_rows).difference(&same.union(&silent))
}

/// The whole fragment as one stretch that stays in place.
pub fn in_place(physical_rows: u32) -> Vec<Move> {
    let Range { start, end } = 0..physical_rows;
    vec![Move {
        old: start,
        new: start,
        rows: end,
    }]
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod model;
