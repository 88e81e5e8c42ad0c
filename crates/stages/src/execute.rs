//! Execute: computes a batch, or folds finished parts, and leaves one checkpoint manifest.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use lance_backfill_core::batch::{Slice, Target, Work};
use lance_backfill_core::checkpoint::{
    CheckpointManifest, Fault, FaultKind, SliceOutput, SliceResult,
};
use lance_backfill_core::format::Stored;
use lance_backfill_core::identity::Identity;
use lance_backfill_core::ids::{BatchId, FragmentId, JobId};
use lance_backfill_core::rows::RowSet;
use lance_backfill_core::state::Identities;
use lance_backfill_ports::table::{Table, TableVersion};
use lance_backfill_ports::world::World;
use lance_backfill_ports::{Error, ErrorKind, Result};
use tokio::sync::Semaphore;

use crate::column::Column;
use crate::until::{End, Until};

mod budget;
mod chunks;
mod feed;
mod fold;
mod isolate;
mod output;
mod sample;
mod values;

pub use budget::Evaluated;
pub use sample::{Tried, try_out};

use budget::Budget;

/// What bounds the work of one process.
#[derive(Clone)]
pub struct Workers {
    /// Slices at work at once.
    pub slices: Arc<Semaphore>,
    /// How long calls of one batch may have to wait for the other side of the function.
    patience: Option<Duration>,
}

impl Workers {
    /// As many as that, and at least one.
    pub fn new(count: usize) -> Self {
        Self {
            slices: Arc::new(Semaphore::new(count.max(1))),
            patience: None,
        }
    }

    /// The same; a batch whose calls would have to wait for longer ends with what it has.
    ///
    /// For processes that are paid by their time, or that somebody ends.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self {
            patience: Some(patience),
            ..self
        }
    }
}

/// A batch that is to be done.
#[derive(Clone, Copy)]
pub struct OpenBatch<'a> {
    /// Which one.
    pub batch: &'a BatchId,
    /// Job that ordered it, if one did.
    pub job: Option<&'a JobId>,
    /// What is to be done.
    pub work: &'a Work,
    /// Version to do it at; the newest without.
    pub at: Option<&'a Arc<dyn TableVersion>>,
    /// Time that there is for it: when it is over, what is finished is recorded, and nothing else.
    pub until: &'a Until,
    /// Whether it was attempted before, as far as anybody knows.
    pub attempted: Attempted,
}

/// Whether a batch was attempted before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempted {
    /// It may have left a checkpoint manifest.
    Perhaps,
    /// This is its first delivery. Should somebody do it all the same, the second checkpoint manifest
    /// is not written, and the first is the result.
    Never,
}

/// Does the work of one batch; an earlier attempt's checkpoint manifest is taken as it is.
///
/// `evaluated` counts the rows of all batches of the job, against which its error budget is judged.
/// Idempotent: the checkpoint manifest is create-if-absent, and nothing counts before it is there.
/// An error means that nothing was recorded and the batch may be tried again.
pub async fn execute(
    table: &dyn Table,
    column: &Column,
    open: OpenBatch<'_>,
    evaluated: &Arc<Evaluated>,
    workers: &Workers,
    world: &dyn World,
) -> Result<Arc<CheckpointManifest>> {
    let OpenBatch {
        batch,
        job,
        work,
        at,
        until,
        attempted,
    } = open;
    if attempted == Attempted::Perhaps
        && let Some(done) = column.store.checkpoint(batch).await?
    {
        return Ok(done);
    }
    let version = match at {
        Some(version) => version.clone(),
        None => table.latest().await?,
    };
    let attempt = world.token();
    let policy = &column.bound.definition.error_policy;
    let lanes = column.function.lanes();
    let budget = Arc::new(Budget::new(
        policy,
        lanes,
        workers.patience,
        evaluated.clone(),
        until.clone(),
    ));
    let done = match work {
        Work::Compute(spec) => {
            let task = |slice: Slice, index: u32| SliceTask {
                version: version.clone(),
                column: column.clone(),
                slice,
                values_path: format!("values/{batch}/{attempt}-{index}.arrow"),
                batch: batch.to_string(),
                budget: budget.clone(),
            };
            let tasks: Vec<SliceTask> = spec
                .slices
                .iter()
                .cloned()
                .zip(0_u32..)
                .map(|(slice, index)| task(slice, index))
                .collect();
            let at_once = tasks.len().max(1);
            let running = tasks
                .into_iter()
                .map(|task| run_slice(task, workers.clone(), world));
            stream::iter(running)
                .buffered(at_once)
                .try_collect::<Vec<_>>()
                .await?
        }
        Work::Fold(spec) => {
            let permit = acquire(workers).await?;
            let started_ms = world.now_ms();
            let now = identities_of(version.as_ref(), column, spec.fragment);
            let mut done = match now.is_some_and(|now| now.stands(spec.in_id)) {
                true => {
                    let folded = until.within(fold::fold(version.as_ref(), column, spec));
                    // Half a fold is none.
                    folded.await.ok_or_else(no_time)??
                }
                false => SliceDone::obsolete(spec.fragment, spec.in_id),
            };
            drop(permit);
            done.busy_ms = world.now_ms().saturating_sub(started_ms);
            vec![done]
        }
    };
    let fault = budget.exceeded().map(|message| Fault {
        kind: FaultKind::Budget,
        message,
        traceback: None,
    });
    let fault = done.iter().find_map(|slice| slice.fault.clone()).or(fault);
    let fault = match fault {
        None => until
            .end()
            .map(|end| nothing_done(&done, end))
            .transpose()?
            .flatten(),
        fault => fault,
    };
    let manifest = CheckpointManifest {
        version: CheckpointManifest::VERSION,
        batch: batch.clone(),
        binding: column.bound.binding.clone(),
        generation: column.bound.generation.clone(),
        job: job.cloned(),
        attempt,
        read_version: version.view().version,
        fault,
        calls: done.iter().map(|slice| slice.calls).sum(),
        bytes_written: done.iter().map(|slice| slice.bytes_written).sum(),
        finished_ms: world.now_ms(),
        elapsed_ms: done.iter().map(|slice| slice.busy_ms).sum(),
        slices: done.into_iter().map(|slice| slice.result).collect(),
    };
    column.store.create_checkpoint(manifest).await
}

