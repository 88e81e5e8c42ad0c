//! Reads along in the state store while the program works, because spent objects are collected.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use lance_backfill_core::checkpoint::CheckpointManifest;
use lance_backfill_core::format::{Stored, decode};

use super::table::{Table, files_below};

/// Time between two looks: far less than between a checkpoint manifest and its collection, where the
/// machine does nothing else.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// All objects of one kind, by path.
pub(crate) type Objects<T> = BTreeMap<PathBuf, T>;

/// Reads the objects below the folders of this name that are not known yet.
pub(crate) fn read_new<T: Stored>(state: &Path, folder: &str, known: &mut Objects<T>) {
    for path in files_below(state).into_keys() {
        let kind = path.parent().and_then(Path::file_name);
        if kind != Some(folder.as_ref())
            || path.extension() != Some("json".as_ref())
            || known.contains_key(&path)
        {
            continue;
        }
        // Collected meanwhile: then it was seen before, or nobody can see it.
        if let Ok(bytes) = std::fs::read(&path) {
            known.insert(path, decode(&bytes).expect("a sound state object"));
        }
    }
}

/// Rows that a function was called for, as checkpoint manifests tell: no more than that, since one that
/// came and went between two looks is not among them. That all were computed, their values tell.
pub(crate) fn rows_called(manifests: &Objects<CheckpointManifest>) -> u64 {
    (manifests.values())
        .filter(|manifest| manifest.calls > 0)
        .map(|manifest| manifest.rows_computed() + manifest.rows_failed())
        .sum()
}

/// Collects the checkpoint manifests that appear while it lives.
pub(crate) struct CheckpointLog {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Objects<CheckpointManifest>>,
}

impl CheckpointLog {
    /// Starts; what is there already does not count.
    pub(crate) fn start(table: &Table) -> Self {
        let state = table.state_folder();
        let mut found = Objects::new();
        read_new(&state, "checkpoints", &mut found);
        let old: Vec<PathBuf> = found.keys().cloned().collect();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            loop {
                // Once more after the end: nothing appears any more.
                let last = stopped.load(Ordering::Acquire);
                read_new(&state, "checkpoints", &mut found);
                if last {
                    break;
                }
                std::thread::sleep(LOOK_EVERY);
            }
            found.retain(|path, _| !old.contains(path));
            found
        });
        Self { stop, thread }
    }

    /// Ends; returns the manifests that appeared.
    pub(crate) fn finish(self) -> Objects<CheckpointManifest> {
        self.stop.store(true, Ordering::Release);
        self.thread.join().expect("the watcher ends")
    }
}
