//! Coverage records: what the rows of a fragment hold in a computed column, and what made it.

use serde::{Deserialize, Serialize};

use crate::format::Stored;
use crate::identity::Identity;
use crate::ids::{BindingId, FragmentId, GenerationId, JobId, LedgerSeq};
use crate::rows::RowSet;

/// What is known of a computed column in one fragment; immutable once written.
///
/// A record is live exactly when the manifest names its file, or has the identities of its key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CoverageRecord {
    /// Format of this JSON.
    pub version: u32,
    /// Column that it speaks of.
    pub binding: BindingId,
    /// Fragment that it speaks of.
    pub fragment: FragmentId,
    /// Rows of the fragment, deleted ones counted.
    pub physical_rows: u32,
    /// The column file that it describes; without one it is keyed by identities.
    pub file: Option<String>,
    /// Identity of the inputs of all accepted generations when it was written.
    pub in_id: Identity,
    /// Identity of filter and filter columns for which `filtered` was found.
    pub elig_id: Option<Identity>,
    /// Identity of the column when it was written, for a record without a file of its own.
    pub out: Option<Identity>,
    /// What made the rows that are not unassigned; runs do not overlap.
    pub runs: Vec<Run>,
    /// Rows that the filter does not select.
    pub filtered: RowSet,
    /// Errors of the failed rows.
    pub errors: Vec<RowErrors>,
}

impl Stored for CoverageRecord {
    const WHAT: &'static str = "a coverage record";
    const VERSION: u32 = 1;
}

/// Rows with one origin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// The rows.
    pub rows: RowSet,
    /// How they came out.
    pub outcome: Outcome,
    /// What computed them; none for supplied and unknown values.
    pub generation: Option<GenerationId>,
    /// Identity of the inputs that they were computed from: the columns that their generation reads.
    pub in_id: Identity,
    /// Ledger entry that ordered them; dependents tell changed rows by it.
    pub ledger: LedgerSeq,
    /// Job that ordered them, if one did.
    pub job: Option<JobId>,
}

/// How a row came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Computed, not NULL.
    Value,
    /// Computed, NULL.
    Null,
    /// Could not be computed; the column keeps what stood there.
    Failed,
    /// Somebody else wrote a non-null value.
    Supplied,
    /// Non-null, and nothing is known of it.
    Unknown,
}

/// Rows that failed alike.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowErrors {
    /// The rows.
    pub rows: RowSet,
    /// Stable kind, such as `overflow`.
    pub kind: String,
    /// One line for a person.
    pub message: String,
    /// Where the function was, if it can tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceback: Option<String>,
    /// Attempts made.
    pub attempts: u32,
}

/// Prefix of error kinds that the filter raised, not the function.
pub const FILTER_ERROR: &str = "filter_";

impl RowErrors {
    /// Whether the filter could not be evaluated on the rows.
    pub fn is_of_filter(&self) -> bool {
        self.kind.starts_with(FILTER_ERROR)
    }
}

impl CoverageRecord {
    /// Rows that some run speaks of.
    pub fn assigned(&self) -> RowSet {
        let mut rows = RowSet::new();
        for run in &self.runs {
            rows.extend(&run.rows);
        }
        rows
    }

    /// Lays new runs over this record: each row belongs to the newest run that has it.
    ///
    /// Of the new runs the later is the newer. Errors stay with failed rows and with no others.
    pub fn lay_over(&mut self, runs: Vec<Run>, errors: Vec<RowErrors>) {
        let mut replaced = RowSet::new();
        for run in &runs {
            replaced.extend(&run.rows);
        }
        self.forget(&replaced);
        let mut laid = RowSet::new();
        let mut failed = RowSet::new();
        for run in runs {
            if !laid.is_disjoint(&run.rows) {
                self.forget(&run.rows);
            }
            laid.extend(&run.rows);
            match run.outcome {
                Outcome::Failed => failed.extend(&run.rows),
                _ => failed.remove(&run.rows),
            }
            self.add_run(run);
        }
        for mut error in errors {
            error.rows = error.rows.intersection(&failed);
            self.add_error(error);
        }
    }

    /// Takes what is known of some rows back: they are unassigned.
    pub fn forget(&mut self, rows: &RowSet) {
        for run in &mut self.runs {
            run.rows.remove(rows);
        }
        for error in &mut self.errors {
            error.rows.remove(rows);
        }
        self.runs.retain(|run| !run.rows.is_empty());
        self.errors.retain(|error| !error.rows.is_empty());
    }

    fn add_run(&mut self, run: Run) {
        if run.rows.is_empty() {
            return;
        }
        let same_origin = |other: &&mut Run| {
            other.outcome == run.outcome
                && other.generation == run.generation
                && other.in_id == run.in_id
                && other.ledger == run.ledger
                && other.job == run.job
        };
        match self.runs.iter_mut().find(same_origin) {
            Some(other) => other.rows.extend(&run.rows),
            None => self.runs.push(run),
        }
    }

    fn add_error(&mut self, error: RowErrors) {
        if error.rows.is_empty() {
            return;
        }
        let same = |other: &&mut RowErrors| {
            (
                &other.kind,
                &other.message,
                &other.traceback,
                other.attempts,
            ) == (
                &error.kind,
                &error.message,
                &error.traceback,
                error.attempts,
            )
        };
        match self.errors.iter_mut().find(same) {
            Some(other) => other.rows.extend(&error.rows),
            None => self.errors.push(error),
        }
    }
}

#[cfg(test)]
mod tests;
