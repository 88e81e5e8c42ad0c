//! Reconcile: collects what nothing needs any more.

use std::collections::BTreeSet;

use futures::{StreamExt, TryStreamExt, stream};
use lance_backfill_core::breaker;
use lance_backfill_core::ids::{BatchId, JobId, LedgerSeq};
use lance_backfill_core::ledger::{EntryBody, LedgerEntry, approved_left, still_needed};
use lance_backfill_ports::Result;
use lance_backfill_ports::state_store::{Created, Listed};
use lance_backfill_ports::world::World;

use crate::column::Column;
use crate::column_store::{
    checkpoint_batch, job_of, sent_path, superseded_snapshots, values_batch,
};
use crate::plan::{PlanOutcome, write_down};
use crate::survey::Survey;

/// Objects deleted at once.
const DELETE_AT_ONCE: usize = 16;

/// How long objects are kept that nothing needs.
#[derive(Debug, Clone, Copy)]
pub struct Grace {
    /// Objects that no ledger entry names: a worker writes values before the manifest that names them.
    pub objects_ms: u64,
    /// What is told of jobs that are over.
    pub jobs_ms: u64,
}

impl Grace {
    /// Nothing is kept, save what may belong to work that was ordered a moment ago.
    pub const NONE: Self = Self {
        objects_ms: 0,
        jobs_ms: 0,
    };
}

