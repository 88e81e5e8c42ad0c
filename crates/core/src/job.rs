//! Jobs: what a person asked to have computed, which rows that are, and how it ended.

use serde::{Deserialize, Serialize};

use crate::coverage::{CoverageRecord, Outcome, Run};
use crate::format::Stored;
use crate::ids::{BindingId, GenerationId, JobId, LedgerSeq};
use crate::rows::RowSet;
use crate::state::FragmentState;

/// Which rows a job is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    /// Which of the selected rows are computed.
    pub take: Take,
    /// Rows that match, SQL over the table's columns; all without.
    pub filter: Option<String>,
    /// Whether rows that the stored filter leaves out are taken too.
    pub ignore_filter: bool,
    /// Rows whose value this generation made.
    pub generation: Option<GenerationId>,
    /// Rows whose value this job made.
    pub job: Option<JobId>,
}

/// Which of the selected rows a job computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Take {
    /// Those in need.
    InNeed,
    /// All, current ones and what somebody supplied too.
    Recompute,
    /// Those that failed.
    Failed,
}

/// How a job ended; whoever says so first is right.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobEnd {
    /// Format of this JSON.
    pub version: u32,
    /// Column that it was about.
    pub binding: BindingId,
    /// The job.
    pub job: JobId,
    /// What was asked for.
    pub selection: Selection,
    /// Rows that were to be computed when it was ordered.
    pub rows: u64,
    /// How it ended.
    pub outcome: JobOutcome,
    /// Rows that have a value or NULL by it.
    pub rows_assigned: u64,
    /// Rows that failed in it.
    pub rows_failed: u64,
}

impl Stored for JobEnd {
    const WHAT: &'static str = "the end of a job";
    const VERSION: u32 = 1;
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobOutcome {
    /// Each of its rows has a result.
    Done,
    /// Somebody called it off: what was finished counts.
    Cancelled,
    /// More rows failed than the policy allows: what was finished counts.
    OverBudget,
}

impl Selection {
    /// All rows in need: what happens without any request.
    pub const fn in_need() -> Self {
        Self {
            take: Take::InNeed,
            filter: None,
            ignore_filter: false,
            generation: None,
            job: None,
        }
    }

    /// The rows of a fragment that a job with this selection still has to compute.
    ///
    /// `ordered` is the place of its request in the ledger: a row that was computed or written later
    /// is done. `state` must be without the stored filter if that is ignored, `matching` are the rows
    /// that match the job's own filter. Blocked rows are never taken.
    pub fn rows(
        &self,
        ordered: LedgerSeq,
        record: Option<&CoverageRecord>,
        state: &FragmentState,
        matching: &RowSet,
    ) -> RowSet {
        let runs = record.map_or(&[][..], |record| &record.runs);
        let mut rows = match self.take {
            Take::InNeed => state.in_need(),
            Take::Recompute => {
                let mut all = state.in_need();
                for set in [&state.current, &state.failed, &state.unknown] {
                    all.extend(set);
                }
                all
            }
            Take::Failed => state.failed.clone(),
        };
        if !self.ignore_filter {
            // The filter failed on them: nobody knows whether they are selected.
            for errors in record.map_or(&[][..], |record| &record.errors) {
                if errors.is_of_filter() {
                    rows.remove(&errors.rows);
                }
            }
        }
        rows = rows.intersection(matching);
        if self.generation.is_some() || self.job.is_some() {
            let mut made = RowSet::new();
            for run in runs.iter().filter(|run| self.was_made_by(run)) {
                made.extend(&run.rows);
            }
            rows = rows.intersection(&made);
        }
        for run in runs.iter().filter(|run| run.ledger >= ordered) {
            rows.remove(&run.rows);
        }
        rows
    }

    fn was_made_by(&self, run: &Run) -> bool {
        let computed = matches!(
            run.outcome,
            Outcome::Value | Outcome::Null | Outcome::Failed
        );
        let generation = self.generation.is_none() || self.generation == run.generation;
        let job = self.job.is_none() || self.job == run.job;
        computed && generation && job
    }
}

#[cfg(test)]
mod tests;
