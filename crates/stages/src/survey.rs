//! Survey: what a column's rows hold and need at one version of the table.
//!
//! Settled fragments cost a comparison of digests. For the others the records are read, and what
//! no record tells is looked up in the table and written down as a record.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use lance_backfill_core::batch::Work;
use lance_backfill_core::checkpoint::{CheckpointManifest, SliceOutput, SliceResult};
use lance_backfill_core::commit::{Contribution, Finished, Present};
use lance_backfill_core::coverage::CoverageRecord;
use lance_backfill_core::identity::{Identity, Place, fingerprint};
use lance_backfill_core::ids::{BatchId, FragmentId, GenerationId, LedgerSeq};
use lance_backfill_core::invariant;
use lance_backfill_core::ledger::{EntryBody, LedgerEntry};
use lance_backfill_core::plan::FragmentNeed;
use lance_backfill_core::rows::RowSet;
use lance_backfill_core::snapshot::{CoverageSnapshot, Entry, Head};
use lance_backfill_core::state::{Counts, FragmentState, Identities, classify};
use lance_backfill_core::table::FragmentView;
use lance_backfill_ports::table::TableVersion;
use lance_backfill_ports::{Error, Result};

use crate::column::Column;
use crate::column_store::{LoadedSnapshot, StoredEntry};

mod look;

/// Fragments looked into at once.
const FRAGMENTS_AT_ONCE: usize = 8;

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
    /// Batches whose results must be folded.
    pub parts: Vec<BatchId>,
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

    /// Rows that a planner may hand out, by fragment.
    pub fn needs(&self) -> Vec<FragmentNeed> {
        self.unsettled
            .iter()
            .map(|(fragment, unsettled)| {
                let mut ready = unsettled.state.in_need();
                ready.remove(&unsettled.open);
                ready.remove(&unsettled.done);
                ready.remove(&unsettled.waiting);
                FragmentNeed {
                    fragment: *fragment,
                    in_id: unsettled.present.identities.in_id,
                    out: unsettled.present.identities.out,
                    ready,
                    open: unsettled.open.clone(),
                    parts: unsettled.parts.clone(),
                    fold_open: unsettled.fold_open,
                }
            })
            .collect()
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

    /// The snapshot's new entries, if there is anything to say.
    pub fn snapshot_extension(&self, generation: &GenerationId) -> Option<CoverageSnapshot> {
        if self.newly_settled.is_empty() {
            return None;
        }
        let head = Head {
            table_version: self.version,
            generation: Some(generation.clone()),
            rate: self.snapshot.snapshot.head.rate,
        };
        Some(CoverageSnapshot {
            head,
            entries: self.newly_settled.clone(),
        })
    }
}

/// Surveys a column at one version; `upstream` are the surveys of the computed columns it reads.
pub async fn survey(
    version: &dyn TableVersion,
    column: &Column,
    upstream: &[&Survey],
) -> Result<Survey> {
    let snapshot = column.store.snapshot().await?;
    let ledger = column.store.ledger().await?;
    let batches: BTreeSet<BatchId> = ledger
        .iter()
        .flat_map(|stored| stored.entry.work())
        .map(|(batch, _)| batch)
        .collect();
    let checkpoints = if batches.is_empty() {
        BTreeMap::new()
    } else {
        column.store.checkpoints(&batches).await?
    };
    let view = version.view();
    let mut survey = Survey {
        version: view.version,
        counts: Counts::default(),
        generations: BTreeMap::new(),
        fragments: view.fragments.len() as u64,
        unsettled: BTreeMap::new(),
        open_work: open_work(&ledger, &checkpoints, column),
        ledger,
        checkpoints,
        snapshot: snapshot.clone(),
        newly_settled: BTreeMap::new(),
    };
    let mut unknown = vec![];
    for fragment in &view.fragments {
        let (identities, place) = column.identify(fragment);
        let print = fingerprint(
            fragment,
            identities.in_id,
            identities.elig_id,
            identities.out,
        );
        let settled = snapshot
            .snapshot
            .entries
            .get(&fragment.id)
            .filter(|entry| entry.fingerprint == print)
            // Dependents ask which rows failed, and only the record knows.
            .filter(|entry| !(column.has_dependents && entry.has_failures()))
            .and_then(|entry| Some((entry, settled_counts(&snapshot, entry, column)?)));
        match settled {
            Some((entry, counts)) => {
                survey.counts.add(&counts);
                count_generations(
                    &mut survey.generations,
                    entry,
                    snapshot.snapshot.head.generation.as_ref(),
                );
            }
            None => unknown.push((fragment, identities, place, print)),
        }
    }
    let keys: Vec<(FragmentId, Identities, Option<Place>)> = unknown
        .iter()
        .map(|(fragment, identities, place, _)| (fragment.id, *identities, place.clone()))
        .collect();
    let mut records = if keys.is_empty() {
        BTreeMap::new()
    } else {
        column.store.records(&keys).await?
    };
    let looked: Vec<_> = stream::iter(unknown)
        .map(|(fragment, identities, place, print)| {
            let record = records.remove(&fragment.id);
            async move {
                let (record, live) =
                    look::into(version, column, fragment, &identities, record).await?;
                Ok::<_, Error>((fragment, identities, place, print, record, live))
            }
        })
        .buffered(FRAGMENTS_AT_ONCE)
        .try_collect()
        .await?;
    for (fragment, identities, place, print, record, live) in looked {
        let present = Present {
            physical_rows: fragment.physical_rows,
            identities,
            place,
            record,
        };
        survey.add(fragment, present, live, print, column, upstream)?;
    }
    survey.drop_missing(version).await?;
    invariant::counts_add_up(&survey.counts)
        .map_err(|violation| Error::internal(violation.to_string()))?;
    Ok(survey)
}

