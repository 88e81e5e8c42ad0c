//! The state of one column: typed access to its part of the state store.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use lance_backfill_core::checkpoint::CheckpointManifest;
use lance_backfill_core::coverage::CoverageRecord;
use lance_backfill_core::format::{Stored, decode, encode};
use lance_backfill_core::identity::Identity;
use lance_backfill_core::ids::{BatchId, FragmentId, JobId, LedgerSeq};
use lance_backfill_core::job::JobEnd;
use lance_backfill_core::journey::Site;
use lance_backfill_core::ledger::LedgerEntry;
use lance_backfill_core::rows::RowSet;
use lance_backfill_core::snapshot::CoverageSnapshot;
use lance_backfill_ports::state_store::{Created, Listed, StateStore};
use lance_backfill_ports::{Error, ErrorKind, Result};

mod jobs;
mod names;
mod records;
mod snapshots;

pub(crate) use jobs::job_of;
pub use names::{SnapshotFile, checkpoint_path, snapshot_chain};
pub(crate) use names::{checkpoint_batch, sent_path, superseded_snapshots, values_batch};
pub(crate) use records::{RecordPlace, Sought};

use crate::history::Trail;
use names::ledger_seq;

/// Folder of the plan ledger.
const LEDGER: &str = "ledger";
/// Objects read at once.
const READ_AT_ONCE: usize = 16;
/// Checkpoint manifests that are asked for one by one; of more, their folder is listed once.
const FEW_CHECKPOINTS: usize = 2;
/// Readings of the ledger of which a part was collected meanwhile, before we give up.
const MOST_TORN_READS: usize = 20;

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
    /// Entries of which somebody told, as long as no listing has them.
    told: BTreeMap<LedgerSeq, LedgerEntry>,
    checkpoints: BTreeMap<BatchId, Arc<CheckpointManifest>>,
    records: HashMap<String, Arc<CoverageRecord>>,
    snapshot: Arc<LoadedSnapshot>,
    /// Small files of the snapshot, by number and reach.
    parts: BTreeMap<(u64, u64), CoverageSnapshot>,
    ended: BTreeMap<JobId, Arc<JobEnd>>,
    /// Paths of the marks of entries that were sent.
    sent: BTreeSet<String>,
    matches: HashMap<(FragmentId, Identity), RowSet>,
    trails: BTreeMap<Site, Trail>,
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
    /// Whether something newer may be accounted for: a file was collected before it could be read, or
    /// another process wrote one of the same number.
    pub is_torn: bool,
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
        for _ in 0..MOST_TORN_READS {
            let listed = self.store.list(LEDGER).await?;
            if let Some(entries) = self.whole_ledger(listed).await? {
                return Ok(entries);
            }
        }
        Err(Error::new(
            ErrorKind::Unavailable,
            "the ledger is collected faster than it can be read: try again",
        ))
    }

    /// Coverage snapshot and plan ledger, which are listed together.
    pub async fn snapshot_and_ledger(
        &self,
    ) -> Result<(Arc<LoadedSnapshot>, Vec<Arc<StoredEntry>>)> {
        let listed = self.store.list_two(LEDGER, snapshots::FOLDER).await?;
        let snapshot = self.snapshot_of(&listed).await?;
        let of_ledger = |object: &Listed| ledger_seq(&object.path).is_some();
        let listed = listed.into_iter().filter(of_ledger).collect();
        let ledger = match self.whole_ledger(listed).await? {
            Some(ledger) => ledger,
            None => self.ledger().await?,
        };
        Ok((snapshot, ledger))
    }

    /// The ledger, or `None` if some of it was collected while it was read: what is left of the rest
    /// may say what the missing entries took back.
    async fn whole_ledger(&self, listed: Vec<Listed>) -> Result<Option<Vec<Arc<StoredEntry>>>> {
        let known = self.cache().ledger.clone();
        let told = std::mem::take(&mut self.cache().told);
        let entries: Vec<Option<Arc<StoredEntry>>> = stream::iter(listed)
            .map(|object| {
                let seq = ledger_seq(&object.path);
                let known = seq.and_then(|seq| known.get(&seq).cloned());
                // A ledger that was deleted begins at 1 again: the same number is another entry.
                let known = known.filter(|known| known.created_ms == object.created_ms);
                let known = known.or_else(|| as_told(&object, told.get(&seq?)?));
                async move {
                    if let (Some(known), true) = (known, seq.is_some()) {
                        return Ok::<_, Error>(Some(known));
                    }
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
        let Some(entries) = entries.into_iter().collect::<Option<Vec<_>>>() else {
            return Ok(None);
        };
        let there: BTreeSet<String> = entries.iter().map(|it| sent_path(&it.entry)).collect();
        self.cache().sent.retain(|path| there.contains(path));
        self.cache().ledger = entries
            .iter()
            .map(|entry| (entry.entry.seq, entry.clone()))
            .collect();
        Ok(Some(entries))
    }

    /// Creates a ledger entry; `AlreadyThere` when another planner took the number.
    pub async fn create_entry(&self, entry: &LedgerEntry) -> Result<Created> {
        let path = format!("ledger/{}.json", entry.seq);
        match self.write(&path, entry).await? {
            Created::New if self.is_behind(entry).await? => {
                // Whoever asks for it saw too little.
                self.delete(&path).await?;
                Ok(Created::AlreadyThere)
            }
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

    /// One entry of the ledger, if it was not collected.
    pub async fn entry(&self, seq: LedgerSeq) -> Result<Option<LedgerEntry>> {
        self.read(&format!("ledger/{seq}.json")).await
    }

    /// Says that the work of an entry is in the queues.
    pub async fn note_sent(&self, entry: &LedgerEntry) -> Result<()> {
        match self.store.create(&sent_path(entry), Bytes::new()).await? {
            Created::New | Created::AlreadyThere => Ok(()),
        }
    }

    /// Whether somebody said that the work of an entry is in the queues.
    pub async fn was_sent(&self, entry: &LedgerEntry) -> Result<bool> {
        let path = sent_path(entry);
        if self.cache().sent.contains(&path) {
            return Ok(true);
        }
        let was_sent = self.store.get(&path).await?.is_some();
        if was_sent {
            self.cache().sent.insert(path);
        }
        Ok(was_sent)
    }

    /// Whether the number of an entry, which was just created, was taken once before, and that entry was
    /// collected since: the newest entry is never collected, so that others with higher numbers are there.
    /// Another that came after ours, and says so, is no sign of it.
    async fn is_behind(&self, entry: &LedgerEntry) -> Result<bool> {
        let listed = self.store.list("ledger").await?;
        let numbers = listed
            .iter()
            .filter_map(|object| Some((ledger_seq(&object.path)?, object.created_ms)));
        let own = |(seq, _): &(LedgerSeq, u64)| *seq == entry.seq;
        if let Some((seq, created_ms)) = numbers.clone().find(own) {
            let stored = StoredEntry {
                entry: entry.clone(),
                created_ms,
            };
            // The next reading of the ledger need not fetch it.
            self.cache().ledger.insert(seq, Arc::new(stored));
        }
        let Some(next) = numbers
            .map(|(seq, _)| seq)
            .filter(|seq| *seq > entry.seq)
            .min()
        else {
            return Ok(false);
        };
        // One that is collected already was there for long.
        let next = self.entry(next).await?;
        Ok(next.is_none_or(|next| next.after.as_ref() != Some(&entry.token)))
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
            let mut missing: Vec<BatchId> = (batches.iter())
                .filter(|batch| !found.contains_key(*batch))
                .cloned()
                .collect();
            if missing.len() > FEW_CHECKPOINTS {
                let listed = self.store.list("checkpoints").await?;
                let there: BTreeSet<String> =
                    listed.into_iter().map(|object| object.path).collect();
                missing.retain(|batch| there.contains(&checkpoint_path(batch)));
            }
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

    /// Whether a batch may still leave a checkpoint manifest: it has none, and the ledger names it.
    pub async fn is_open(&self, batch: &BatchId) -> Result<bool> {
        if let Some(left) = self.checkpoint(batch).await? {
            self.learn(left.as_ref().clone());
            return Ok(false);
        }
        // Asked in this order, since an entry is collected before what its batches left.
        let entry = self.entry(batch.seq).await?;
        Ok(entry.is_some_and(|entry| entry.token == batch.token))
    }

    /// Remembers a checkpoint manifest that somebody read or wrote: it is in the store.
    pub fn learn(&self, manifest: CheckpointManifest) {
        let batch = manifest.batch.clone();
        self.cache().checkpoints.insert(batch, Arc::new(manifest));
    }

    /// Remembers an entry of the ledger that somebody wrote: the next listing that has one of its number
    /// and size need not read it.
    ///
    /// Should it be of a ledger that was deleted, what it ordered is of no use: each result is compared
    /// with the table before it is published.
    pub fn learn_entry(&self, entry: LedgerEntry) {
        let mut cache = self.cache();
        let is_other = |known: &Arc<StoredEntry>| known.entry.token != entry.token;
        if cache.ledger.get(&entry.seq).is_some_and(is_other) {
            cache.ledger.remove(&entry.seq);
        }
        cache.told.insert(entry.seq, entry);
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

    /// Objects of one folder, for collecting what nothing needs.
    pub async fn list(&self, folder: &str) -> Result<Vec<Listed>> {
        self.store.list(folder).await
    }

    /// Deletes an object that nothing needs.
    pub async fn delete(&self, path: &str) -> Result<()> {
        self.store.delete(path).await
    }
}

/// An entry of which somebody told, if it is what a listing has.
fn as_told(object: &Listed, told: &LedgerEntry) -> Option<Arc<StoredEntry>> {
    let size_bytes = encode(told).ok()?.len() as u64;
    (size_bytes == object.size_bytes).then(|| {
        Arc::new(StoredEntry {
            entry: told.clone(),
            created_ms: object.created_ms,
        })
    })
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
