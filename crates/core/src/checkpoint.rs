//! Checkpoint manifests: what a batch left behind, one per batch, immutable.

use serde::{Deserialize, Serialize};

use crate::coverage::RowErrors;
use crate::format::Stored;
use crate::identity::Identity;
use crate::ids::{BatchId, BindingId, FragmentId, GenerationId, JobId};
use crate::rows::RowSet;

/// The durable result of one batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointManifest {
    /// Format of this JSON.
    pub version: u32,
    /// The batch.
    pub batch: BatchId,
    /// Its column.
    pub binding: BindingId,
    /// What computed the values.
    pub generation: GenerationId,
    /// Job that ordered it, if one did.
    pub job: Option<JobId>,
    /// Random id of this attempt: tells our own write from another's after a lost answer.
    pub attempt: String,
    /// Table version that was read.
    pub read_version: u64,
    /// One entry per slice, in the order of the batch.
    pub slices: Vec<SliceResult>,
    /// What stopped the batch before its end, if something did.
    pub fault: Option<Fault>,
    /// Function calls made, bisection included.
    pub calls: u64,
    /// Time that workers were at it, one after the other: waiting for a free one does not count.
    pub elapsed_ms: u64,
    /// When it was finished, in milliseconds since the epoch, by the clock of whoever did it: for
    /// watching only.
    pub finished_ms: u64,
    /// Bytes of staged files and values files.
    pub bytes_written: u64,
}

impl Stored for CheckpointManifest {
    const WHAT: &'static str = "a checkpoint manifest";
    const VERSION: u32 = 1;
}

/// What became of one slice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SliceResult {
    /// Fragment.
    pub fragment: FragmentId,
    /// Identity of the inputs that the values were made from.
    pub in_id: Identity,
    /// Rows with a non-null result.
    pub values: RowSet,
    /// Rows with a NULL result.
    pub nulls: RowSet,
    /// Rows that could not be computed.
    pub failed: Vec<RowErrors>,
    /// Where the results are.
    pub output: SliceOutput,
}

/// Where the results of a slice are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SliceOutput {
    /// In a staged column file that a commit can publish as it is.
    ColumnFile(StagedColumnFile),
    /// In a values file that a fold will read.
    Values(ValuesFile),
    /// Nothing to store: each result equals what stands in the column, or failed.
    Nothing,
    /// The inputs changed or the fragment is gone: nothing was computed.
    Obsolete,
}

/// A column file that no manifest names yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StagedColumnFile {
    /// Name under the table's data folder.
    pub name: String,
    /// Size when it was written.
    pub size_bytes: u64,
    /// Rows in it: all physical rows of the fragment.
    pub physical_rows: u32,
    /// Identity of the column that it was laid over.
    pub over: Option<Identity>,
    /// The table's own description of the file, as its adapter wrote it.
    pub descriptor: String,
}

/// Values of some rows, in ascending order of their offsets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValuesFile {
    /// Path in the state store.
    pub path: String,
    /// Rows that have a value or NULL in it.
    pub rows: RowSet,
    /// Size when it was written.
    pub size_bytes: u64,
}

/// What stopped a batch: never a single row's fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What kind of thing went wrong.
    pub kind: FaultKind,
    /// One line for a person.
    pub message: String,
    /// Where the function was, if it can tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceback: Option<String>,
}

/// Kinds of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The function cannot be called at all.
    Function,
    /// The environment cannot be set up.
    Environment,
    /// Inputs or outputs do not have the declared types.
    Schema,
    /// Storage failed after its retries.
    Storage,
    /// More rows failed than the policy allows.
    Budget,
}

impl CheckpointManifest {
    /// The fault that hit the whole batch, if one did: no row of it is to blame.
    pub fn fault_of_all(&self) -> Option<&Fault> {
        let of_all = |fault: &&Fault| fault.kind != FaultKind::Budget;
        self.fault.as_ref().filter(of_all)
    }

    /// Whether it shows that the function can be called, whatever became of single rows.
    pub fn shows_success(&self) -> bool {
        self.calls > 0 && self.fault_of_all().is_none()
    }

    /// Rows that were computed, NULL results counted.
    pub fn rows_computed(&self) -> u64 {
        self.slices
            .iter()
            .map(|slice| slice.values.len() + slice.nulls.len())
            .sum()
    }

    /// Rows that failed.
    pub fn rows_failed(&self) -> u64 {
        self.slices
            .iter()
            .flat_map(|slice| &slice.failed)
            .map(|error| error.rows.len())
            .sum()
    }
}

impl SliceResult {
    /// All rows that the slice speaks of.
    pub fn done(&self) -> RowSet {
        let mut rows = self.values.union(&self.nulls);
        for error in &self.failed {
            rows.extend(&error.rows);
        }
        rows
    }

    /// Forgets what it says of other rows than these.
    pub fn keep(&mut self, rows: &RowSet) {
        self.values = self.values.intersection(rows);
        self.nulls = self.nulls.intersection(rows);
        for errors in &mut self.failed {
            errors.rows = errors.rows.intersection(rows);
        }
        self.failed.retain(|errors| !errors.rows.is_empty());
    }

    /// Rows that failed.
    pub fn failed_rows(&self) -> RowSet {
        let mut rows = RowSet::new();
        for error in &self.failed {
            rows.extend(&error.rows);
        }
        rows
    }
}