/// What it means that a batch has no result at all when its time is over.
///
/// SUBTLE: A batch that records nothing is planned again at once. If each attempt ended like this one,
/// that would go on for ever; so it is a fault, which the planner answers with fewer attempts. A batch
/// that was not even begun, or that another worker has more time for, is tried again as it is.
fn nothing_done(done: &[SliceDone], end: End) -> Result<Option<Fault>> {
    let is_nothing = |slice: &SliceDone| {
        let obsolete = matches!(slice.result.output, SliceOutput::Obsolete);
        !obsolete && slice.result.done().is_empty()
    };
    if done.is_empty() || !done.iter().all(is_nothing) {
        return Ok(None);
    }
    match end {
        End::Spent if done.iter().any(|slice| slice.begun) => Ok(Some(Fault {
            kind: FaultKind::Function,
            message: "no call of the function ended within the time of its worker: let it have fewer rows a call, or the worker more time".to_owned(),
            traceback: None,
        })),
        End::Spent | End::CalledOff => Err(no_time()),
    }
}

fn no_time() -> Error {
    let message = "the time of this worker was over before anything of the batch was done";
    Error::new(ErrorKind::Unavailable, message)
}

/// What a slice left, and what it cost.
struct SliceDone {
    result: SliceResult,
    /// Whether there was time to begin it.
    begun: bool,
    fault: Option<Fault>,
    calls: u64,
    bytes_written: u64,
    busy_ms: u64,
    /// Time spent in the function, where it tells: hosts of several cores count one by one.
    in_function: Option<Duration>,
}

impl SliceDone {
    fn obsolete(fragment: FragmentId, in_id: Identity) -> Self {
        let result = SliceResult {
            fragment,
            in_id,
            values: RowSet::new(),
            nulls: RowSet::new(),
            failed: vec![],
            output: SliceOutput::Obsolete,
        };
        Self {
            result,
            begun: true,
            fault: None,
            calls: 0,
            bytes_written: 0,
            busy_ms: 0,
            in_function: None,
        }
    }

    /// Of a slice for which there was no time.
    fn not_begun(slice: &Slice) -> Self {
        let mut done = Self::obsolete(slice.fragment, slice.in_id);
        done.result.output = SliceOutput::Nothing;
        done.begun = false;
        done
    }
}

struct SliceTask {
    version: Arc<dyn TableVersion>,
    column: Column,
    slice: Slice,
    values_path: String,
    batch: String,
    budget: Arc<Budget>,
}

async fn acquire(workers: &Workers) -> Result<tokio::sync::OwnedSemaphorePermit> {
    workers
        .slices
        .clone()
        .acquire_owned()
        .await
        .map_err(|error| Error::internal("the workers are gone").with_source(error))
}

async fn run_slice(task: SliceTask, workers: Workers, world: &dyn World) -> Result<SliceDone> {
    let Some(permit) = task.budget.until().within(acquire(&workers)).await else {
        return Ok(SliceDone::not_begun(&task.slice));
    };
    let permit = permit?;
    let started_ms = world.now_ms();
    let running = tokio::spawn(async move {
        let done = Box::pin(compute(&task)).await;
        drop(permit);
        done
    });
    // Dropped with this future, so that a cancelled batch stops its slices.
    let mut running = AbortOnDrop(running);
    match (&mut running.0).await {
        Ok(done) => {
            let busy_ms = world.now_ms().saturating_sub(started_ms);
            done.map(|done| SliceDone {
                busy_ms: done.in_function.map_or(busy_ms, at_least_a_millisecond),
                ..done
            })
        }
        Err(error) => Err(Error::internal("a worker stopped").with_source(error)),
    }
}

fn at_least_a_millisecond(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}

struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Whether the fragment still has the inputs that the work was planned for.
fn holds(
    version: &dyn TableVersion,
    column: &Column,
    fragment: FragmentId,
    in_id: Identity,
) -> bool {
    identities_of(version, column, fragment).is_some_and(|now| now.in_id == in_id)
}

fn identities_of(
    version: &dyn TableVersion,
    column: &Column,
    fragment: FragmentId,
) -> Option<Identities> {
    let view = version.view().fragment(fragment)?;
    Some(column.identify(view).0)
}

async fn compute(task: &SliceTask) -> Result<SliceDone> {
    let SliceTask {
        version,
        column,
        slice,
        budget,
        ..
    } = task;
    if !holds(version.as_ref(), column, slice.fragment, slice.in_id) {
        return Ok(SliceDone::obsolete(slice.fragment, slice.in_id));
    }
    if budget.time_is_up() {
        // To read it, and lay nothing over it, would only cost more time.
        return Ok(SliceDone::not_begun(slice));
    }
    let deleted = version.deleted_rows(slice.fragment).await?;
    let rows = slice.rows.difference(&deleted);
    match slice.target {
        Target::ColumnFile => output::column_file(task, rows).await,
        Target::Values => output::values_file(task, rows).await,
    }
}
