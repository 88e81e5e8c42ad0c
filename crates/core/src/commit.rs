//! What a committer may publish: decided per fragment against the newest version of the table.

use crate::checkpoint::{SliceResult, StagedColumnFile};
use crate::coverage::{CoverageRecord, Outcome, RowErrors, Run};
use crate::definition::BoundColumn;
use crate::format::Stored;
use crate::identity::{Identity, Place};
use crate::ids::{FragmentId, GenerationId, JobId, LedgerSeq};
use crate::rows::RowSet;
use crate::state::Identities;

/// Results of one slice together with who ordered them.
#[derive(Debug, Clone, PartialEq)]
pub struct Contribution {
    /// Ledger entry that ordered the rows; the higher wins a row.
    pub ledger: LedgerSeq,
    /// Job that ordered them, if one did.
    pub job: Option<JobId>,
    /// What computed them.
    pub generation: GenerationId,
    /// What came out.
    pub result: SliceResult,
}

/// A fragment's finished work: a staged column file (or none needed) and what is in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    /// Fragment.
    pub fragment: FragmentId,
    /// The file to publish; `None` when the column need not change.
    pub file: Option<StagedColumnFile>,
    /// What the file holds beyond the old values, in ledger order.
    pub contributions: Vec<Contribution>,
}

/// The fragment as the newest version of the table has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Present {
    /// Rows in its files.
    pub physical_rows: u32,
    /// Its identities.
    pub identities: Identities,
    /// Where the column stands.
    pub place: Option<Place>,
    /// The live record, if there is one.
    pub record: Option<CoverageRecord>,
}

/// What is to be done with a fragment's finished work.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub enum Decision {
    /// Publish the file; the record goes before it.
    Publish {
        /// File to publish.
        file: StagedColumnFile,
        /// Record of the file.
        record: CoverageRecord,
    },
    /// Only something was learned: a record, no commit.
    Record(CoverageRecord),
    /// The newest version has the file already.
    Landed,
    /// Nothing of it counts any more.
    Drop(DropReason),
}

/// Why finished work does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropReason {
    /// The fragment is gone: compacted, deleted or overwritten.
    FragmentGone,
    /// Its inputs changed since they were read.
    InputsChanged,
    /// The column changed since the file was laid over it.
    ColumnChanged,
    /// Its generation is no longer accepted.
    GenerationGone,
    /// The file does not have the fragment's rows.
    RowsDiffer,
}

/// Decides what to do with one fragment's finished work.
pub fn decide(finished: &Finished, present: Option<&Present>, column: &BoundColumn) -> Decision {
    let Some(present) = present else {
        return Decision::Drop(DropReason::FragmentGone);
    };
    if let (Some(file), Some(place)) = (&finished.file, &present.place)
        && place.file.as_deref() == Some(file.name.as_str())
    {
        return Decision::Landed;
    }
    for contribution in &finished.contributions {
        if !column.definition.accepts(&contribution.generation) {
            return Decision::Drop(DropReason::GenerationGone);
        }
        if contribution.result.in_id != present.identities.in_id {
            return Decision::Drop(DropReason::InputsChanged);
        }
    }
    let mut record = present
        .record
        .clone()
        .unwrap_or_else(|| empty_record(finished.fragment, present, column));
    for contribution in &finished.contributions {
        let (runs, errors) = runs_of(contribution);
        record.lay_over(runs, errors);
    }
    record.in_id = present.identities.in_id;
    let Some(file) = finished.file.clone() else {
        record.file = None;
        record.out = present.identities.out;
        return Decision::Record(record);
    };
    if file.over != present.identities.out {
        return Decision::Drop(DropReason::ColumnChanged);
    }
    if file.physical_rows != present.physical_rows {
        return Decision::Drop(DropReason::RowsDiffer);
    }
    record.file = Some(file.name.clone());
    record.out = None;
    Decision::Publish { file, record }
}

/// A record of a fragment of which nothing is known; no row is filtered.
///
/// A filter's result is always written to a record before anything is computed, so a fragment
/// without a record is one of a column without filter.
fn empty_record(fragment: FragmentId, present: &Present, column: &BoundColumn) -> CoverageRecord {
    CoverageRecord {
        version: CoverageRecord::VERSION,
        binding: column.binding.clone(),
        fragment,
        physical_rows: present.physical_rows,
        file: None,
        in_id: present.identities.in_id,
        elig_id: present.identities.elig_id,
        out: present.identities.out,
        runs: vec![],
        filtered: RowSet::new(),
        errors: vec![],
    }
}

fn runs_of(contribution: &Contribution) -> (Vec<Run>, Vec<RowErrors>) {
    let Contribution {
        ledger,
        job,
        generation,
        result,
    } = contribution;
    let run = |rows: RowSet, outcome| Run {
        rows,
        outcome,
        generation: Some(generation.clone()),
        in_id: result.in_id,
        ledger: *ledger,
        job: job.clone(),
    };
    let runs = vec![
        run(result.values.clone(), Outcome::Value),
        run(result.nulls.clone(), Outcome::Null),
        run(result.failed_rows(), Outcome::Failed),
    ];
    (
        runs.into_iter()
            .filter(|run| !run.rows.is_empty())
            .collect(),
        result.failed.clone(),
    )
}

/// Folder and file names of records under a column's state.
pub fn record_path(record: &CoverageRecord, number: u64) -> String {
    match &record.file {
        Some(file) => format!("coverage/file/{file}.json"),
        None => {
            let key = crate::identity::record_key(
                record.fragment,
                record.in_id,
                record.elig_id,
                record.out,
            );
            identity_record_path(key, number)
        }
    }
}

/// Path of the nth record of a fragment in one exact state.
pub fn identity_record_path(key: Identity, number: u64) -> String {
    format!("coverage/id/{key}/{number:06}.json")
}
