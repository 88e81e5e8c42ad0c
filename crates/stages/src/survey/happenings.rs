//! What the ledger's batches did and still do to each fragment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lance_backfill_core::batch::{FoldPart, FoldSpec, Work};
use lance_backfill_core::checkpoint::{
    CheckpointManifest, SliceOutput, SliceResult, StagedColumnFile,
};
use lance_backfill_core::commit::{Contribution, Finished};
use lance_backfill_core::identity::{Identity, Place};
use lance_backfill_core::ids::{BatchId, FragmentId, JobId, LedgerSeq};
use lance_backfill_core::journey::{Journey, Site};
use lance_backfill_core::ledger::{EntryBody, LedgerEntry};
use lance_backfill_core::rows::RowSet;
use lance_backfill_core::table::TableView;

use super::{OpenWork, Unsettled};
use crate::column::Column;
use crate::column_store::StoredEntry;

type Checkpoints = BTreeMap<BatchId, Arc<CheckpointManifest>>;

/// All work of the ledger that still counts, by fragment.
pub(super) struct Happenings {
    by_fragment: BTreeMap<FragmentId, Vec<Happening>>,
    /// Fragments with rows that a job ordered: they may be current and change all the same.
    of_jobs: BTreeSet<FragmentId>,
    /// Fragments into which rows of others were rewritten while they were at work.
    arrived_in: BTreeSet<FragmentId>,
    /// Batches and folds without a checkpoint manifest.
    pub(super) open_work: Vec<OpenWork>,
}

enum Happening {
    /// Rows in an open batch.
    Open {
        in_id: Identity,
        rows: RowSet,
        /// Version that had the fragment.
        seen: u64,
    },
    /// Results of a finished batch.
    Done {
        part: FoldPart,
        created_ms: u64,
        /// Version that had the fragment.
        seen: u64,
        contribution: Box<Contribution>,
    },
    /// A fold, finished or not, and what its parts contribute.
    Fold {
        spec: FoldSpec,
        checkpoint: Option<Arc<CheckpointManifest>>,
        parts: Vec<Contribution>,
    },
}

impl Happening {
    /// Where its rows were, and a version that had them there.
    fn site(&self, fragment: FragmentId) -> Option<(Site, u64)> {
        let (in_id, seen) = match self {
            Self::Open { in_id, seen, .. } => (*in_id, *seen),
            Self::Done {
                seen, contribution, ..
            } => (contribution.result.in_id, *seen),
            Self::Fold { .. } => return None,
        };
        Some((Site { fragment, in_id }, seen))
    }

    /// The same of the rows that went this way.
    fn after(&self, journey: &Journey) -> Option<Self> {
        match self {
            Self::Open { in_id, rows, seen } if *in_id == journey.from.in_id => Some(Self::Open {
                in_id: journey.to.in_id,
                rows: journey.rows(rows),
                seen: *seen,
            }),
            Self::Done {
                part,
                created_ms,
                seen,
                contribution,
            } if contribution.result.in_id == journey.from.in_id => {
                // What others take with them is none of its business, and would be stored with each part.
                let journey = journey.of_rows(&contribution.result.done())?;
                Some(Self::Done {
                    created_ms: *created_ms,
                    seen: *seen,
                    contribution: Box::new(Contribution {
                        result: journey.result(&contribution.result),
                        ..contribution.as_ref().clone()
                    }),
                    part: FoldPart {
                        journey: Some(journey),
                        ..part.clone()
                    },
                })
            }
            // A fold is made of parts, which can be folded again.
            Self::Open { .. } | Self::Done { .. } | Self::Fold { .. } => None,
        }
    }
}

impl Happenings {
    /// Sorts the ledger's work by fragment.
    pub(super) fn index(
        ledger: &[Arc<StoredEntry>],
        checkpoints: &Checkpoints,
        column: &Column,
        ended: &BTreeSet<JobId>,
    ) -> Self {
        let mut found = Self {
            by_fragment: BTreeMap::new(),
            of_jobs: BTreeSet::new(),
            arrived_in: BTreeSet::new(),
            open_work: vec![],
        };
        for stored in ledger {
            let own = is_own(&stored.entry, column);
            for (batch, work) in stored.entry.work() {
                let checkpoint = checkpoints.get(&batch);
                let called_off = stored.entry.job().is_some_and(|job| ended.contains(&job));
                if called_off && checkpoint.is_none() {
                    continue;
                }
                if stored.entry.job().is_some() {
                    found.of_jobs.extend(fragments_of(&work));
                }
                // Results count by what made them, which an edit may have changed since they were ordered.
                let counts = checkpoint.map_or(own, |done| column.bound.accepts(&done.generation));
                if !counts || lays_unaccepted(&work, column, checkpoints) {
                    continue;
                }
                found.add(&batch, stored, &work, checkpoint, checkpoints);
                if checkpoint.is_none() {
                    found.open_work.push(OpenWork {
                        batch,
                        work,
                        entry: stored.clone(),
                    });
                }
            }
        }
        found
    }

