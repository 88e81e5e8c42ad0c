//! Reconcile: collects what nothing needs any more.

use std::collections::BTreeSet;

use lance_backfill_core::checkpoint::SliceOutput;
use lance_backfill_core::ids::{BatchId, LedgerSeq};
use lance_backfill_ports::Result;

use crate::column::Column;
use crate::column_store::checkpoint_path;
use crate::survey::Survey;

/// Deletes spent ledger entries with their checkpoint manifests and values.
///
/// An entry is spent when each of its batches is finished and nothing of it waits to be published.
/// The newest entry stays: its number keeps the ledger dense. A late duplicate of a spent batch can
/// at worst leave an orphan, which the next call collects.
pub async fn collect(column: &Column, survey: &Survey) -> Result<usize> {
    let Some(newest) = survey.ledger.last().map(|stored| stored.entry.seq) else {
        return Ok(0);
    };
    let mut needed: BTreeSet<BatchId> = survey
        .open_work
        .iter()
        .map(|open| open.batch.clone())
        .collect();
    for unsettled in survey.unsettled.values() {
        needed.extend(unsettled.parts.iter().cloned());
    }
    let mut keep: BTreeSet<LedgerSeq> = needed.iter().map(|batch| batch.seq).collect();
    if survey.has_finished() || !keep.is_empty() {
        // Something waits: which entries it came from is not worth finding out.
        return Ok(0);
    }
    keep.insert(newest);
    let mut deleted = 0;
    for stored in survey
        .ledger
        .iter()
        .filter(|stored| !keep.contains(&stored.entry.seq))
    {
        for (batch, _) in stored.entry.work() {
            column.store.delete(&checkpoint_path(&batch)).await?;
            let checkpoint = survey.checkpoints.get(&batch);
            for result in checkpoint.iter().flat_map(|checkpoint| &checkpoint.slices) {
                if let SliceOutput::Values(file) = &result.output {
                    column.store.delete(&file.path).await?;
                }
            }
        }
        column
            .store
            .delete(&format!("ledger/{}.json", stored.entry.seq))
            .await?;
        deleted += 1;
    }
    Ok(deleted)
}