fn settled_counts(snapshot: &LoadedSnapshot, entry: &Entry, column: &Column) -> Option<Counts> {
    entry.settled_counts(
        snapshot.snapshot.head.generation.as_ref(),
        &column.bound.definition,
        &column.bound.generation,
    )
}

fn count_generations(
    generations: &mut BTreeMap<GenerationId, u64>,
    entry: &Entry,
    head_generation: Option<&GenerationId>,
) {
    let [value, null, ..] = entry.rows;
    if let (Some(generation), true) = (head_generation, value + null > 0) {
        *generations.entry(generation.clone()).or_default() += u64::from(value + null);
    }
    for other in &entry.others {
        *generations.entry(other.generation.clone()).or_default() += u64::from(other.rows);
    }
}

/// Batches without checkpoint manifest whose generation still counts.
fn open_work(
    ledger: &[Arc<StoredEntry>],
    checkpoints: &BTreeMap<BatchId, Arc<CheckpointManifest>>,
    column: &Column,
) -> Vec<OpenWork> {
    ledger
        .iter()
        .filter(|stored| generation_counts(&stored.entry, column))
        .flat_map(|stored| {
            stored
                .entry
                .work()
                .into_iter()
                .map(|(batch, work)| (batch, work, stored.clone()))
        })
        .filter(|(batch, _, _)| !checkpoints.contains_key(batch))
        .map(|(batch, work, entry)| OpenWork { batch, work, entry })
        .collect()
}

fn generation_counts(entry: &LedgerEntry, column: &Column) -> bool {
    match &entry.body {
        EntryBody::Page(page) => page.generation == column.bound.generation,
        EntryBody::Hold { .. } | EntryBody::Resume | EntryBody::Approval { .. } => false,
    }
}

impl Survey {
    fn add(
        &mut self,
        fragment: &FragmentView,
        present: Present,
        live: RowSet,
        print: u64,
        column: &Column,
        upstream: &[&Self],
    ) -> Result<()> {
        let bound = &column.bound;
        let filtered = present
            .record
            .as_ref()
            .map(|record| record.filtered.clone())
            .unwrap_or_default();
        let mut state = classify(
            present.record.as_ref(),
            &present.identities,
            &filtered,
            &live,
            &bound.definition,
            &bound.generation,
        );
        let mut waiting = RowSet::new();
        for survey in upstream {
            let unready = survey.unready(fragment.id);
            state.block(&unready.blocked);
            waiting.extend(&unready.waiting);
        }
        invariant::no_lost_row(&state, &live)
            .map_err(|violation| Error::internal(violation.to_string()))?;
        self.counts.add(&state.counts());
        let head_generation = Some(&bound.generation);
        let entry = present
            .record
            .as_ref()
            .and_then(|record| Entry::of(record, print, &live, head_generation));
        if let Some(entry) = &entry {
            count_generations(&mut self.generations, entry, head_generation);
        }
        let mut unsettled = Unsettled {
            live,
            open: RowSet::new(),
            done: RowSet::new(),
            waiting,
            parts: vec![],
            fold_open: false,
            finished: vec![],
            present,
            state,
        };
        self.add_finished(fragment.id, &mut unsettled, column);
        if unsettled.state.is_settled() && unsettled.finished.is_empty() {
            let CoverageSnapshot { head, entries } = &self.snapshot.snapshot;
            let same_head = head.generation.as_ref() == head_generation;
            let known = entries.get(&fragment.id).filter(|_| same_head);
            if let Some(entry) = entry.filter(|entry| known != Some(entry)) {
                self.newly_settled.insert(fragment.id, entry);
            }
            // Dependents must still see the failed rows.
            if !column.has_dependents || unsettled.state.failed.is_empty() {
                return Ok(());
            }
        }
        self.unsettled.insert(fragment.id, unsettled);
        Ok(())
    }

