//! What a committer may publish: decided per fragment against the newest version of the table.

use crate::checkpoint::{SliceOutput, SliceResult, StagedColumnFile};
use crate::coverage::{CoverageRecord, Outcome, Run};
use crate::definition::BoundColumn;
use crate::format::Stored;
use crate::identity::{Identity, Place};
use crate::ids::{FragmentId, GenerationId, JobId, LedgerSeq};
use crate::rows::RowSet;
use crate::state::{Identities, Inputs};

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
    /// What the file holds beyond the old values, in ledger order, limited to the rows that count.
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
        if !column.accepts(&contribution.generation) {
            return Decision::Drop(DropReason::GenerationGone);
        }
        if !contribution.holds(&present.identities) {
            return Decision::Drop(DropReason::InputsChanged);
        }
    }
    let mut record = present
        .record
        .clone()
        .unwrap_or_else(|| empty_record(finished.fragment, present, column));
    for contribution in &finished.contributions {
        record.lay_over(contribution.runs(), contribution.result.failed.clone());
    }
    record.in_id = present.identities.watched;
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
        in_id: present.identities.watched,
        elig_id: present.identities.elig_id,
        out: present.identities.out,
        runs: vec![],
        filtered: RowSet::new(),
        errors: vec![],
    }
}

impl Contribution {
    /// Whether it was made from the present inputs of its generation.
    pub fn holds(&self, identities: &Identities) -> bool {
        let Self {
            generation, result, ..
        } = self;
        identities.compare(Some(generation), result.in_id) == Inputs::Same
    }

    /// Rows for which it counts: `in_need`, and those that its job ordered to be computed again.
    ///
    /// All others hold something that must stand: a correction that somebody made meanwhile, or a
    /// result that was ordered later. Nor does a NULL count that needed no file, since it stood in an
    /// empty column, where somebody else's value stands now.
    pub fn counting(&self, record: Option<&CoverageRecord>, in_need: &RowSet) -> RowSet {
        let result = &self.result;
        let done = result.done();
        let runs = record.map_or(&[][..], |record| &record.runs);
        let mut rows = match &self.job {
            Some(job) => {
                let mut ordered = done.clone();
                for run in runs.iter().filter(|run| run.ledger >= job.seq) {
                    ordered.remove(&run.rows);
                }
                ordered.union(&done.intersection(in_need))
            }
            None => done.intersection(in_need),
        };
        let needs_no_file = matches!(result.output, SliceOutput::Nothing);
        for run in runs {
            if self.is_provided_by(run) {
                rows.remove(&run.rows);
            }
            if needs_no_file && run.generation.is_none() {
                rows.remove(&run.rows.difference(&result.failed_rows()));
            }
        }
        rows
    }

    fn is_provided_by(&self, run: &Run) -> bool {
        run.generation.as_ref() == Some(&self.generation)
            && run.in_id == self.result.in_id
            && run.ledger >= self.ledger
    }

    /// The same about these rows only.
    #[must_use]
    pub fn limited_to(&self, rows: &RowSet) -> Self {
        let mut limited = self.clone();
        limited.result.keep(rows);
        limited
    }

    /// What it lays over a record.
    fn runs(&self) -> Vec<Run> {
        let Self {
            ledger,
            job,
            generation,
            result,
        } = self;
        let run = |rows: RowSet, outcome| Run {
            rows,
            outcome,
            generation: Some(generation.clone()),
            in_id: result.in_id,
            ledger: *ledger,
            job: job.clone(),
        };
        vec![
            run(result.values.clone(), Outcome::Value),
            run(result.nulls.clone(), Outcome::Null),
            run(result.failed_rows(), Outcome::Failed),
        ]
    }
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

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
