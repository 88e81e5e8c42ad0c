//! Survey: what a column's rows hold and need at one version of the table.
//!
//! Settled fragments cost a comparison of digests. For the others the records are read, and what
//! no record tells is looked up in the table and written down as a record.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use lance_backfill_core::batch::Work;
use lance_backfill_core::checkpoint::{CheckpointManifest, StagedColumnFile};
use lance_backfill_core::commit::{Finished, Present};
use lance_backfill_core::coverage::{CoverageRecord, Outcome};
use lance_backfill_core::identity::{Place, fingerprint};
use lance_backfill_core::ids::{BatchId, FragmentId, GenerationId, LedgerSeq};
use lance_backfill_core::invariant;
use lance_backfill_core::plan::FragmentNeed;
use lance_backfill_core::rows::RowSet;
use lance_backfill_core::snapshot::{CoverageSnapshot, Entry, Head};
use lance_backfill_core::state::{Counts, FragmentState, Identities, classify};
use lance_backfill_core::table::FragmentView;
use lance_backfill_ports::table::{Table, TableVersion};
use lance_backfill_ports::{Error, Result};

use crate::column::Column;
use crate::column_store::{LoadedSnapshot, StoredEntry};
use crate::history::{Historian, Told};

mod happenings;
pub(crate) mod look;

use happenings::Happenings;

/// Staged files looked for at once.
const FILES_AT_ONCE: usize = 32;
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
    /// Rows for which they count.
    pub part_rows: RowSet,
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
    pub fn needs(&self, now_ms: u64) -> Vec<FragmentNeed> {
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
                    part_rows: unsettled.part_rows.clone(),
                    live_rows: unsettled.live.len(),
                    oldest_part_s: now_ms.saturating_sub(unsettled.oldest_part_ms) / 1_000,
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
            rate: seen.rate,
        };
        Some(CoverageSnapshot {
            head,
            entries: self.newly_settled.clone(),
        })
    }
}

/// Surveys a column at one version; `upstream` are the surveys of the computed columns it reads.
pub async fn survey(
    table: &dyn Table,
    version: &Arc<dyn TableVersion>,
    column: &Column,
    upstream: &[(&Column, &Survey)],
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
    let mut happenings = Happenings::index(&ledger, &checkpoints, column);
    let view = version.view();
    let mut survey = Survey {
        version: view.version,
        counts: Counts::default(),
        generations: BTreeMap::new(),
        fragments: view.fragments.len() as u64,
        max_fragment: view.fragments.last().map(|fragment| fragment.id),
        unsettled: BTreeMap::new(),
        open_work: std::mem::take(&mut happenings.open_work),
        ledger,
        checkpoints,
        snapshot: snapshot.clone(),
        newly_settled: BTreeMap::new(),
    };
    let mut unknown = vec![];
    let mut inputs_hold = false;
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
        inputs_hold |= settled.is_some();
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
    inputs_hold |= keys.iter().any(|(fragment, now, _)| {
        records
            .get(fragment)
            .is_some_and(|record| record.in_id == now.in_id)
    });
    if let (Some((declared, now)), false) = (column.bound.renamed_input(), inputs_hold) {
        return Err(Error::invalid(format!(
            "column '{}' reads '{declared}', and its field is now called '{now}': if that is the same column under a new name, say so with 'column alter --sql' and 'column alter --where' in new names",
            column.name()
        )));
    }
    let mut told = ask_history(
        table, version, column, upstream, &snapshot, &unknown, &records,
    )
    .await?;
    let looked: Vec<_> = stream::iter(unknown)
        .map(|(fragment, identities, place, print)| {
            let known = records.remove(&fragment.id).map(Arc::unwrap_or_clone);
            let told = told.remove(&fragment.id).unwrap_or_default();
            async move {
                let origin = if told.supplied {
                    Outcome::Supplied
                } else {
                    Outcome::Unknown
                };
                let carried = told.record.is_some();
                let record = told.record.or(known);
                let (found, live) = look::into(
                    version.as_ref(),
                    column,
                    fragment,
                    &identities,
                    record.clone(),
                    origin,
                )
                .await?;
                if carried
                    && found == record
                    && let Some(record) = record
                {
                    column.store.create_record(record).await?;
                }
                Ok::<_, Error>((fragment, identities, place, print, found, live))
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
        survey.add(
            Looked {
                fragment,
                present,
                live,
                print,
            },
            column,
            upstream,
            &happenings,
        )?;
    }
    survey.drop_missing(version.as_ref()).await?;
    invariant::counts_add_up(&survey.counts)
        .map_err(|violation| Error::internal(violation.to_string()))?;
    Ok(survey)
}

/// A fragment that was looked into.
struct Looked<'a> {
    fragment: &'a FragmentView,
    present: Present,
    live: RowSet,
    /// Fingerprint of its identities.
    print: u64,
}

type Fragmentary<'a> = (&'a FragmentView, Identities, Option<Place>, u64);

