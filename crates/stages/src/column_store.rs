//! The state of one column: typed access to its part of the state store.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use lance_backfill_core::checkpoint::CheckpointManifest;
use lance_backfill_core::commit::{identity_record_path, record_path};
use lance_backfill_core::coverage::CoverageRecord;
use lance_backfill_core::format::{Stored, decode, encode};
use lance_backfill_core::identity::{Identity, Place, record_key};
use lance_backfill_core::ids::{BatchId, FragmentId, JobId, LedgerSeq};
use lance_backfill_core::job::JobEnd;
use lance_backfill_core::ledger::LedgerEntry;
use lance_backfill_core::rows::RowSet;
use lance_backfill_core::snapshot::CoverageSnapshot;
use lance_backfill_core::state::Identities;
use lance_backfill_ports::state_store::{Created, StateStore};
use lance_backfill_ports::{Error, ErrorKind, Result};

mod jobs;
mod names;

pub(crate) use jobs::job_of;
pub use names::{SnapshotFile, checkpoint_path, snapshot_chain};
pub(crate) use names::{checkpoint_batch, superseded_snapshots, values_batch};

use names::{identity_record, ledger_seq};

/// Objects read at once.
const READ_AT_ONCE: usize = 16;
/// Identity records looked for one by one; above, their folder is listed once.
const FEW_FRAGMENTS: usize = 16;
/// Coverage records remembered; a record is a few hundred bytes for most fragments.
const MOST_REMEMBERED_RECORDS: usize = 50_000;

/// Ledger, checkpoint manifests, values, records and snapshot of one column.
pub struct ColumnStore {
    store: Arc<dyn StateStore>,
    /// Stores of the tables that this one is a copy of, nearest first: only their records are read.
    parents: Vec<Self>,
    /// Nothing newer is taken to be accounted for, whatever the snapshot says.
    seen_at_most: Option<Seen>,
    cache: Mutex<Cache>,
}

/// The last point that two tables have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Version.
    pub table_version: u64,
    /// Its highest fragment.
    pub max_fragment: Option<FragmentId>,
}

/// Objects never change, so what was read once need not be read again.
#[derive(Default)]
struct Cache {
    ledger: BTreeMap<LedgerSeq, Arc<StoredEntry>>,
    checkpoints: BTreeMap<BatchId, Arc<CheckpointManifest>>,
    records: HashMap<String, Arc<CoverageRecord>>,
    snapshot: Arc<LoadedSnapshot>,
    ended: BTreeMap<JobId, Arc<JobEnd>>,
    matches: HashMap<(FragmentId, Identity), RowSet>,
}

/// A ledger entry and when the store says it was created.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredEntry {
    /// The entry.
    pub entry: LedgerEntry,
    /// By the store's clock.
    pub created_ms: u64,
}

/// The snapshot as it was put together from its files.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LoadedSnapshot {
    /// Merged content.
    pub snapshot: CoverageSnapshot,
    /// Files that it was put together from, oldest first: (since, seq, entries).
    pub files: Vec<SnapshotFile>,
}

impl ColumnStore {
    /// The state under a column's folder.
    pub fn new(store: Arc<dyn StateStore>) -> Self {
        Self {
            store,
            parents: vec![],
            seen_at_most: None,
            cache: Mutex::default(),
        }
    }

    /// The same, and what no record of its own tells is looked up in the stores of other tables.
    #[must_use]
    pub fn with_parents(self, parents: Vec<Arc<dyn StateStore>>) -> Self {
        let parents = parents.into_iter().map(Self::new).collect();
        Self { parents, ..self }
    }