    /// Forgets staged files that are gone: their rows are ready again.
    ///
    /// Lance's commit checks neither existence nor size, and would leave an unreadable column.
    async fn drop_missing(&mut self, version: &dyn TableVersion) -> Result<()> {
        for unsettled in self.unsettled.values_mut() {
            let mut kept = vec![];
            for finished in std::mem::take(&mut unsettled.finished) {
                let there = match &finished.file {
                    Some(file) => version.staged_exists(file).await?,
                    None => true,
                };
                if there {
                    kept.push(finished);
                } else {
                    for contribution in &finished.contributions {
                        unsettled.done.remove(&contribution.result.done());
                    }
                    unsettled.fold_open = false;
                }
            }
            unsettled.finished = kept;
        }
        Ok(())
    }

    /// Finds what the ledger's batches did and still do to a fragment.
    fn add_finished(&self, fragment: FragmentId, unsettled: &mut Unsettled, column: &Column) {
        let in_id = unsettled.present.identities.in_id;
        let out = unsettled.present.identities.out;
        let mut direct = vec![];
        let mut folds = vec![];
        for stored in &self.ledger {
            if !generation_counts(&stored.entry, column) {
                continue;
            }
            for (batch, work) in stored.entry.work() {
                let checkpoint = self.checkpoints.get(&batch);
                match (work, checkpoint) {
                    (Work::Compute(spec), None) => {
                        let slices = spec
                            .slices
                            .iter()
                            .filter(|slice| slice.fragment == fragment && slice.in_id == in_id);
                        slices.for_each(|slice| unsettled.open.extend(&slice.rows));
                    }
                    (Work::Compute(_), Some(checkpoint)) => {
                        for result in checkpoint
                            .slices
                            .iter()
                            .filter(|result| result.fragment == fragment)
                        {
                            let contribution = contribution(stored.entry.seq, checkpoint, result);
                            self.sort_result(
                                unsettled,
                                &batch,
                                contribution,
                                in_id,
                                out,
                                &mut direct,
                            );
                        }
                    }
                    (Work::Fold(spec), checkpoint)
                        if spec.fragment == fragment && spec.in_id == in_id && spec.out == out =>
                    {
                        folds.push((spec, checkpoint.cloned()));
                    }
                    (Work::Fold(_), _) => {}
                }
            }
        }
        for (spec, checkpoint) in folds {
            let still_useful = spec.parts.iter().any(|part| unsettled.parts.contains(part));
            match checkpoint {
                None => unsettled.fold_open |= still_useful,
                Some(checkpoint) if still_useful => {
                    if let Some(finished) =
                        self.finished_fold(fragment, &spec.parts, &checkpoint, in_id, out)
                    {
                        unsettled.fold_open = true;
                        unsettled.finished.push(finished);
                    }
                }
                Some(_) => {}
            }
        }
        unsettled.finished.extend(direct);
    }

    fn sort_result(
        &self,
        unsettled: &mut Unsettled,
        batch: &BatchId,
        contribution: Contribution,
        in_id: Identity,
        out: Option<Identity>,
        direct: &mut Vec<Finished>,
    ) {
        if contribution.result.in_id != in_id {
            return;
        }
        let rows = contribution.result.done();
        let useful = match &unsettled.present.record {
            Some(record) => rows.difference(&published(record, contribution.ledger)),
            None => rows,
        };
        if useful.is_empty() {
            return;
        }
        let fragment = contribution.result.fragment;
        unsettled.done.extend(&useful);
        match &contribution.result.output {
            SliceOutput::ColumnFile(file) if file.over == out => {
                direct.push(Finished {
                    fragment,
                    file: Some(file.clone()),
                    contributions: vec![contribution],
                });
            }
            SliceOutput::Nothing => direct.push(Finished {
                fragment,
                file: None,
                contributions: vec![contribution],
            }),
            SliceOutput::ColumnFile(_) | SliceOutput::Values(_) => {
                unsettled.parts.push(batch.clone())
            }
            SliceOutput::Obsolete => {}
        }
    }

    fn finished_fold(
        &self,
        fragment: FragmentId,
        parts: &[BatchId],
        fold: &CheckpointManifest,
        in_id: Identity,
        out: Option<Identity>,
    ) -> Option<Finished> {
        let file = fold.slices.iter().find_map(|result| match &result.output {
            SliceOutput::ColumnFile(file) if file.over == out => Some(Some(file.clone())),
            SliceOutput::Nothing => Some(None),
            _ => None,
        })?;
        let contributions = parts
            .iter()
            .filter_map(|part| Some((part.seq, self.checkpoints.get(part)?)))
            .flat_map(|(seq, checkpoint)| {
                let results = checkpoint
                    .slices
                    .iter()
                    .filter(|result| result.fragment == fragment && result.in_id == in_id);
                results.map(move |result| contribution(seq, checkpoint, result))
            })
            .collect();
        Some(Finished {
            fragment,
            file,
            contributions,
        })
    }
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

/// Rows of a record that were ordered by this ledger entry or a later one.
fn published(record: &CoverageRecord, ledger: LedgerSeq) -> RowSet {
    let mut rows = RowSet::new();
    for run in record
        .runs
        .iter()
        .filter(|run| run.generation.is_some() && run.ledger >= ledger)
    {
        rows.extend(&run.rows);
    }
    rows
}
