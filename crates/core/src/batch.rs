//! Units of work as they are stored in the ledger and sent through queues.

use serde::{Deserialize, Serialize};

use crate::checkpoint::SliceResult;
use crate::format::Stored;
use crate::identity::Identity;
use crate::ids::{BatchId, BindingId, FragmentId, GenerationId, JobId};
use crate::journey::{Journey, Site};
use crate::ledger::LedgerEntry;
use crate::rows::RowSet;
use crate::table::SeenVersion;

/// Some rows of one fragment, computed under one identity of its inputs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slice {
    /// Fragment.
    pub fragment: FragmentId,
    /// Identity of the inputs that the values will be made from.
    pub in_id: Identity,
    /// Identity of the column when the slice was planned.
    pub out: Option<Identity>,
    /// Rows to compute.
    pub rows: RowSet,
    /// Where the values go.
    pub target: Target,
}

/// Where the values of a slice go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Straight into the fragment's next column file, laid over what stands in the column.
    ColumnFile,
    /// Into a values file, for a fold to pick up.
    Values,
}

/// Which lane of a pool a batch takes: new rows overtake bulk work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// Rows that just arrived.
    Fresh,
    /// Backfills and recomputes.
    Bulk,
}

impl Lane {
    /// As it is stored and logged.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Bulk => "bulk",
        }
    }
}

/// A batch as a planner orders it: slices of about one target time of work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchSpec {
    /// What to compute; each fragment occurs once.
    pub slices: Vec<Slice>,
    /// Seconds after the ledger entry was stored when somebody else may take the batch over.
    pub deadline_s: u64,
}

impl BatchSpec {
    /// Rows to compute.
    pub fn rows(&self) -> u64 {
        self.slices.iter().map(|slice| slice.rows.len()).sum()
    }
}

/// A fold as a planner orders it: the finished parts of one fragment become one column file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FoldSpec {
    /// Fragment.
    pub fragment: FragmentId,
    /// Identity of what all accepted generations read: each part was made from some of it.
    pub in_id: Identity,
    /// Identity of the column that the parts are laid over.
    pub out: Option<Identity>,
    /// Finished parts of the fragment, in ledger order: the later wins a row.
    pub parts: Vec<FoldPart>,
    /// Rows that the parts may speak of: the others were corrected or computed again meanwhile.
    pub rows: RowSet,
    /// Seconds after the ledger entry was stored when somebody else may take the fold over.
    pub deadline_s: u64,
}

/// What one batch has finished of a fragment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FoldPart {
    /// The batch.
    pub batch: BatchId,
    /// How its rows came here, if they were in another fragment when they were computed.
    pub journey: Option<Journey>,
}

impl FoldPart {
    /// What a slice of its batch says of the rows that are in this fragment now, if it is of them.
    pub fn result(&self, slice: &SliceResult, here: FragmentId) -> Option<SliceResult> {
        match &self.journey {
            None => (slice.fragment == here).then(|| slice.clone()),
            Some(journey) => {
                let came =
                    (slice.fragment, slice.in_id) == (journey.from.fragment, journey.from.in_id);
                (came && here == journey.to.fragment).then(|| journey.result(slice))
            }
        }
    }
}

impl Slice {
    /// Where its rows are when it is planned.
    pub fn site(&self) -> Site {
        Site {
            fragment: self.fragment,
            in_id: self.in_id,
        }
    }
}

/// What a worker gets: one queue message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchMessage {
    /// Format of this JSON.
    pub version: u32,
    /// Identity of the batch; its checkpoint manifest has this name.
    pub batch: BatchId,
    /// Table that it belongs to.
    pub table: String,
    /// Column that it belongs to.
    pub binding: BindingId,
    /// Generation that must still be the column's.
    pub generation: GenerationId,
    /// Job that ordered it, if one did.
    pub job: Option<JobId>,
    /// Lane it was sent through.
    pub lane: Lane,
    /// What to do; without, what the ledger says of the batch.
    pub work: Option<Work>,
    /// Version that it was planned from; none where the batch was handed out before and is sent again.
    pub seen: Option<SeenVersion>,
    /// The ledger's entry that handed it out, which is durable already, where it is a small one.
    pub entry: Option<LedgerEntry>,
}

impl Stored for BatchMessage {
    const WHAT: &'static str = "a batch message";
    const VERSION: u32 = 1;
}

/// What a batch asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Work {
    /// Call the function.
    Compute(BatchSpec),
    /// Lay finished parts together.
    Fold(FoldSpec),
}