    fn add(
        &mut self,
        batch: &BatchId,
        stored: &StoredEntry,
        work: &Work,
        checkpoint: Option<&Arc<CheckpointManifest>>,
        checkpoints: &Checkpoints,
    ) {
        match (work, checkpoint) {
            (Work::Compute(spec), None) => {
                for slice in &spec.slices {
                    let happening = Happening::Open {
                        in_id: slice.in_id,
                        rows: slice.rows.clone(),
                        seen: stored.entry.table_version,
                    };
                    self.by_fragment
                        .entry(slice.fragment)
                        .or_default()
                        .push(happening);
                }
            }
            (Work::Compute(_), Some(checkpoint)) => {
                for result in &checkpoint.slices {
                    let contribution = Box::new(contribution(batch.seq, checkpoint, result));
                    let part = FoldPart {
                        batch: batch.clone(),
                        journey: None,
                    };
                    let happening = Happening::Done {
                        part,
                        created_ms: stored.created_ms,
                        seen: checkpoint.read_version,
                        contribution,
                    };
                    self.by_fragment
                        .entry(result.fragment)
                        .or_default()
                        .push(happening);
                }
            }
            (Work::Fold(spec), checkpoint) => {
                let parts = part_contributions(spec, checkpoints);
                let happening = Happening::Fold {
                    spec: spec.clone(),
                    checkpoint: checkpoint.cloned(),
                    parts,
                };
                self.by_fragment
                    .entry(spec.fragment)
                    .or_default()
                    .push(happening);
            }
        }
    }

    /// Sites of rows at work or finished whose fragments the version does not have, and when they were there.
    pub(super) fn gone(&self, view: &TableView) -> BTreeMap<Site, u64> {
        let mut gone = BTreeMap::new();
        for (fragment, happenings) in &self.by_fragment {
            if view.fragment(*fragment).is_some() {
                continue;
            }
            for happening in happenings {
                if let Some((site, seen)) = happening.site(*fragment) {
                    let earliest = gone.entry(site).or_insert(seen);
                    *earliest = seen.min(*earliest);
                }
            }
        }
        gone
    }

    /// Follows rows to the fragments into which they were rewritten.
    pub(super) fn relocate(&mut self, journeys: &BTreeMap<Site, Vec<Journey>>) {
        for (site, journeys) in journeys {
            let left = self.by_fragment.remove(&site.fragment).unwrap_or_default();
            for journey in journeys {
                let here = left.iter().filter_map(|happening| happening.after(journey));
                let there = self.by_fragment.entry(journey.to.fragment).or_default();
                there.extend(here);
                self.arrived_in.insert(journey.to.fragment);
                if self.of_jobs.contains(&site.fragment) {
                    self.of_jobs.insert(journey.to.fragment);
                }
            }
            self.by_fragment.insert(site.fragment, left);
        }
    }

    /// Whether rows of other fragments are at work that are in this one now.
    pub(super) fn came_from_elsewhere(&self, fragment: FragmentId) -> bool {
        self.arrived_in.contains(&fragment)
    }

    /// Whether finished work of a fragment may wait to be published, by what stands in the column now.
    pub(super) fn may_have_finished(&self, fragment: FragmentId, place: Option<&Place>) -> bool {
        let standing = place.and_then(|place| place.file.as_deref());
        let waits = |output: &SliceOutput| match output {
            SliceOutput::ColumnFile(file) => standing != Some(file.name.as_str()),
            SliceOutput::Values(_) | SliceOutput::Nothing => true,
            SliceOutput::Obsolete => false,
        };
        let happenings = self.by_fragment.get(&fragment);
        (happenings.into_iter().flatten()).any(|happening| match happening {
            Happening::Open { .. } => false,
            Happening::Done { contribution, .. } => waits(&contribution.result.output),
            Happening::Fold { checkpoint, .. } => (checkpoint.iter())
                .flat_map(|checkpoint| &checkpoint.slices)
                .any(|slice| waits(&slice.output)),
        })
    }

    /// Whether a job ordered rows of the fragment.
    pub(super) fn have_job_work(&self, fragment: FragmentId) -> bool {
        self.of_jobs.contains(&fragment)
    }

