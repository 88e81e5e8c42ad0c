//! Messages between the stages of a deployed service, beside the batches themselves.
//!
//! A message only says where to look: what is to be done is in the table and its records. So each may
//! be lost, repeated or late, and nothing but time is lost.

use serde::{Deserialize, Serialize};

use crate::checkpoint::CheckpointManifest;
use crate::format::Stored;
use crate::ids::{BatchId, BindingId};
use crate::ledger::LedgerEntry;

/// Plans of one table that may follow one another because the one before ran out of time: what takes
/// longer is left to the schedule, so that no chain of messages runs for ever.
///
/// Half as many leave a table of many columns to the schedule where planners have little time; twice as
/// many are what Lambda itself takes for a loop.
pub const MOST_HOPS: u32 = 8;

/// Asks the planner to look at a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanMessage {
    /// Format of this JSON.
    pub version: u32,
    /// URI of the table.
    pub table: String,
    /// Why it should.
    pub why: Wake,
    /// Messages that led to this one, each because the plan before it ran out of time.
    pub hops: u32,
}

impl Stored for PlanMessage {
    const WHAT: &'static str = "a plan message";
    const VERSION: u32 = 1;
}

/// Why a table is to be looked at; what asks for the closest look comes last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wake {
    /// It has a new version, or work of it is finished.
    Committed,
    /// A person asked for something, or ended a hold.
    Requested,
    /// It is time to reconcile.
    Scheduled,
    /// Work goes on after a pause, in which workers acknowledged batches without doing them.
    Resumed,
}

impl Wake {
    /// Whether what nobody else would find is looked for as well.
    pub fn reconciles(self) -> bool {
        self >= Self::Scheduled
    }
}

impl PlanMessage {
    /// The first of a chain, in the format of today.
    pub const fn new(table: String, why: Wake) -> Self {
        Self {
            version: Self::VERSION,
            table,
            why,
            hops: 0,
        }
    }

    /// What goes on where this plan stopped; `None` where the chain is as long as it may be.
    pub fn next(&self) -> Option<Self> {
        let hops = self.hops.saturating_add(1);
        (hops < MOST_HOPS).then(|| Self {
            hops,
            ..self.clone()
        })
    }
}

/// Asks the committer to publish what is finished of a column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommitMessage {
    /// Format of this JSON.
    pub version: u32,
    /// URI of the table.
    pub table: String,
    /// Column.
    pub binding: BindingId,
    /// Batch that was finished, if that is why.
    pub batch: Option<BatchId>,
    /// Its checkpoint manifest, which is durable already, where it is not too large.
    pub checkpoint: Option<CheckpointManifest>,
    /// The ledger's entry that handed it out, as the batch's message has it.
    pub entry: Option<LedgerEntry>,
}

impl Stored for CommitMessage {
    const WHAT: &'static str = "a commit message";
    const VERSION: u32 = 1;
}

/// Says that a service keeps a table up to date, or that it is to leave it alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegisteredTable {
    /// Format of this JSON.
    pub version: u32,
    /// URI of the table.
    pub table: String,
    /// Whether somebody took it out: its events lead to nothing then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub removed: bool,
}

impl RegisteredTable {
    /// A table that is kept up to date.
    pub const fn new(table: String) -> Self {
        Self {
            version: Self::VERSION,
            table,
            removed: false,
        }
    }
}

impl Stored for RegisteredTable {
    const WHAT: &'static str = "the registration of a table";
    const VERSION: u32 = 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_of_plans_ends() {
        for why in [Wake::Committed, Wake::Requested, Wake::Scheduled] {
            let first = PlanMessage::new("s3://lake/t.lance".to_owned(), why);
            let chain: Vec<_> = std::iter::successors(Some(first), PlanMessage::next).collect();
            assert_eq!(u32::try_from(chain.len()), Ok(MOST_HOPS));
            assert!(chain.iter().all(|plan| plan.why == why));
        }
        let endless = PlanMessage {
            hops: u32::MAX,
            ..PlanMessage::new(String::new(), Wake::Committed)
        };
        assert_eq!(endless.next(), None);
    }
}
