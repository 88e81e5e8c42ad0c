//! Commit: publishes finished work on the newest version, records first.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use lance_backfill_core::checkpoint::StagedColumnFile;
use lance_backfill_core::commit::{Decision, DropReason, Finished, decide};
use lance_backfill_core::coverage::CoverageRecord;
use lance_backfill_core::ids::{FragmentId, LedgerSeq};
use lance_backfill_ports::Result;
use lance_backfill_ports::table::{PublishNote, PublishOutcome, TableVersion};

use crate::column::Column;
use crate::survey::Survey;

/// Transaction property that names the column whose work a version published.
pub const BINDING_PROPERTY: &str = "backfill.binding";

/// Records written at once.
const RECORDS_AT_ONCE: usize = 16;

/// What a commit did.
#[derive(Debug, Default)]
pub struct CommitReport {
    /// Version that readers see it in, if anything was published.
    pub published_version: Option<u64>,
    /// Files published.
    pub files: usize,
    /// Records written without a file.
    pub records: usize,
    /// Rows that got a value or NULL, by the ledger entry that ordered them.
    pub assigned: BTreeMap<LedgerSeq, u64>,
    /// Work that no longer counts, with the reason.
    pub dropped: Vec<(FragmentId, DropReason)>,
    /// Whether somebody else was faster somewhere: survey again.
    pub conflict: Option<String>,
}

/// Publishes the finished work that a survey of this version found.
///
/// Conditional on the version: a file lands only where nobody touched the column since. Records are
/// written before the commit and are live only once the manifest names their file, so a crash in
/// between leaves nothing that counts.
pub async fn commit(
    version: &Arc<dyn TableVersion>,
    column: &Column,
    survey: &Survey,
) -> Result<CommitReport> {
    let mut report = CommitReport::default();
    let mut files: Vec<(FragmentId, StagedColumnFile)> = vec![];
    let mut records: Vec<CoverageRecord> = vec![];
    let mut in_files: Vec<&Finished> = vec![];
    for (fragment, unsettled) in &survey.unsettled {
        // One publication per fragment and commit: a fold holds all that a part has.
        let mut published = false;
        for finished in &unsettled.finished {
            if published {
                break;
            }
            match decide(finished, Some(&unsettled.present), &column.bound) {
                Decision::Publish { file, record } => {
                    files.push((*fragment, file));
                    records.push(record);
                    in_files.push(finished);
                    published = true;
                }
                Decision::Record(record) => {
                    records.push(record);
                    count_assigned(&mut report.assigned, finished);
                    report.records += 1;
                    published = true;
                }
                Decision::Landed => {}
                Decision::Drop(reason) => report.dropped.push((*fragment, reason)),
            }
        }
    }
    let written = records
        .into_iter()
        .map(|record| column.store.create_record(record));
    stream::iter(written)
        .buffer_unordered(RECORDS_AT_ONCE)
        .try_collect::<Vec<()>>()
        .await?;
    if files.is_empty() {
        return Ok(report);
    }
    let note = PublishNote {
        properties: BTreeMap::from([(
            BINDING_PROPERTY.to_owned(),
            column.bound.binding.to_string(),
        )]),
    };
    // Lance wants one list of fields per transaction; all files here hold the same columns.
    let columns = column.output_names();
    match version.publish(&columns, &files, &note).await? {
        PublishOutcome::Published { version } => {
            report.published_version = Some(version);
            report.files = files.len();
            in_files
                .into_iter()
                .for_each(|finished| count_assigned(&mut report.assigned, finished));
        }
        PublishOutcome::Conflict { reason } => report.conflict = Some(reason),
        // The next survey finds the files in the manifest, or finds the work still finished.
        PublishOutcome::MaybeLanded => {
            report.conflict = Some("the answer to a commit was lost".to_owned())
        }
    }
    Ok(report)
}

fn count_assigned(assigned: &mut BTreeMap<LedgerSeq, u64>, finished: &Finished) {
    for contribution in &finished.contributions {
        let rows = contribution.result.values.len() + contribution.result.nulls.len();
        *assigned.entry(contribution.ledger).or_default() += rows;
    }
}