    /// Marks open, done and finished rows of a fragment.
    pub(super) fn apply(&self, fragment: FragmentId, unsettled: &mut Unsettled) {
        let Some(happenings) = self.by_fragment.get(&fragment) else {
            return;
        };
        let identities = &unsettled.present.identities.clone();
        let (in_id, out) = (identities.in_id, identities.out);
        let mut direct = vec![];
        for happening in happenings {
            match happening {
                Happening::Open {
                    in_id: under, rows, ..
                } if *under == in_id => unsettled.open.extend(rows),
                Happening::Done {
                    part,
                    created_ms,
                    contribution,
                    ..
                } if contribution.holds(identities) => {
                    sort_result(unsettled, part, *created_ms, contribution, out, &mut direct);
                }
                Happening::Open { .. } | Happening::Done { .. } | Happening::Fold { .. } => {}
            }
        }
        // Those that were computed in other fragments come last in the list.
        unsettled.parts.sort_by(|a, b| a.batch.cmp(&b.batch));
        for happening in happenings {
            let Happening::Fold {
                spec,
                checkpoint,
                parts,
            } = happening
            else {
                continue;
            };
            let useful = identities.stands(spec.in_id)
                && spec.out == out
                && parts.iter().all(|part| part.holds(identities))
                && !spec.rows.is_empty()
                && spec.rows.is_subset(&unsettled.part_rows);
            match checkpoint {
                None => unsettled.fold_open |= useful,
                Some(checkpoint) if useful => {
                    if let Some(file) = folded_file(checkpoint, out) {
                        unsettled.fold_open = true;
                        unsettled.finished.push(Finished {
                            fragment,
                            file,
                            contributions: parts.clone(),
                        });
                    }
                }
                Some(_) => {}
            }
        }
        unsettled.finished.extend(direct);
    }
}

pub(super) fn fragments_of(work: &Work) -> Vec<FragmentId> {
    match work {
        Work::Compute(spec) => spec.slices.iter().map(|slice| slice.fragment).collect(),
        Work::Fold(spec) => vec![spec.fragment],
    }
}

/// Whether an entry orders work of the column's present generation.
fn is_own(entry: &LedgerEntry, column: &Column) -> bool {
    match &entry.body {
        EntryBody::Page(page) => page.generation == column.bound.generation,
        EntryBody::Hold { .. }
        | EntryBody::Resume {}
        | EntryBody::Approval { .. }
        | EntryBody::Breaker(_)
        | EntryBody::BreakerClosed {}
        | EntryBody::Request(_)
        | EntryBody::Settled { .. } => false,
    }
}

/// Whether a fold has parts of a generation that was given up since: it is to be folded without them.
fn lays_unaccepted(work: &Work, column: &Column, checkpoints: &Checkpoints) -> bool {
    let Work::Fold(spec) = work else { return false };
    (spec
        .parts
        .iter()
        .filter_map(|part| checkpoints.get(&part.batch)))
    .any(|part| !column.bound.accepts(&part.generation))
}

fn sort_result(
    unsettled: &mut Unsettled,
    part: &FoldPart,
    created_ms: u64,
    contribution: &Contribution,
    out: Option<Identity>,
    direct: &mut Vec<Finished>,
) {
    let record = unsettled.present.record.as_ref();
    let counting = contribution.counting(record, &unsettled.state.in_need());
    if counting.is_empty() {
        return;
    }
    let result = &contribution.result;
    let fragment = result.fragment;
    let finished = |file| Finished {
        fragment,
        file,
        contributions: vec![contribution.limited_to(&counting)],
    };
    let in_file = result.values.union(&result.nulls);
    match &result.output {
        SliceOutput::ColumnFile(file)
            if part.journey.is_none() && file.over == out && in_file.is_subset(&counting) =>
        {
            direct.push(finished(Some(file.clone())))
        }
        SliceOutput::Nothing => direct.push(finished(None)),
        // Made in another fragment, over another state of the column, or with rows that somebody
        // corrected meanwhile: a fold takes from it what counts.
        SliceOutput::ColumnFile(_) | SliceOutput::Values(_) => {
            unsettled.parts.push(part.clone());
            if let SliceOutput::ColumnFile(file) = &result.output {
                let staged = (part.clone(), file.clone(), counting.clone());
                unsettled.staged_parts.push(staged);
            }
            unsettled.part_rows.extend(&counting);
            unsettled.oldest_part_ms = unsettled.oldest_part_ms.min(created_ms);
        }
        SliceOutput::Obsolete => return,
    }
    unsettled.done.extend(&counting);
}

/// The file of a finished fold, if it was laid over what stands in the column now.
fn folded_file(
    fold: &CheckpointManifest,
    out: Option<Identity>,
) -> Option<Option<StagedColumnFile>> {
    fold.slices.iter().find_map(|result| match &result.output {
        SliceOutput::ColumnFile(file) if file.over == out => Some(Some(file.clone())),
        SliceOutput::Nothing => Some(None),
        SliceOutput::ColumnFile(_) | SliceOutput::Values(_) | SliceOutput::Obsolete => None,
    })
}

fn part_contributions(spec: &FoldSpec, checkpoints: &Checkpoints) -> Vec<Contribution> {
    let mut contributions = vec![];
    for part in &spec.parts {
        let Some(checkpoint) = checkpoints.get(&part.batch) else {
            continue;
        };
        for slice in &checkpoint.slices {
            if let Some(result) = part.result(slice, spec.fragment) {
                let whole = contribution(part.batch.seq, checkpoint, &result);
                contributions.push(whole.limited_to(&spec.rows));
            }
        }
    }
    contributions
}

fn contribution(
    ledger: LedgerSeq,
    checkpoint: &CheckpointManifest,
    result: &SliceResult,
) -> Contribution {
    Contribution {
        ledger,
        job: checkpoint.job.clone(),
        generation: checkpoint.generation.clone(),
        result: result.clone(),
    }
}
