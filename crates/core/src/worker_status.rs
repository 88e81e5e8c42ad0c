//! What a worker in a pod says of itself, for those who scale the pods and those who look.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::format::Stored;
use crate::ids::{BatchId, GenerationId};

/// Folder under a service's prefix: below it a folder for each class, and in that one for each worker.
pub const WORKERS: &str = "workers";
/// A worker says something about so often, in milliseconds; at once when it becomes busy or idle.
pub const SAYS_EVERY_MS: u64 = 10_000;
/// A worker that said nothing for so long is gone: it died, or its machine did.
pub const GONE_AFTER_MS: u64 = 60_000;

/// A worker as it last said it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerStatus {
    /// Format of this JSON.
    pub version: u32,
    /// Class whose batches it takes.
    pub class: String,
    /// Its name, of which there is one in its class.
    pub name: String,
    /// Machine that it runs on, if it knows.
    pub node: Option<String>,
    /// Pod that it runs in, if it knows.
    pub pod: Option<String>,
    /// Devices that it may use, as CUDA numbers them; none on CPUs.
    pub device: Option<String>,
    /// When it started, by its own clock, in milliseconds since the epoch.
    pub since_ms: u64,
    /// When it said this, by the same.
    pub seen_ms: u64,
    /// Batches that it has, at work or waiting for the device.
    pub busy: BTreeSet<BatchId>,
    /// Batches that it has done since it started.
    pub batches_done: u64,
    /// Generations that it has computed with since it started.
    pub functions_loaded: BTreeSet<GenerationId>,
    /// Whether it takes nothing more, and ends when what it has is done.
    pub draining: bool,
}

impl Stored for WorkerStatus {
    const WHAT: &'static str = "the status of a worker";
    const VERSION: u32 = 1;
}

impl WorkerStatus {
    /// Folder of its objects, under the service's prefix.
    pub fn folder(class: &str, name: &str) -> String {
        format!("{WORKERS}/{class}/{name}")
    }

    /// Where what it says for the `number`th time is: the last one by name is the newest.
    pub fn path(class: &str, name: &str, number: u64) -> String {
        format!("{}/{number:020}.json", Self::folder(class, name))
    }

    /// Whether it said so too long ago to be still there.
    pub const fn is_gone(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.seen_ms) > GONE_AFTER_MS
    }
}

/// Of what all workers said, by path, what each said last.
pub fn newest_of_each<'a>(paths: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut newest: BTreeMap<&str, &str> = BTreeMap::new();
    for path in paths.filter(|path| path.ends_with(".json")) {
        let Some((folder, _)) = path.rsplit_once('/') else {
            continue;
        };
        let known = newest.entry(folder).or_insert(path);
        *known = (*known).max(path);
    }
    newest.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_each_worker_said_last_counts() {
        let path = WorkerStatus::path;
        let all = [
            path("l4", "a-0", 9),
            path("l4", "a-0", 10),
            path("l4", "a-1", 2),
            path("ray-cpu", "a-0", 1),
            "workers/l4/a-0/note.txt".to_owned(),
        ];
        let newest = newest_of_each(all.iter().map(String::as_str));
        assert_eq!(newest, [&all[1], &all[2], &all[3]]);
    }

    #[test]
    fn who_says_nothing_for_long_is_gone() {
        let status = WorkerStatus {
            version: WorkerStatus::VERSION,
            class: "l4".to_owned(),
            name: "a-0".to_owned(),
            node: None,
            pod: None,
            device: None,
            since_ms: 0,
            seen_ms: 100_000,
            busy: BTreeSet::new(),
            batches_done: 0,
            functions_loaded: BTreeSet::new(),
            draining: false,
        };
        assert!(!status.is_gone(99_000), "clocks differ");
        assert!(!status.is_gone(100_000 + GONE_AFTER_MS));
        assert!(status.is_gone(100_001 + GONE_AFTER_MS));
        // Several may be missed.
        const { assert!(GONE_AFTER_MS > 3 * SAYS_EVERY_MS) };
    }
}
