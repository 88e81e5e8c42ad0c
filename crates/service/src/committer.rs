//! Committer: publishes what is finished of a column.

use std::collections::BTreeSet;

use lance_backfill_core::ids::BatchId;
use lance_backfill_core::message::{CommitMessage, PlanMessage, Wake};
use lance_backfill_embedded::Engine;
use lance_backfill_embedded::catalog::Catalog;
use lance_backfill_ports::{Error, ErrorKind, Result};
use lance_backfill_stages::column::Column;
use lance_backfill_stages::survey::Unsettled;

use crate::Service;
use crate::clock::now;

/// Batches that are looked for before a finished one waits for another.
const MOST_ASKED: usize = 3;
/// Commits in a row that met another writer.
const MOST_CONFLICTS: usize = 20;

/// What became of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Committed {
    /// Readers see it.
    Published {
        /// Name of the column.
        column: String,
        /// Version that has it.
        version: u64,
        /// Rows with a new value or NULL.
        rows: u64,
    },
    /// It is written down, and no reader sees a change: rows that failed, or parts that wait for others.
    Noted {
        /// Name of the column.
        column: String,
    },
    /// It is published together with what is finished soon.
    Later,
    /// Nothing is to be published.
    Nothing {
        /// One line for a person.
        reason: String,
    },
}

impl Service {
    /// Publishes what is finished of a column.
    pub async fn commit(&self, message: &CommitMessage) -> Result<Committed> {
        let engine = self.tables.engine(&message.table).await?;
        let committed = Box::pin(self.commit_on(&engine, message)).await;
        if committed.is_err() {
            self.tables.close(&message.table).await;
        }
        committed
    }

    async fn commit_on(&self, engine: &Engine, message: &CommitMessage) -> Result<Committed> {
        let is_fault = (message.checkpoint.as_ref()).is_some_and(|done| done.fault.is_some());
        if let Some(batch) = &message.batch
            && !is_fault
            && self.can_wait(engine, message, batch).await?
        {
            return Ok(Committed::Later);
        }
        let nothing = |reason: String| Ok(Committed::Nothing { reason });
        if let Some(reason) = engine.copy_note() {
            return nothing(reason);
        }
        if let Some(for_ms) = engine.paused_for_ms().await? {
            return nothing(lance_backfill_embedded::pause::paused_line(for_ms));
        }
        for _ in 0..MOST_CONFLICTS {
            let version = engine.latest().await?;
            let catalog = Catalog::read(version.view())?;
            engine.learn(message);
            let surveyed = engine
                .survey_finished(&version, &catalog, &message.binding)
                .await?;
            let Some((column, survey)) = surveyed else {
                return nothing(format!(
                    "the table has no column that acts with the binding {}",
                    message.binding
                ));
            };
            let name = column.name().to_owned();
            if !survey.has_finished() {
                let has_parts = |unsettled: &Unsettled| !unsettled.parts.is_empty();
                // A planner decides when they are folded, and what a fault means for other batches.
                let is_fault = (message.batch.as_ref())
                    .and_then(|batch| survey.checkpoint(batch))
                    .is_some_and(|done| done.fault.is_some());
                let probed = survey.standing_breaker(&column.bound.generation).is_some();
                if is_fault || probed || survey.unsettled.values().any(has_parts) {
                    self.wake_planner(message, &column).await?;
                }
                return Ok(Committed::Noted { column: name });
            }
            let began = now();
            let report = engine.commit(&version, &column, &survey).await?;
            let open: BTreeSet<_> = (survey.open_work.iter())
                .map(|open| open.batch.clone())
                .collect();
            self.pace
                .note(&message.table, &message.binding, (began, now()), open);
            if let Some(reason) = &report.conflict {
                tracing::debug!(column = name, reason, "a commit met another writer");
                continue;
            }
            let Some(version) = report.published_version else {
                self.wake_planner(message, &column).await?;
                return Ok(Committed::Noted { column: name });
            };
            // The version that it made is an event, which wakes the planner for columns that are kept
            // up to date by themselves.
            if !column.bound.definition.auto {
                self.wake_planner(message, &column).await?;
            }
            let rows = report.assigned.values().sum();
            return Ok(Committed::Published {
                column: name,
                version,
                rows,
            });
        }
        Err(Error::new(
            ErrorKind::Unavailable,
            "other writers keep changing the same rows",
        ))
    }

    /// Whether a finished batch is published with one that is still open.
    ///
    /// That one tells the committer after it left its checkpoint manifest: as long as there is none, its
    /// message comes after this one, whichever process gets it.
    async fn can_wait(
        &self,
        engine: &Engine,
        message: &CommitMessage,
        batch: &BatchId,
    ) -> Result<bool> {
        let (table, binding) = (&message.table, &message.binding);
        let mut finished = batch.clone();
        for _ in 0..MOST_ASKED {
            let other = (self.pace).can_wait_for(table, binding, &finished, now());
            let Some(other) = other else {
                return Ok(false);
            };
            if engine.is_open(binding, &other).await? {
                return Ok(true);
            }
            finished = other;
        }
        Ok(false)
    }

    async fn wake_planner(&self, message: &CommitMessage, column: &Column) -> Result<()> {
        let why = match column.bound.definition.auto {
            true => Wake::Committed,
            // Only a job has work in it, which a person asked for.
            false => Wake::Requested,
        };
        let plan = PlanMessage::new(message.table.clone(), why);
        self.queues.send_plan(&plan).await
    }
}
