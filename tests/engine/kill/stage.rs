//! What a killed process was doing, told from the files that it left: nothing of ours is asked.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use lance_backfill_core::batch::Work;
use lance_backfill_core::checkpoint::{CheckpointManifest, SliceOutput};
use lance_backfill_core::ids::BatchId;
use lance_backfill_core::ledger::LedgerEntry;
use lance_backfill_core::snapshot::CoverageSnapshot;

use super::strike::names;
use crate::support::Scenario;
use crate::support::watch::{Objects, read_new};

/// How far a refresh of one column got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// It has not found out yet that there is work.
    Start,
    /// It has the lock of a session, which a plan needs, and has handed nothing out.
    Plan,
    /// A batch is in the ledger, and nothing of it is staged.
    Execute,
    /// A column file or values file is complete, and no checkpoint manifest names it.
    Staged,
    /// A checkpoint manifest names results that no table version has.
    Checkpointed,
    /// A table version has them, and the process has not taken note of it in the snapshot.
    Committed,
    /// All work was done and noted.
    Over,
}

/// The stages in which there must be kills.
pub(super) const STAGES: [Stage; 5] = [
    Stage::Plan,
    Stage::Execute,
    Stage::Staged,
    Stage::Checkpointed,
    Stage::Committed,
];

impl fmt::Display for Stage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Start => "start",
            Self::Plan => "plan",
            Self::Execute => "execute",
            Self::Staged => "staged but not checkpointed",
            Self::Checkpointed => "checkpointed but not committed",
            Self::Committed => "committed but not acknowledged",
            Self::Over => "over",
        })
    }
}

/// What was there before a refresh was started, with one computed column.
pub(super) struct Before {
    version: u64,
    data: BTreeSet<PathBuf>,
    versions: BTreeSet<PathBuf>,
    locks: BTreeSet<PathBuf>,
    ledger: Objects<LedgerEntry>,
    checkpoints: Objects<CheckpointManifest>,
    /// Folders of the columns' states.
    columns: Vec<PathBuf>,
    objects: BTreeSet<PathBuf>,
    values: BTreeSet<PathBuf>,
}

/// What was found after a kill.
pub(super) struct Scene {
    /// Where the kill fell. Batches run side by side, so it may be several stages at once: the one that
    /// lasts shortest counts, and each kill counts once.
    pub(super) stage: Stage,
    /// Rows with a checkpoint manifest, published or not.
    pub(super) rows_finished: u64,
    open: usize,
    staged: usize,
    unpublished: usize,
    published: usize,
}

impl fmt::Display for Scene {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            stage,
            rows_finished,
            open,
            staged,
            unpublished,
            published,
        } = self;
        write!(
            formatter,
            "{stage} (batches: {open} open, {unpublished} unpublished, {published} published; \
             {staged} files staged only; {rows_finished} rows finished)"
        )
    }
}

