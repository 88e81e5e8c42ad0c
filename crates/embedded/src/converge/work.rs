//! Doing batches, and counting what came of them.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::{FutureExt, StreamExt, stream};
use lance_backfill_core::batch::Work;
use lance_backfill_core::checkpoint::{CheckpointManifest, Fault, FaultKind};
use lance_backfill_core::ids::JobId;
use lance_backfill_ports::Result;
use lance_backfill_stages::column::Column;
use lance_backfill_stages::execute::{Attempted, OpenBatch, execute};
use lance_backfill_stages::until::Until;

use super::run::{Claim, Run, Step, wait};
use super::{Progress, Stopped};

/// How often we look whether somebody called a job off.
const LOOK_FOR_CANCEL: Duration = Duration::from_millis(500);

/// Batches begun for each worker: one has its next at hand while the last one's manifest is written.
/// More are begun from older versions than need be.
const AHEAD: usize = 2;

impl Run<'_> {
    /// Does batches side by side; publishes in between when enough time went by.
    pub(super) async fn work(
        &mut self,
        column: &Column,
        work: Vec<Claim>,
        progress: &dyn Progress,
    ) -> Result<Step> {
        let engine = self.engine;
        let rows = work.iter().map(|claim| match &claim.work {
            Work::Compute(spec) => spec.rows(),
            Work::Fold(_) => 0,
        });
        let rows: u64 = rows.sum();
        if rows > 0
            && let Err(fault) = self.prepare(column, rows).await
        {
            return Ok(Step::Stop(Stopped::Fault(fault)));
        }
        let started_ms = engine.world.now_ms();
        for claim in &work {
            self.own.entry(claim.batch.seq).or_default();
        }
        let evaluated = self.evaluated.clone();
        let until = Until::never();
        let batches = work.iter().map(|Claim { batch, job, work }| {
            execute(
                engine.table.as_ref(),
                column,
                OpenBatch {
                    batch,
                    job: job.as_ref(),
                    work,
                    at: None,
                    until: &until,
                    attempted: Attempted::Perhaps,
                },
                &evaluated,
                &engine.workers,
                engine.world.as_ref(),
            )
            .boxed()
        });
        // In their order, and each from a version as new as can be: oldest rows first.
        let at_once = engine.options.workers.max(1).saturating_mul(AHEAD);
        let mut running = stream::iter(batches).buffer_unordered(at_once);
        let mut left = work.len();
        let jobs: BTreeSet<JobId> = work.iter().filter_map(|claim| claim.job.clone()).collect();
        let called_off = called_off(column, &jobs);
        tokio::pin!(called_off);
        self.waits = 0;
        let mut stop = None;
        loop {
            let done = tokio::select! {
                done = running.next() => done,
                called_off = &mut called_off => {
                    // Dropped work stops at its next pause; without a checkpoint manifest it is nothing.
                    called_off?;
                    break;
                }
            };
            let Some(done) = done else { break };
            let manifest = done?;
            left -= 1;
            self.count(&manifest);
            progress.rows(column.name(), self.computed + self.failed, self.total);
            stop = stop.or_else(|| manifest.fault.as_ref().map(stopped_by));
            stop = stop.or_else(|| self.over_budget(column));
            if stop.is_some() {
                // What is finished counts; the rest of the page stays open and is ours to redo.
                break;
            }
            if left > 0 && self.commit_is_due(started_ms) {
                self.publish().await?;
            }
        }
        drop(running);
        match stop {
            Some(stopped @ Stopped::Budget(_)) => {
                self.publish().await?;
                self.stopping = Some(stopped);
                Ok(Step::Progress)
            }
            Some(stopped) => {
                self.publish().await?;
                Ok(Step::Stop(stopped))
            }
            None => Ok(Step::Progress),
        }
    }

    /// Makes sure, once a call, that the function can be called at all.
    ///
    /// Before any row is handed out: a missing package or secret then leaves nothing behind.
    pub(super) async fn prepare(
        &mut self,
        column: &Column,
        rows: u64,
    ) -> std::result::Result<(), Fault> {
        if !self.prepared {
            column.function.prepare(rows).await?;
            self.prepared = true;
        }
        Ok(())
    }

    fn count(&mut self, manifest: &CheckpointManifest) {
        self.converged.batches += 1;
        self.converged.bytes_written += manifest.bytes_written;
        if manifest.calls > 0 {
            self.computed += manifest.rows_computed();
            self.failed += manifest.rows_failed();
            let own = self.own.entry(manifest.batch.seq).or_default();
            own.computed += manifest.rows_computed();
            own.fragments
                .extend(manifest.slices.iter().map(|slice| slice.fragment));
        }
    }
}

/// Returns when one of the jobs is over, never without jobs.
async fn called_off(column: &Column, jobs: &BTreeSet<JobId>) -> Result<()> {
    if jobs.is_empty() {
        return std::future::pending().await;
    }
    loop {
        wait(LOOK_FOR_CANCEL).await;
        for job in jobs {
            if column.store.job_end(job).await?.is_some() {
                return Ok(());
            }
        }
    }
}

fn stopped_by(fault: &Fault) -> Stopped {
    match fault.kind {
        FaultKind::Budget => Stopped::Budget(fault.message.clone()),
        FaultKind::Function | FaultKind::Environment | FaultKind::Schema | FaultKind::Storage => {
            Stopped::Fault(fault.clone())
        }
    }
}