/// Deletes spent ledger entries, and the checkpoint manifests and values that no entry needs.
///
/// An entry is spent when it says nothing any more that another does not say: each of its batches is
/// finished or no row of it is wanted, nothing of it waits to be published, and its job is over. If the
/// newest is one of those, an entry that says so takes its place first. Entries go before what they
/// name, so that a crash in between leaves orphans and no open batch.
pub async fn collect(
    column: &Column,
    survey: &Survey,
    world: &dyn World,
    grace: Grace,
) -> Result<usize> {
    let waits = |unsettled: &crate::survey::Unsettled| {
        !unsettled.parts.is_empty() || !unsettled.finished.is_empty()
    };
    if survey.unsettled.values().any(waits) {
        // Something waits to be published: the call after that will do.
        return Ok(0);
    }
    let open: BTreeSet<LedgerSeq> = (survey.open_work.iter())
        .map(|open| open.batch.seq)
        .collect();
    let mut open_jobs = BTreeSet::new();
    for request in &survey.requests {
        // The caller may have ended it after the survey.
        if column.store.job_end(&request.job).await?.is_none() {
            open_jobs.insert(request.job.clone());
        }
    }
    let mut entries = survey.entries();
    // Who calls a job off counts what its checkpoint manifests say.
    let of_open_job =
        |entry: &&LedgerEntry| entry.job().is_some_and(|job| open_jobs.contains(&job));
    let counted = entries.iter().filter(of_open_job).map(|entry| entry.seq);
    let mut kept: BTreeSet<LedgerSeq> = open.iter().copied().chain(counted).collect();
    let checkpoint = |batch: &BatchId| survey.checkpoint(batch);
    kept.extend(breaker::still_counts(&entries, &checkpoint, &kept));
    if entries
        .iter()
        .any(|entry| entry.table_version > survey.version)
    {
        // Planned from a version that the survey has not seen: it cannot tell what is spent.
        return Ok(0);
    }
    let spent_page = |entry: &LedgerEntry| {
        matches!(entry.body, EntryBody::Page(_)) && !kept.contains(&entry.seq)
    };
    if entries.last().is_some_and(spent_page) {
        let approved_left = approved_left(&entries);
        let body = EntryBody::Settled { approved_left };
        match write_down(survey, column, body, None, world).await? {
            PlanOutcome::Dispatched(settled) => entries.push(*settled),
            // Somebody hands out work: the call after that will do.
            PlanOutcome::LostRace | PlanOutcome::Nothing => return Ok(0),
        }
    }
    let now_ms = world.now_ms();
    let needed = still_needed(&entries, &kept, |job| !open_jobs.contains(job));
    let is_needed = |entry: &&LedgerEntry| needed.contains(&entry.seq);
    let spent = || entries.iter().filter(|entry| !is_needed(entry));
    // What a session handed out went through no queue.
    let was_sent =
        |entry: &&LedgerEntry| entry.session.is_none() && matches!(entry.body, EntryBody::Page(_));
    let sent: Vec<String> = spent().filter(was_sent).map(sent_path).collect();
    let spent: Vec<String> = spent()
        .map(|entry| format!("ledger/{}.json", entry.seq))
        .collect();
    if !spent.is_empty() && !is_accounted_for(column, survey).await? {
        // Somebody else wrote what is settled: the call after that will do.
        return Ok(0);
    }
    let jobs: BTreeSet<JobId> = (entries.iter().filter(is_needed))
        .filter_map(LedgerEntry::job)
        .collect();
    let named: BTreeSet<(LedgerSeq, &str)> = (entries.iter())
        .map(|entry| (entry.seq, entry.token.as_str()))
        .collect();
    let is_named = |batch: &BatchId| named.contains(&(batch.seq, batch.token.as_str()));
    let older_than =
        |object: &Listed, grace_ms| object.created_ms.saturating_add(grace_ms) <= now_ms;
    let old = |object: &Listed| older_than(object, grace.objects_ms);
    let newest = entries.last().map_or(LedgerSeq(0), |entry| entry.seq);
    // An entry that came after the survey may name it: only its age can tell that none does.
    let unseen = |seq: LedgerSeq| seq > newest && grace.objects_ms == 0;
    let mut doomed = sent;
    for (folder, kept) in [("checkpoints", &kept), ("values", &open)] {
        for object in column.store.list(folder).await? {
            let Some(batch) = batch_of(&object.path) else {
                continue;
            };
            // What a finished batch left was published: nobody reads it again.
            let needed = is_named(&batch) && kept.contains(&batch.seq);
            let orphaned = || old(&object) && !unseen(batch.seq);
            if !needed && (is_named(&batch) || orphaned()) {
                doomed.push(object.path);
            }
        }
    }
    for object in column.store.list("jobs").await? {
        // Without its end, a job that the ledger still names would begin again.
        let forgotten =
            job_of(&object.path).is_some_and(|job| !jobs.contains(&job) && !unseen(job.seq));
        if forgotten && older_than(&object, grace.jobs_ms) {
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
    // In order, and one at a time: an entry may take back what an earlier one says, never the reverse.
    for path in &spent {
        column.store.delete(path).await?;
    }
    delete(column, doomed).await?;
    Ok(deleted)
}

/// Whether the snapshot has seen the version of a survey, as it must before what was done until then is
/// forgotten: a fragment that no entry names and the snapshot has not seen is one that nobody touched.
async fn is_accounted_for(column: &Column, survey: &Survey) -> Result<bool> {
    let known = column.store.known_snapshot();
    if known.snapshot.head.table_version >= survey.version {
        return Ok(true);
    }
    match survey.snapshot_extension(&column.bound.generation) {
        None => Ok(true),
        Some(extension) => Ok(
            match column.store.extend_snapshot(&known, extension).await? {
                Created::New => true,
                Created::AlreadyThere => false,
            },
        ),
    }
}

/// The batch that a checkpoint manifest or values file is of.
fn batch_of(path: &str) -> Option<BatchId> {
    checkpoint_batch(path).or_else(|| values_batch(path))
}

async fn delete(column: &Column, paths: Vec<String>) -> Result<()> {
    stream::iter(paths)
        .map(|path| async move { column.store.delete(&path).await })
        .buffer_unordered(DELETE_AT_ONCE)
        .try_collect::<Vec<()>>()
        .await?;
    Ok(())
}