impl Before {
    pub(super) async fn of(scenario: &Scenario) -> Self {
        let state = scenario.state_folder();
        let (mut ledger, mut checkpoints) = (Objects::new(), Objects::new());
        read_new(&state, "ledger", &mut ledger);
        read_new(&state, "checkpoints", &mut checkpoints);
        let columns: Vec<PathBuf> = names(&state).into_iter().collect();
        let below = |folder: &'static str| {
            let folders = columns.iter().map(move |column| column.join(folder));
            folders.flat_map(|folder| names(&folder))
        };
        Self {
            version: scenario.version().await,
            data: column_files(scenario),
            versions: names(&scenario.root().join("_versions")),
            locks: names(&scenario.cache().join("sessions")),
            objects: below("ledger").chain(below("checkpoints")).collect(),
            values: below("values").flat_map(|batch| names(&batch)).collect(),
            ledger,
            checkpoints,
            columns,
        }
    }

    /// Whether a file is there by which the stage shows.
    pub(super) fn in_sight(&self, scenario: &Scenario, stage: Stage) -> bool {
        let new_in = |folder: &str| {
            (self.columns.iter())
                .flat_map(|column| names(&column.join(folder)))
                .any(|path| !self.objects.contains(&path) && !is_temporary(&path))
        };
        match stage {
            Stage::Start | Stage::Over => false,
            Stage::Plan => !(names(&scenario.cache().join("sessions"))).is_subset(&self.locks),
            Stage::Execute => new_in("ledger"),
            Stage::Staged => {
                !column_files(scenario).is_subset(&self.data)
                    || (self.columns.iter())
                        .flat_map(|column| names(&column.join("values")))
                        .flat_map(|batch| names(&batch))
                        .any(|path| !self.values.contains(&path) && !is_temporary(&path))
            }
            Stage::Checkpointed => new_in("checkpoints"),
            Stage::Committed => (names(&scenario.root().join("_versions")).iter())
                .any(|path| !self.versions.contains(path) && is_manifest(path)),
        }
    }

    /// Checkpoint manifests that were not there before.
    pub(super) fn checkpoints_since(&self, scenario: &Scenario) -> usize {
        let mut found = self.checkpoints.clone();
        read_new(&scenario.state_folder(), "checkpoints", &mut found);
        found.len() - self.checkpoints.len()
    }

    /// Finds out what the process was doing.
    pub(super) async fn examine(&self, scenario: &Scenario) -> Scene {
        let state = scenario.state_folder();
        let (mut ledger, mut checkpoints) = (self.ledger.clone(), self.checkpoints.clone());
        read_new(&state, "ledger", &mut ledger);
        read_new(&state, "checkpoints", &mut checkpoints);
        ledger.retain(|path, _| !self.ledger.contains_key(path));
        checkpoints.retain(|path, _| !self.checkpoints.contains_key(path));
        let work: Vec<(BatchId, Work)> = (ledger.values()).flat_map(LedgerEntry::work).collect();
        let dataset = scenario.open().await;
        let version = dataset.version_id();
        let published: BTreeSet<String> = (dataset.fragments().iter())
            .flat_map(|fragment| &fragment.files)
            .map(|file| file.path.clone())
            .collect();

        let done: BTreeSet<&BatchId> = (checkpoints.values())
            .map(|manifest| &manifest.batch)
            .collect();
        let open: BTreeSet<&BatchId> = (work.iter())
            .map(|(batch, _)| batch)
            .filter(|batch| !done.contains(batch))
            .collect();
        let is_published = |manifest: &CheckpointManifest| {
            (manifest.slices.iter()).any(|slice| match &slice.output {
                SliceOutput::ColumnFile(file) => published.contains(&file.name),
                SliceOutput::Values(_) | SliceOutput::Nothing | SliceOutput::Obsolete => false,
            })
        };
        let mut finished: BTreeSet<&BatchId> = (checkpoints.values())
            .filter(|manifest| is_published(manifest))
            .map(|manifest| &manifest.batch)
            .collect();
        // The parts of a published fold are published with it.
        let folded: Vec<&BatchId> = (work.iter())
            .filter(|(batch, _)| finished.contains(batch))
            .filter_map(|(_, work)| match work {
                Work::Fold(fold) => Some(fold.parts.iter().map(|part| &part.batch)),
                Work::Compute(_) => None,
            })
            .flatten()
            .collect();
        finished.extend(folded.into_iter().filter(|batch| done.contains(*batch)));
        let unpublished = done.difference(&finished).count();

        let named: BTreeSet<&str> = (checkpoints.values())
            .flat_map(|manifest| &manifest.slices)
            .filter_map(|slice| match &slice.output {
                SliceOutput::ColumnFile(file) => Some(file.name.as_str()),
                _ => None,
            })
            .collect();
        let mut staged = (column_files(scenario).difference(&self.data))
            .filter(|path| {
                let name = path
                    .file_name()
                    .and_then(|name| name.to_str())
                    .unwrap_or("");
                !named.contains(name) && !published.contains(name)
            })
            .count();
        for column in &self.columns {
            let values = names(&column.join("values"));
            let of_open =
                |path: &&PathBuf| (open.iter()).any(|batch| path.ends_with(batch.to_string()));
            staged += (values.iter().filter(of_open))
                .flat_map(|folder| names(folder))
                .filter(|path| !is_temporary(path))
                .count();
        }

        let stage = if staged > 0 {
            Stage::Staged
        } else if version > self.version && self.noted(&state) < version {
            Stage::Committed
        } else if unpublished > 0 {
            Stage::Checkpointed
        } else if !open.is_empty() {
            Stage::Execute
        } else if !work.is_empty() {
            Stage::Over
        } else if names(&scenario.cache().join("sessions")).is_subset(&self.locks) {
            Stage::Start
        } else {
            Stage::Plan
        };
        Scene {
            stage,
            rows_finished: (checkpoints.values())
                .filter(|manifest| manifest.calls > 0)
                .map(CheckpointManifest::rows_computed)
                .sum(),
            open: open.len(),
            staged,
            unpublished,
            published: finished.len(),
        }
    }

    /// The table version that the newest snapshot accounts for.
    fn noted(&self, state: &Path) -> u64 {
        let newest = (names(state).iter())
            .flat_map(|column| names(&column.join("snapshot")))
            .filter(|path| path.extension() == Some("arrow".as_ref()))
            .max();
        newest.map_or(0, |path| {
            let bytes = std::fs::read(path).expect("reads");
            let snapshot = CoverageSnapshot::decode(&bytes).expect("a sound snapshot");
            snapshot.head.table_version
        })
    }
}

/// Complete column files: Lance writes under another name and renames.
fn column_files(scenario: &Scenario) -> BTreeSet<PathBuf> {
    let mut files = names(&scenario.root().join("data"));
    files.retain(|path| path.extension() == Some("lance".as_ref()));
    files
}

fn is_manifest(path: &Path) -> bool {
    path.extension() == Some("manifest".as_ref()) && !is_temporary(path)
}

/// Whether the file is being written: the object store writes `<name>#<number>`, Lance `.tmp…`.
fn is_temporary(path: &Path) -> bool {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or("");
    name.contains('#') || name.contains("tmp")
}
