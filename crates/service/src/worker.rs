//! Worker: does one batch, and tells the committer.

use lance_backfill_core::batch::{BatchMessage, Lane, Work};
use lance_backfill_core::checkpoint::CheckpointManifest;
use lance_backfill_core::definition::BoundColumn;
use lance_backfill_core::format::Stored;
use lance_backfill_core::message::CommitMessage;
use lance_backfill_embedded::Engine;
use lance_backfill_embedded::catalog::Catalog;
use lance_backfill_ports::Result;
use lance_backfill_stages::column::Column;
use lance_backfill_stages::execute::{Attempted, OpenBatch};

use crate::Service;

/// What became of a batch.
#[derive(Debug, Clone, PartialEq)]
pub enum Worked {
    /// It has a checkpoint manifest, and the committer knows.
    Done {
        /// Name of the column.
        column: String,
        /// Rows with a value or NULL.
        rows_computed: u64,
        /// Rows that failed.
        rows_failed: u64,
        /// Calls of the function.
        calls: u64,
        /// Why it stopped before its end.
        fault: Option<String>,
    },
    /// Nobody wants it any more.
    Obsolete {
        /// One line for a person.
        reason: String,
    },
}

/// Whether the message of a batch came before, as far as its queue tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivered {
    /// This is the first time.
    Once,
    /// It may have come before, and somebody may have done it.
    Again,
}

impl Delivered {
    /// Of a message that was received so many times, this one included.
    pub const fn after(receives: u32) -> Self {
        match receives {
            1 => Self::Once,
            _ => Self::Again,
        }
    }
}

impl Service {
    /// Does a batch; an error means that nothing was recorded and it may be tried again.
    ///
    /// `delivered` says whether its message came for the first time.
    pub async fn work(&self, message: &BatchMessage, delivered: Delivered) -> Result<Worked> {
        let engine = self.tables.engine(&message.table).await?;
        let worked = Box::pin(self.work_on(&engine, message, delivered)).await;
        if worked.is_err() {
            self.tables.close(&message.table).await;
        }
        worked
    }

    async fn work_on(
        &self,
        engine: &Engine,
        message: &BatchMessage,
        delivered: Delivered,
    ) -> Result<Worked> {
        let obsolete = |reason: String| Ok(Worked::Obsolete { reason });
        if let Some(reason) = engine.copy_note() {
            return obsolete(reason);
        }
        // What was planned a moment ago need not be looked for; what waited in bulk may be old.
        let seen = match (delivered, &message.seen) {
            (Delivered::Once, Some(seen)) => Some(seen),
            (Delivered::Again, _) | (_, None) => None,
        };
        let told = match seen.filter(|_| message.lane == Lane::Fresh) {
            Some(seen) => engine.seen(seen).await?,
            None => None,
        };
        let version = match told {
            Some(version) => version,
            None => engine.latest().await?,
        };
        let catalog = Catalog::read(version.view())?;
        let of_binding = |bound: &&BoundColumn| bound.binding == message.binding;
        let Some(bound) = catalog.acting().find(of_binding) else {
            return obsolete(format!(
                "the table has no column that acts with the binding {}",
                message.binding
            ));
        };
        if bound.generation != message.generation {
            return obsolete(format!("column '{}' was changed meanwhile", bound.name));
        }
        let column = engine.column(bound, &catalog, version.as_ref())?;
        if let Some(job) = &message.job
            && column.store.job_end(job).await?.is_some()
        {
            return obsolete(format!("job {job} is over"));
        }
        let Some(work) = work_of(&column, message).await? else {
            return obsolete("the ledger does not have it any more".to_owned());
        };
        let open = OpenBatch {
            batch: &message.batch,
            job: message.job.as_ref(),
            work: &work,
            at: Some(&version),
            attempted: match seen {
                Some(_) => Attempted::Never,
                None => Attempted::Perhaps,
            },
        };
        let manifest = engine.execute(&column, open).await?;
        let finished = CommitMessage {
            version: CommitMessage::VERSION,
            table: message.table.clone(),
            binding: message.binding.clone(),
            batch: Some(message.batch.clone()),
            checkpoint: Some(manifest.as_ref().clone()),
        };
        let reason = message.batch.to_string();
        self.queues.send_commit(&finished, &reason).await?;
        Ok(done(&column, &manifest))
    }
}

/// What is to be done: the message says it, or where the ledger does.
async fn work_of(column: &Column, message: &BatchMessage) -> Result<Option<Work>> {
    if let Some(work) = &message.work {
        return Ok(Some(work.clone()));
    }
    let entry = column.store.entry(message.batch.seq).await?;
    let Some(entry) = entry.filter(|entry| entry.token == message.batch.token) else {
        return Ok(None);
    };
    let mut work = entry.work().into_iter();
    let found = work.find(|(batch, _)| *batch == message.batch);
    Ok(found.map(|(_, work)| work))
}

fn done(column: &Column, manifest: &CheckpointManifest) -> Worked {
    Worked::Done {
        column: column.name().to_owned(),
        rows_computed: manifest.rows_computed(),
        rows_failed: manifest.rows_failed(),
        calls: manifest.calls,
        fault: manifest.fault.as_ref().map(|fault| fault.message.clone()),
    }
}
