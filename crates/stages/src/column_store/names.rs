//! Names of a column's objects in the state store.

use std::collections::BTreeSet;

use lance_backfill_core::ids::{BatchId, LedgerSeq};
use lance_backfill_core::ledger::LedgerEntry;
use lance_backfill_ports::state_store::Listed;

/// One file of a snapshot: it replaces all files numbered `since..=seq`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SnapshotFile {
    /// Newest file that it replaces: itself.
    pub seq: u64,
    /// Oldest file that it replaces.
    pub since: u64,
    /// Entries in it.
    pub entries: usize,
    /// When it was created; none of one that this process wrote and has not listed since.
    pub created_ms: Option<u64>,
}

impl SnapshotFile {
    pub(super) fn path(&self) -> String {
        format!("snapshot/{:020}-{:020}.arrow", self.seq, self.since)
    }

    pub(super) fn parse(path: &str) -> Option<Self> {
        let (seq, since) = path
            .strip_prefix("snapshot/")?
            .strip_suffix(".arrow")?
            .split_once('-')?;
        Some(Self {
            seq: seq.parse().ok()?,
            since: since.parse().ok()?,
            entries: 0,
            created_ms: None,
        })
    }
}

/// The files to read, oldest first: from the newest back, each with the longest reach.
pub fn snapshot_chain(files: impl Iterator<Item = SnapshotFile>) -> Vec<SnapshotFile> {
    let mut files: Vec<SnapshotFile> = files.collect();
    // Of the same number, the one with the longest reach comes first.
    files.sort_unstable_by(|left, right| {
        right.seq.cmp(&left.seq).then(left.since.cmp(&right.since))
    });
    let mut chain: Vec<SnapshotFile> = vec![];
    for file in files {
        let wanted = chain.last().map_or(u64::MAX, |last| last.since - 1);
        if file.seq <= wanted && file.since >= 1 {
            chain.push(file);
        }
    }
    chain.reverse();
    chain
}

pub(super) fn ledger_seq(path: &str) -> Option<LedgerSeq> {
    path.strip_prefix("ledger/")?
        .strip_suffix(".json")?
        .parse()
        .ok()
        .map(LedgerSeq)
}

/// Path of the mark that an entry's work is in the queues.
pub(crate) fn sent_path(entry: &LedgerEntry) -> String {
    format!("sent/{}-{}", entry.seq, entry.token)
}

/// Path of a batch's checkpoint manifest.
pub fn checkpoint_path(batch: &BatchId) -> String {
    format!("checkpoints/{batch}.json")
}

/// The batch that a checkpoint manifest's path names.
pub(crate) fn checkpoint_batch(path: &str) -> Option<BatchId> {
    path.strip_prefix("checkpoints/")?
        .strip_suffix(".json")?
        .parse()
        .ok()
}

/// The batch that a values file's path names.
pub(crate) fn values_batch(path: &str) -> Option<BatchId> {
    let (batch, _) = path.strip_prefix("values/")?.split_once('/')?;
    batch.parse().ok()
}

/// Snapshot files that a newer one replaces.
pub(crate) fn superseded_snapshots(listed: &[Listed]) -> BTreeSet<String> {
    let all = || {
        listed
            .iter()
            .filter_map(|object| SnapshotFile::parse(&object.path))
    };
    let needed: BTreeSet<String> = snapshot_chain(all())
        .iter()
        .map(SnapshotFile::path)
        .collect();
    all()
        .map(|file| file.path())
        .filter(|path| !needed.contains(path))
        .collect()
}

pub(super) fn identity_record(path: &str) -> Option<(String, u64)> {
    let (key, number) = path
        .strip_prefix("coverage/id/")?
        .strip_suffix(".json")?
        .split_once('/')?;
    Some((key.to_owned(), number.parse().ok()?))
}