/// Asks history about the fragments whose state no record tells for their present identities.
async fn ask_history(
    table: &dyn Table,
    version: &Arc<dyn TableVersion>,
    column: &Column,
    upstream: &[(&Column, &Survey)],
    snapshot: &LoadedSnapshot,
    unknown: &[Fragmentary<'_>],
    records: &BTreeMap<FragmentId, Arc<CoverageRecord>>,
) -> Result<BTreeMap<FragmentId, Told>> {
    let puzzling: BTreeSet<FragmentId> = unknown
        .iter()
        .filter(
            |(fragment, identities, _, _)| match records.get(&fragment.id) {
                Some(record) => record.in_id != identities.in_id,
                None => identities.out.is_some(),
            },
        )
        .map(|(fragment, ..)| fragment.id)
        .collect();
    let head = &snapshot.snapshot.head;
    if puzzling.is_empty()
        || head.table_version == 0
        || head.table_version >= version.view().version
    {
        return Ok(BTreeMap::new());
    }
    let upstream: Vec<&Column> = upstream.iter().map(|(column, _)| *column).collect();
    let historian = Historian {
        table,
        latest: version,
        column,
        upstream: &upstream,
        after: head.table_version,
        max_fragment: head.max_fragment,
    };
    Box::pin(historian.tell(&puzzling)).await
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

impl Survey {
    fn add(
        &mut self,
        looked: Looked<'_>,
        column: &Column,
        upstream: &[(&Column, &Self)],
        happenings: &Happenings,
    ) -> Result<()> {
        let Looked {
            fragment,
            present,
            live,
            print,
        } = looked;
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
        for (_, survey) in upstream {
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
            part_rows: RowSet::new(),
            oldest_part_ms: u64::MAX,
            fold_open: false,
            finished: vec![],
            present,
            state,
        };
        happenings.apply(fragment.id, &mut unsettled);
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
        let staged: Vec<StagedColumnFile> = self
            .unsettled
            .values()
            .flat_map(|unsettled| &unsettled.finished)
            .filter_map(|finished| finished.file.clone())
            .collect();
        let missing: BTreeSet<String> = stream::iter(staged)
            .map(|file| async move {
                let there = version.staged_exists(&file).await?;
                Ok::<_, Error>((!there).then_some(file.name))
            })
            .buffer_unordered(FILES_AT_ONCE)
            .try_filter_map(|missing| async { Ok(missing) })
            .try_collect()
            .await?;
        if missing.is_empty() {
            return Ok(());
        }
        for unsettled in self.unsettled.values_mut() {
            let is_missing = |finished: &Finished| {
                finished
                    .file
                    .as_ref()
                    .is_some_and(|file| missing.contains(&file.name))
            };
            let (gone, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut unsettled.finished)
                .into_iter()
                .partition(is_missing);
            unsettled.finished = kept;
            for finished in gone {
                unsettled.fold_open = false;
                // The values of a fold's parts are still there; those of a straight slice are not.
                if unsettled.parts.is_empty() {
                    for contribution in &finished.contributions {
                        unsettled.done.remove(&contribution.result.done());
                    }
                }
            }
        }
        Ok(())
    }
}
