//! Compaction around fragments that must stay where they are.

use std::collections::BTreeSet;

use lance::Dataset;
use lance::dataset::optimize::{CompactionOptions, compact_files, plan_compaction};
use lance_backfill_core::ids::FragmentId;
use lance_backfill_ports::Result;

use crate::error::{CommitFailure, commit_failure, from_lance};
use crate::table::LanceTable;

/// What a compaction does or did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compaction {
    /// Fragments before.
    pub fragments_before: u64,
    /// Fragments that were or would be rewritten.
    pub fragments_rewritten: u64,
    /// Fragments after; not known before it is done.
    pub fragments_after: Option<u64>,
    /// Version that has it; none if nothing is to be rewritten.
    pub version: Option<u64>,
}

/// How a compaction ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum CompactOutcome {
    /// Done, or nothing was to do.
    Done(Compaction),
    /// Another writer touched the same fragments: nothing was changed, the rewritten files are lost.
    Conflict {
        /// One line for a person.
        reason: String,
    },
}

impl LanceTable {
    /// What `compact` would rewrite now; writes nothing.
    pub async fn plan_compaction(
        &self,
        target_rows: Option<u64>,
        keep: &BTreeSet<FragmentId>,
    ) -> Result<Compaction> {
        let doing = "cannot plan a compaction";
        let dataset = self.newest_dataset(doing).await?;
        let plan = plan_compaction(&dataset, &options(target_rows, keep))
            .await
            .map_err(|error| from_lance(error, doing))?;
        let rewritten: u64 = plan
            .compaction_tasks()
            .map(|task| task.task.fragments.len() as u64)
            .sum();
        Ok(Compaction {
            fragments_before: dataset.fragments().len() as u64,
            fragments_rewritten: rewritten,
            fragments_after: None,
            version: None,
        })
    }

    /// Compacts all but the fragments to keep, in one commit.
    pub async fn compact(
        &self,
        target_rows: Option<u64>,
        keep: &BTreeSet<FragmentId>,
    ) -> Result<CompactOutcome> {
        let doing = "cannot compact the table";
        let mut dataset = Dataset::clone(&*self.newest_dataset(doing).await?);
        let fragments_before = dataset.fragments().len() as u64;
        let before = dataset.version_id();
        // A lost answer reads as a conflict: the next attempt finds less to rewrite, or nothing.
        let metrics = match compact_files(&mut dataset, options(target_rows, keep), None).await {
            Ok(metrics) => metrics,
            Err(error) => {
                return match commit_failure(error, doing) {
                    CommitFailure::Conflict(reason) => Ok(CompactOutcome::Conflict { reason }),
                    CommitFailure::MaybeLanded => Ok(CompactOutcome::Conflict {
                        reason: "the answer to a commit was lost".to_owned(),
                    }),
                    CommitFailure::Failed(error) => Err(error),
                };
            }
        };
        let fragments_after = dataset.fragments().len() as u64;
        let rewritten = metrics.fragments_removed as u64;
        let version = self.remember(dataset);
        Ok(CompactOutcome::Done(Compaction {
            fragments_before,
            fragments_rewritten: rewritten,
            fragments_after: Some(fragments_after),
            version: (rewritten > 0 && version != before).then_some(version),
        }))
    }
}

fn options(target_rows: Option<u64>, keep: &BTreeSet<FragmentId>) -> CompactionOptions {
    let mut options = CompactionOptions {
        // Fragment ids beyond 32 bits do not exist in Lance's index bitmaps either.
        excluded_fragment_ids: keep
            .iter()
            .filter_map(|fragment| u32::try_from(*fragment).ok())
            .collect(),
        ..CompactionOptions::default()
    };
    if let Some(rows) = target_rows.and_then(|rows| usize::try_from(rows).ok()) {
        options.target_rows_per_fragment = rows;
    }
    options
}