    /// The same, for a table that left the one that the store speaks of at this point.
    #[must_use]
    pub fn seen_at_most(self, seen: Seen) -> Self {
        Self {
            seen_at_most: Some(seen),
            ..self
        }
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read<T: Stored>(&self, path: &str) -> Result<Option<T>> {
        let Some(bytes) = self.store.get(path).await? else {
            return Ok(None);
        };
        decode(&bytes)
            .map(Some)
            .map_err(|error| at(path, error.into()))
    }

    async fn write<T: Stored>(&self, path: &str, value: &T) -> Result<Created> {
        self.store.create(path, Bytes::from(encode(value)?)).await
    }

    /// The entries of the plan ledger that still exist, in order.
    pub async fn ledger(&self) -> Result<Vec<Arc<StoredEntry>>> {
        let listed = self.store.list("ledger").await?;
        let known = self.cache().ledger.clone();
        let entries: Vec<Option<Arc<StoredEntry>>> = stream::iter(listed)
            .map(|object| {
                let seq = ledger_seq(&object.path);
                let known = seq.and_then(|seq| known.get(&seq).cloned());
                // A ledger that was deleted begins at 1 again: the same number is another entry.
                let known = known.filter(|known| known.created_ms == object.created_ms);
                async move {
                    if let (Some(known), true) = (known, seq.is_some()) {
                        return Ok::<_, Error>(Some(known));
                    }
                    // Collected between listing and reading: it was spent.
                    let entry = self.read::<LedgerEntry>(&object.path).await?;
                    Ok(entry.map(|entry| {
                        Arc::new(StoredEntry {
                            entry,
                            created_ms: object.created_ms,
                        })
                    }))
                }
            })
            .buffered(READ_AT_ONCE)
            .try_collect()
            .await?;
        let entries: Vec<Arc<StoredEntry>> = entries.into_iter().flatten().collect();
        self.cache().ledger = entries
            .iter()
            .map(|entry| (entry.entry.seq, entry.clone()))
            .collect();
        Ok(entries)
    }

    /// Creates a ledger entry; `AlreadyThere` when another planner took the number.
    pub async fn create_entry(&self, entry: &LedgerEntry) -> Result<Created> {
        let path = format!("ledger/{}.json", entry.seq);
        match self.write(&path, entry).await? {
            Created::New => Ok(Created::New),
            Created::AlreadyThere => {
                // A lost answer looks the same as a lost race: only the token tells.
                let ours = self
                    .read::<LedgerEntry>(&path)
                    .await?
                    .is_some_and(|found| found.token == entry.token);
                Ok(if ours {
                    Created::New
                } else {
                    Created::AlreadyThere
                })
            }
        }
    }

    /// The checkpoint manifests of the given batches, as far as there are any.
    pub async fn checkpoints(
        &self,
        batches: &BTreeSet<BatchId>,
    ) -> Result<BTreeMap<BatchId, Arc<CheckpointManifest>>> {
        let known = self.cache().checkpoints.clone();
        let mut found: BTreeMap<_, _> = batches
            .iter()
            .filter_map(|batch| {
                known
                    .get(batch)
                    .map(|manifest| (batch.clone(), manifest.clone()))
            })
            .collect();
        if found.len() < batches.len() {
            let there: BTreeSet<String> = self
                .store
                .list("checkpoints")
                .await?
                .into_iter()
                .map(|object| object.path)
                .collect();
            let missing = batches
                .iter()
                .filter(|batch| {
                    !found.contains_key(*batch) && there.contains(&checkpoint_path(batch))
                })
                .cloned();
            let read: Vec<_> = stream::iter(missing)
                .map(|batch| async move {
                    self.checkpoint(&batch)
                        .await
                        .map(|manifest| (batch, manifest))
                })
                .buffered(READ_AT_ONCE)
                .try_collect()
                .await?;
            found.extend(
                read.into_iter()
                    .filter_map(|(batch, manifest)| Some((batch, manifest?))),
            );
        }
        self.cache().checkpoints = found.clone();
        Ok(found)
    }

    /// The checkpoint manifest of one batch, if it left one.
    pub async fn checkpoint(&self, batch: &BatchId) -> Result<Option<Arc<CheckpointManifest>>> {
        Ok(self
            .read::<CheckpointManifest>(&checkpoint_path(batch))
            .await?
            .map(Arc::new))
    }

    /// Creates the checkpoint manifest of a batch; another attempt may have been faster.
    pub async fn create_checkpoint(
        &self,
        manifest: CheckpointManifest,
    ) -> Result<Arc<CheckpointManifest>> {
        let path = checkpoint_path(&manifest.batch);
        let winner = match self.write(&path, &manifest).await? {
            Created::New => Arc::new(manifest),
            Created::AlreadyThere => self.checkpoint(&manifest.batch).await?.ok_or_else(|| {
                Error::new(
                    ErrorKind::Unavailable,
                    format!("'{path}' vanished while it was read"),
                )
            })?,
        };
        self.cache()
            .checkpoints
            .insert(winner.batch.clone(), winner.clone());
        Ok(winner)
    }

    /// Stores bytes of a values file; the path is unique to the attempt.
    pub async fn create_values(&self, path: &str, bytes: Bytes) -> Result<()> {
        match self.store.create(path, bytes).await? {
            Created::New => Ok(()),
            // The path carries the attempt's token: what is there is ours, after a lost answer.
            Created::AlreadyThere => Ok(()),
        }
    }

    /// Bytes of a values file.
    pub async fn values(&self, path: &str) -> Result<Bytes> {
        self.store.get(path).await?.ok_or_else(|| {
            Error::new(
                ErrorKind::Corrupt,
                format!("values file '{path}' is missing from the state store"),
            )
        })
    }

    /// The live coverage records of fragments in the given states.
    pub async fn records(
        &self,
        fragments: &[(FragmentId, Identities, Option<Place>)],
    ) -> Result<BTreeMap<FragmentId, Arc<CoverageRecord>>> {
        let listing = if fragments.len() > FEW_FRAGMENTS {
            Some(self.identity_records().await?)
        } else {
            None
        };
        let listing = listing.as_ref();
        let found: Vec<_> = stream::iter(fragments)
            .map(|(fragment, identities, place)| async move {
                let record = self
                    .record(*fragment, identities, place.as_ref(), listing)
                    .await?;
                Ok::<_, Error>((*fragment, record))
            })
            .buffered(READ_AT_ONCE)
            .try_collect()
            .await?;
        Ok(found
            .into_iter()
            .filter_map(|(fragment, record)| Some((fragment, record?)))
            .collect())
    }

    /// Highest number of each identity's records.
    async fn identity_records(&self) -> Result<HashMap<String, u64>> {
        let mut highest = HashMap::new();
        for object in self.store.list("coverage/id").await? {
            if let Some((key, number)) = identity_record(&object.path) {
                let entry = highest.entry(key).or_insert(number);
                *entry = number.max(*entry);
            }
        }
        Ok(highest)
    }

    async fn record(
        &self,
        fragment: FragmentId,
        identities: &Identities,
        place: Option<&Place>,
        listing: Option<&HashMap<String, u64>>,
    ) -> Result<Option<Arc<CoverageRecord>>> {
        // What this table found out itself counts before anything its parents learn later.
        let mut found = self
            .own_record(fragment, identities, place, listing)
            .await?;
        for parent in &self.parents {
            if found.is_none() {
                found = parent.own_record(fragment, identities, place, None).await?;
            }
        }
        Ok(found)
    }

    async fn own_record(
        &self,
        fragment: FragmentId,
        identities: &Identities,
        place: Option<&Place>,
        listing: Option<&HashMap<String, u64>>,
    ) -> Result<Option<Arc<CoverageRecord>>> {
        let Identities {
            in_id,
            elig_id,
            out,
        } = *identities;
        let key = record_key(fragment, in_id, elig_id, out);
        let by_identity = match listing {
            Some(listing) => match listing.get(&key.to_string()) {
                Some(number) => {
                    self.cached_record(&identity_record_path(key, *number))
                        .await?
                }
                None => None,
            },
            None => self.highest_record(key).await?,
        };
        if by_identity.is_some() {
            return Ok(by_identity);
        }
        let Some(file) = place.and_then(|place| place.file.as_ref()) else {
            return Ok(None);
        };
        let record = self
            .cached_record(&format!("coverage/file/{file}.json"))
            .await?;
        Ok(record.filter(|record| record.fragment == fragment))
    }

    /// Numbers are dense: the last that is there counts.
    async fn highest_record(&self, key: Identity) -> Result<Option<Arc<CoverageRecord>>> {
        let mut newest = None;
        for number in 0.. {
            match self
                .cached_record(&identity_record_path(key, number))
                .await?
            {
                Some(record) => newest = Some(record),
                None => break,
            }
        }
        Ok(newest)
    }

    async fn cached_record(&self, path: &str) -> Result<Option<Arc<CoverageRecord>>> {
        if let Some(known) = self.cache().records.get(path) {
            return Ok(Some(known.clone()));
        }
        let Some(record) = self.read::<CoverageRecord>(path).await? else {
            return Ok(None);
        };
        let record = Arc::new(record);
        self.remember_record(path, &record);
        Ok(Some(record))
    }

    /// Forgets the records read so far if there are more than this many.
    pub fn forget_records(&self, most: usize) {
        let mut cache = self.cache();
        if cache.records.len() > most {
            cache.records = HashMap::new();
        }
    }

    fn remember_record(&self, path: &str, record: &Arc<CoverageRecord>) {
        let mut cache = self.cache();
        if cache.records.len() >= MOST_REMEMBERED_RECORDS {
            cache.records.clear();
        }
        cache.records.insert(path.to_owned(), record.clone());
    }

    /// Stores a record: under its file, or as the next of its identities.
    ///
    /// A record of a file is written once, before the file is published: the file's name is random,
    /// so what is already there is the same record after a lost answer.
    pub async fn create_record(&self, record: CoverageRecord) -> Result<()> {
        for number in 0.. {
            let path = record_path(&record, number);
            match self.write(&path, &record).await? {
                Created::New => {
                    self.remember_record(&path, &Arc::new(record));
                    return Ok(());
                }
                Created::AlreadyThere if record.file.is_some() => return Ok(()),
                Created::AlreadyThere => {
                    let same = self
                        .cached_record(&path)
                        .await?
                        .is_some_and(|found| *found == record);
                    if same {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// The coverage snapshot, put together from its newest files.
    pub async fn snapshot(&self) -> Result<Arc<LoadedSnapshot>> {
        let listed = self.store.list("snapshot").await?;
        let chain = snapshot_chain(
            listed
                .iter()
                .filter_map(|object| SnapshotFile::parse(&object.path)),
        );
        let known = self.cache().snapshot.clone();
        let same = |file: &SnapshotFile, other: &SnapshotFile| {
            (file.seq, file.since) == (other.seq, other.since)
        };
        let shared = known.files.len() <= chain.len()
            && known
                .files
                .iter()
                .zip(&chain)
                .all(|(known, file)| same(known, file));
        let mut loaded = if shared {
            (*known).clone()
        } else {
            LoadedSnapshot::default()
        };
        if shared && known.files.len() == chain.len() {
            return Ok(known);
        }
        for mut file in chain.into_iter().skip(loaded.files.len()) {
            let path = file.path();
            let Some(bytes) = self.store.get(&path).await? else {
                // Collected meanwhile: a snapshot is a cache, the next listing finds its successor.
                break;
            };
            let newer =
                CoverageSnapshot::decode(&bytes).map_err(|error| at(&path, error.into()))?;
            file.entries = newer.entries.len();
            loaded.snapshot.apply(newer);
            loaded.files.push(file);
        }
        let head = &mut loaded.snapshot.head;
        if let Some(seen) = self.seen_at_most
            && head.table_version > seen.table_version
        {
            head.table_version = seen.table_version;
            head.max_fragment = seen.max_fragment;
        }
        let loaded = Arc::new(loaded);
        self.cache().snapshot = loaded.clone();
        Ok(loaded)
    }

    /// Stores new entries, rewriting older files in proportion: what is written follows what changed.
    pub async fn extend_snapshot(
        &self,
        base: &LoadedSnapshot,
        newer: CoverageSnapshot,
    ) -> Result<()> {
        let seq = base.files.last().map_or(1, |file| file.seq + 1);
        let mut entries = newer.entries.len().max(1);
        let mut kept = base.files.len();
        // Swallow a predecessor while it is not much larger: sizes stay geometric, files few.
        while let Some(file) = kept.checked_sub(1).and_then(|last| base.files.get(last)) {
            if file.entries > entries * 8 {
                break;
            }
            entries += file.entries;
            kept -= 1;
        }
        let since = base.files.get(kept).map_or(seq, |file| file.since);
        let mut merged = base.snapshot.clone();
        merged.apply(newer.clone());
        let mut written = newer;
        if kept == 0 {
            written = merged.clone();
        } else if kept < base.files.len() {
            written = self
                .merge_files(base.files.get(kept..).unwrap_or_default(), written)
                .await?;
        }
        let file = SnapshotFile {
            seq,
            since,
            entries: written.entries.len(),
        };
        match self
            .store
            .create(&file.path(), Bytes::from(written.encode()?))
            .await?
        {
            Created::New => {
                let mut files = base.files.get(..kept).unwrap_or_default().to_vec();
                files.push(file);
                self.cache().snapshot = Arc::new(LoadedSnapshot {
                    snapshot: merged,
                    files,
                });
                Ok(())
            }
            // Another process extended it first: ours is found again by the next survey.
            Created::AlreadyThere => Ok(()),
        }
    }

    async fn merge_files(
        &self,
        files: &[SnapshotFile],
        newer: CoverageSnapshot,
    ) -> Result<CoverageSnapshot> {
        let mut merged: Option<CoverageSnapshot> = None;
        for file in files {
            let Some(bytes) = self.store.get(&file.path()).await? else {
                continue;
            };
            let part =
                CoverageSnapshot::decode(&bytes).map_err(|error| at(&file.path(), error.into()))?;
            match &mut merged {
                Some(merged) => merged.apply(part),
                None => merged = Some(part),
            }
        }
        Ok(match merged {
            Some(mut merged) => {
                merged.apply(newer);
                merged
            }
            None => newer,
        })
    }

    /// Objects of one folder, for collecting what nothing needs.
    pub async fn list(
        &self,
        folder: &str,
    ) -> Result<Vec<lance_backfill_ports::state_store::Listed>> {
        self.store.list(folder).await
    }

    /// Deletes an object that nothing needs.
    pub async fn delete(&self, path: &str) -> Result<()> {
        self.store.delete(path).await
    }
}

fn at(path: &str, error: Error) -> Error {
    let hint = match error.kind {
        ErrorKind::Corrupt => {
            "; restore it from a backup, or delete it to have it worked out again"
        }
        _ => "",
    };
    Error::new(error.kind, format!("state file '{path}': {error}{hint}"))
}
