//! Reconcile: collects what nothing needs any more.

use std::collections::BTreeSet;

use futures::{StreamExt, TryStreamExt, stream};
use lance_backfill_core::ids::{BatchId, LedgerSeq};
use lance_backfill_ports::Result;
use lance_backfill_ports::state_store::Listed;

use crate::column::Column;
use crate::column_store::{checkpoint_batch, superseded_snapshots, values_batch};
use crate::survey::Survey;

/// Objects deleted at once.
const DELETE_AT_ONCE: usize = 16;

/// Deletes spent ledger entries, and the checkpoint manifests and values that no entry needs.
///
/// An entry is spent when each of its batches is finished and nothing of it waits to be published.
/// The newest entry stays, with its checkpoint manifests: its number keeps the ledger dense, and
/// without a manifest its batches would count as open again. Entries go before what they name, so
/// that a crash in between leaves orphans and no open batch.
///
/// Objects that no entry names go once they are older than `grace_ms` at `now_ms`: a worker writes
/// values before the manifest that names them.
pub async fn collect(
    column: &Column,
    survey: &Survey,
    now_ms: u64,
    grace_ms: u64,
) -> Result<usize> {
    let waits = |unsettled: &crate::survey::Unsettled| {
        !unsettled.parts.is_empty() || !unsettled.finished.is_empty()
    };
    if survey.unsettled.values().any(waits) {
        // Something waits to be published: the call after that will do.
        return Ok(0);
    }
    let newest = survey.ledger.last().map(|stored| stored.entry.seq);
    let open: BTreeSet<LedgerSeq> = (survey.open_work.iter())
        .map(|open| open.batch.seq)
        .collect();
    let spent: Vec<String> = (survey.ledger.iter())
        .map(|stored| stored.entry.seq)
        .filter(|seq| Some(*seq) != newest && !open.contains(seq))
        .map(|seq| format!("ledger/{seq}.json"))
        .collect();
    let named: BTreeSet<(LedgerSeq, &str)> = (survey.ledger.iter())
        .map(|stored| (stored.entry.seq, stored.entry.token.as_str()))
        .collect();
    let is_named = |batch: &BatchId| named.contains(&(batch.seq, batch.token.as_str()));
    let old = |object: &Listed| object.created_ms.saturating_add(grace_ms) <= now_ms;
    let mut doomed = vec![];
    for object in column.store.list("checkpoints").await? {
        let Some(batch) = checkpoint_batch(&object.path) else {
            continue;
        };
        let needed = is_named(&batch) && (open.contains(&batch.seq) || Some(batch.seq) == newest);
        if !needed && (is_named(&batch) || old(&object)) {
            doomed.push(object.path);
        }
    }
    for object in column.store.list("values").await? {
        let Some(batch) = values_batch(&object.path) else {
            continue;
        };
        // What a finished batch stored was published: nobody reads it again.
        let needed = is_named(&batch) && open.contains(&batch.seq);
        if !needed && (is_named(&batch) || old(&object)) {
            doomed.push(object.path);
        }
    }
    let snapshots = column.store.list("snapshot").await?;
    let superseded = superseded_snapshots(&snapshots);
    doomed.extend(
        (snapshots.into_iter())
            .filter(|object| superseded.contains(&object.path) && old(object))
            .map(|object| object.path),
    );
    let deleted = spent.len() + doomed.len();
    delete(column, spent).await?;
    delete(column, doomed).await?;
    Ok(deleted)
}

async fn delete(column: &Column, paths: Vec<String>) -> Result<()> {
    stream::iter(paths)
        .map(|path| async move { column.store.delete(&path).await })
        .buffer_unordered(DELETE_AT_ONCE)
        .try_collect::<Vec<()>>()
        .await?;
    Ok(())
}
