//! What people asked for: jobs that are not over, and their rows in each fragment.

use std::collections::BTreeSet;
use std::sync::Arc;

use lance_backfill_core::commit::Present;
use lance_backfill_core::coverage::{CoverageRecord, Outcome};
use lance_backfill_core::definition::BoundColumn;
use lance_backfill_core::format::Stored;
use lance_backfill_core::identity;
use lance_backfill_core::ids::{BindingId, JobId, LedgerSeq};
use lance_backfill_core::job::{JobEnd, JobOutcome, Selection};
use lance_backfill_core::ledger::{EntryBody, Request};
use lance_backfill_core::rows::RowSet;
use lance_backfill_core::state::{FragmentState, classify};
use lance_backfill_core::table::{FieldView, FragmentView};
use lance_backfill_ports::compute::CompiledFilter;
use lance_backfill_ports::table::TableVersion;
use lance_backfill_ports::{Error, Result};

use super::look::Asked;
use crate::column::Column;
use crate::column_store::StoredEntry;

/// A job that is not over.
#[derive(Clone)]
pub struct OpenRequest {
    /// The job.
    pub job: JobId,
    /// What was asked for.
    pub request: Request,
    /// How far it is.
    pub progress: JobProgress,
    /// Why its rows cannot be told any more, if they cannot: a column that it reads is gone.
    pub broken: Option<String>,
    filter: Option<CompiledFilter>,
    /// Whether a row that cannot be told ends the survey: somebody is just asking.
    strict: bool,
}

/// How far a job is, in live rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JobProgress {
    /// Rows that it still asks for, those in work included.
    pub rows_remaining: u64,
    /// Rows that have a value or NULL by it.
    pub rows_assigned: u64,
    /// Rows that failed in it.
    pub rows_failed: u64,
}

/// The jobs of a ledger.
pub(super) struct Jobs {
    pub(super) open: Vec<OpenRequest>,
    pub(super) ended: BTreeSet<JobId>,
}

/// Finds the open requests of a ledger, and those of its jobs that are over.
pub(super) async fn find(
    ledger: &[Arc<StoredEntry>],
    column: &Column,
    asked: Option<&Selection>,
) -> Result<Jobs> {
    let mut jobs = Jobs {
        open: vec![],
        ended: BTreeSet::new(),
    };
    let named: BTreeSet<JobId> = (ledger.iter())
        .filter_map(|stored| stored.entry.job())
        .collect();
    for job in named {
        if column.store.job_end(&job).await?.is_some() {
            jobs.ended.insert(job);
        }
    }
    for stored in ledger {
        let (EntryBody::Request(request), Some(job)) = (&stored.entry.body, stored.entry.job())
        else {
            continue;
        };
        if !jobs.ended.contains(&job) {
            let mut open = OpenRequest::new(job, request.clone());
            open.compile(column).unwrap_or_else(|error| {
                open.broken = Some(error.one_line());
            });
            jobs.open.push(open);
        }
    }
    if let Some(selection) = asked {
        let job = JobId {
            seq: ledger
                .last()
                .map_or(LedgerSeq::FIRST, |last| last.entry.seq.next()),
            token: "asked".to_owned(),
        };
        let request = Request {
            selection: selection.clone(),
            rows: 0,
        };
        let mut open = OpenRequest::new(job, request);
        open.strict = true;
        open.compile(column)?;
        jobs.open.push(open);
    }
    Ok(jobs)
}

impl OpenRequest {
    fn new(job: JobId, request: Request) -> Self {
        Self {
            job,
            request,
            progress: JobProgress::default(),
            broken: None,
            filter: None,
            strict: false,
        }
    }

    /// How the job ended, with what became of its rows.
    pub fn end(&self, binding: &BindingId, outcome: JobOutcome) -> JobEnd {
        JobEnd {
            version: JobEnd::VERSION,
            binding: binding.clone(),
            job: self.job.clone(),
            selection: self.request.selection.clone(),
            rows: self.request.rows,
            outcome,
            rows_assigned: self.progress.rows_assigned,
            rows_failed: self.progress.rows_failed,
        }
    }

    fn compile(&mut self, column: &Column) -> Result<()> {
        if let Some(filter) = &self.request.selection.filter {
            self.filter = Some(column.filters.compile(filter)?);
        }
        Ok(())
    }

    /// Rows of a fragment that match the job's own filter.
    pub(super) async fn matching(
        &self,
        version: &dyn TableVersion,
        column: &Column,
        fragment: &FragmentView,
    ) -> Result<RowSet> {
        let all = RowSet::full(fragment.physical_rows);
        let Some(text) = self.request.selection.filter.as_deref() else {
            return Ok(all);
        };
        let Some(compiled) = &self.filter else {
            return Ok(RowSet::new());
        };
        let fields: Vec<FieldView> = (compiled.reads.iter())
            .filter_map(|name| version.view().field(name).cloned())
            .collect();
        // The same text on the same files selects the same rows.
        let key = identity::of_filter(fragment, Some(text), &fields);
        if let Some(known) = key.and_then(|key| column.store.known_matches(fragment.id, key)) {
            return Ok(known);
        }
        let asked = Asked {
            filter: compiled.filter.as_ref(),
            columns: compiled.reads.clone(),
            names: compiled.reads.clone(),
        };
        let (unselected, errors) = asked.ask_all(version, fragment).await?;
        let mut matching = all.difference(&unselected);
        for error in errors {
            if self.strict {
                return Err(Error::invalid(format!(
                    "'{text}' cannot be evaluated on a row of fragment {}: {}",
                    fragment.id, error.message
                )));
            }
            matching.remove(&error.rows);
        }
        if let Some(key) = key {
            column.store.remember_matches(fragment.id, key, &matching);
        }
        Ok(matching)
    }

    /// Rows of a fragment that the job still asks for.
    pub(super) fn rows(
        &self,
        present: &Present,
        live: &RowSet,
        state: &FragmentState,
        matching: &RowSet,
        bound: &BoundColumn,
    ) -> RowSet {
        if self.broken.is_some() {
            return RowSet::new();
        }
        let record = present.record.as_ref();
        let selection = &self.request.selection;
        if !selection.ignore_filter {
            return selection.rows(self.job.seq, record, state, matching);
        }
        let unfiltered = classify(
            record,
            &present.identities,
            &RowSet::new(),
            live,
            &bound.definition,
            &bound.generation,
        );
        selection.rows(self.job.seq, record, &unfiltered, matching)
    }

    /// Counts the rows of a fragment.
    pub(super) fn count(
        &mut self,
        remaining: &RowSet,
        record: Option<&CoverageRecord>,
        live: &RowSet,
    ) {
        self.progress.rows_remaining += remaining.len();
        for run in record.map_or(&[][..], |record| &record.runs) {
            if run.job.as_ref() != Some(&self.job) {
                continue;
            }
            let rows = run.rows.intersection(live).len();
            match run.outcome {
                Outcome::Value | Outcome::Null => self.progress.rows_assigned += rows,
                Outcome::Failed => self.progress.rows_failed += rows,
                Outcome::Supplied | Outcome::Unknown => {}
            }
        }
    }
}
