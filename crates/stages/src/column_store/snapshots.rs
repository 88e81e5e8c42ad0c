//! The coverage snapshot: few files, the newer of which replace parts of the older.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use lance_backfill_core::snapshot::CoverageSnapshot;
use lance_backfill_ports::Result;
use lance_backfill_ports::state_store::{Created, Listed};

use super::{ColumnStore, LoadedSnapshot, SnapshotFile, at, snapshot_chain};

/// Folder of its files.
pub(super) const FOLDER: &str = "snapshot";

/// Files that are remembered by themselves: those that cycles of a few new fragments write.
const MOST_PARTS: usize = 8;
/// Entries of such a file; one has about 60 bytes.
const MOST_ENTRIES_OF_A_PART: usize = 1_024;

impl ColumnStore {
    /// The coverage snapshot, put together from its newest files.
    pub async fn snapshot(&self) -> Result<Arc<LoadedSnapshot>> {
        let listed = self.store.list(FOLDER).await?;
        self.snapshot_of(&listed).await
    }

    /// The snapshot as this process read it last: what it says holds, and newer files may say more.
    pub fn known_snapshot(&self) -> Arc<LoadedSnapshot> {
        self.cache().snapshot.clone()
    }

    /// The same, of files that are listed.
    pub(super) async fn snapshot_of(&self, listed: &[Listed]) -> Result<Arc<LoadedSnapshot>> {
        let chain = snapshot_chain(listed.iter().filter_map(|object| {
            let created_ms = Some(object.created_ms);
            SnapshotFile::parse(&object.path).map(|file| SnapshotFile { created_ms, ..file })
        }));
        let known = self.cache().snapshot.clone();
        let same = |file: &SnapshotFile, other: &SnapshotFile| {
            // A store that was deleted begins at 1 again: the same numbers are another file.
            let same_time = file.created_ms.is_none() || file.created_ms == other.created_ms;
            (file.seq, file.since) == (other.seq, other.since) && same_time
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
        let is_torn = has_rivals(listed);
        if shared && known.files.len() == chain.len() && known.is_torn == is_torn {
            return Ok(known);
        }
        loaded.is_torn = is_torn;
        if !shared {
            self.cache().parts.clear();
        }
        for mut file in chain.into_iter().skip(loaded.files.len()) {
            let path = file.path();
            let Some(bytes) = self.store.get(&path).await? else {
                // Collected meanwhile: a snapshot is a cache, the next listing finds its successor.
                loaded.is_torn = true;
                break;
            };
            let newer =
                CoverageSnapshot::decode(&bytes).map_err(|error| at(&path, error.into()))?;
            file.entries = newer.entries.len();
            self.remember_part(&file, &newer);
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
    ///
    /// Create-if-absent: `AlreadyThere` when another process extended it first, and then nothing of it
    /// is stored; the next survey finds it again.
    pub async fn extend_snapshot(
        &self,
        base: &LoadedSnapshot,
        newer: CoverageSnapshot,
    ) -> Result<Created> {
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
            created_ms: None,
        };
        match self
            .store
            .create(&file.path(), Bytes::from(written.encode()?))
            .await?
        {
            Created::New => {
                self.remember_part(&file, &written);
                let mut files = base.files.get(..kept).unwrap_or_default().to_vec();
                files.push(file);
                self.cache().snapshot = Arc::new(LoadedSnapshot {
                    snapshot: merged,
                    files,
                    is_torn: false,
                });
                Ok(Created::New)
            }
            Created::AlreadyThere => Ok(Created::AlreadyThere),
        }
    }

    /// Remembers a small file, which the next extension may lay together with its own entries.
    fn remember_part(&self, file: &SnapshotFile, content: &CoverageSnapshot) {
        if content.entries.len() > MOST_ENTRIES_OF_A_PART {
            return;
        }
        let mut cache = self.cache();
        if cache.parts.len() >= MOST_PARTS {
            cache.parts.pop_first();
        }
        cache.parts.insert((file.seq, file.since), content.clone());
    }

    async fn merge_files(
        &self,
        files: &[SnapshotFile],
        newer: CoverageSnapshot,
    ) -> Result<CoverageSnapshot> {
        let mut merged: Option<CoverageSnapshot> = None;
        for file in files {
            let known = self.cache().parts.get(&(file.seq, file.since)).cloned();
            let part = match known {
                Some(known) => known,
                None => {
                    let Some(bytes) = self.store.get(&file.path()).await? else {
                        continue;
                    };
                    CoverageSnapshot::decode(&bytes)
                        .map_err(|error| at(&file.path(), error.into()))?
                }
            };
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
}

/// Whether two processes wrote a file of one number: the chain has one of them, and what the other
/// accounts for is not in it.
fn has_rivals(listed: &[Listed]) -> bool {
    let files = || (listed.iter()).filter_map(|object| SnapshotFile::parse(&object.path));
    let numbers: BTreeSet<u64> = files().map(|file| file.seq).collect();
    numbers.len() < files().count()
}
