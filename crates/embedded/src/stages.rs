//! The stages one by one, for a service that runs each of them somewhere else.

use std::sync::Arc;

use lance_backfill_core::checkpoint::CheckpointManifest;
use lance_backfill_core::definition::BoundColumn;
use lance_backfill_core::ids::{BatchId, BindingId};
use lance_backfill_core::ledger::EntryBody;
use lance_backfill_core::message::CommitMessage;
use lance_backfill_core::plan::Limits;
use lance_backfill_core::table::SeenVersion;
use lance_backfill_ports::Result;
use lance_backfill_ports::state_store::Created;
use lance_backfill_ports::table::{Table, TableVersion};
use lance_backfill_stages::column::Column;
use lance_backfill_stages::commit::{CommitReport, commit};
use lance_backfill_stages::execute::{Evaluated, OpenBatch, execute};
use lance_backfill_stages::plan::{Order, PlanOutcome, dispatch, write_down};
use lance_backfill_stages::reconcile::collect;
use lance_backfill_stages::survey::{Scope, Survey};
use tracing::Instrument;

use crate::catalog::Catalog;
use crate::converge::GRACE;
use crate::engine::Engine;

impl Engine {
    /// A version that somebody saw, while it is there; there may be newer ones.
    pub async fn seen(&self, seen: &SeenVersion) -> Result<Option<Arc<dyn TableVersion>>> {
        self.table.seen(seen).await
    }

    /// Looks at the finished work of one column, and at all that it reads, as a commit needs it.
    pub async fn survey_finished(
        &self,
        version: &Arc<dyn TableVersion>,
        catalog: &Catalog,
        binding: &BindingId,
    ) -> Result<Option<(Column, Survey)>> {
        let of_binding = |bound: &BoundColumn| bound.binding == *binding;
        let surveyed = self
            .survey_for(version, catalog, &of_binding, Scope::Finished)
            .await?;
        let mut surveyed = surveyed.into_iter();
        Ok(surveyed.find(|(column, _)| of_binding(&column.bound)))
    }

    /// Hands out one page of a column's work.
    pub async fn hand_out(
        &self,
        column: &Column,
        survey: &Survey,
        limits: &Limits,
        order: Order<'_>,
    ) -> Result<PlanOutcome> {
        dispatch(survey, column, limits, order, self.world.as_ref())
            .instrument(tracing::info_span!("hand_out", column = column.name()))
            .await
    }

    /// Writes down what is no work: a hold, or the end of one.
    pub async fn note(
        &self,
        column: &Column,
        survey: &Survey,
        body: EntryBody,
    ) -> Result<PlanOutcome> {
        write_down(survey, column, body, None, self.world.as_ref()).await
    }

    /// Writes down what is settled, and which version's changes are accounted for.
    pub async fn note_settled(&self, column: &Column, survey: &Survey) -> Result<()> {
        match survey.snapshot_extension(&column.bound.generation) {
            Some(extension) => {
                let store = &column.store;
                match store.extend_snapshot(&survey.snapshot, extension).await? {
                    // Another process extended it first: ours is found again by the next survey.
                    Created::New | Created::AlreadyThere => Ok(()),
                }
            }
            None => Ok(()),
        }
    }

    /// Does one batch, unless it left a checkpoint manifest already.
    pub async fn execute(
        &self,
        column: &Column,
        open: OpenBatch<'_>,
    ) -> Result<Arc<CheckpointManifest>> {
        execute(
            self.table.as_ref(),
            column,
            open,
            &Arc::new(Evaluated::default()),
            &self.workers,
            self.world.as_ref(),
        )
        .instrument(tracing::info_span!("execute", column = column.name()))
        .await
    }

    /// Remembers what a message of a finished batch carries: it is in the store of its column.
    pub fn learn(&self, message: &CommitMessage) {
        let store = self.store(&message.binding);
        if let Some(checkpoint) = &message.checkpoint {
            store.learn(checkpoint.clone());
        }
        if let Some(entry) = &message.entry {
            store.learn_entry(entry.clone());
        }
    }

    /// Whether a batch may still leave a checkpoint manifest.
    pub async fn is_open(&self, binding: &BindingId, batch: &BatchId) -> Result<bool> {
        self.store(binding).is_open(batch).await
    }

    /// Publishes what is finished of a column on this version, which must be freshly loaded.
    pub async fn commit(
        &self,
        version: &Arc<dyn TableVersion>,
        column: &Column,
        survey: &Survey,
    ) -> Result<CommitReport> {
        commit(version, column, survey)
            .instrument(tracing::info_span!("publish", column = column.name()))
            .await
    }

    /// Deletes what nothing of a column needs any more.
    pub async fn collect(&self, column: &Column, survey: &Survey) -> Result<usize> {
        collect(column, survey, self.world.as_ref(), GRACE)
            .instrument(tracing::info_span!("collect", column = column.name()))
            .await
    }

    /// A fresh token, for what is written down once.
    pub fn token(&self) -> String {
        self.world.token()
    }

    /// Milliseconds since the epoch.
    pub fn now_ms(&self) -> u64 {
        self.world.now_ms()
    }
}
