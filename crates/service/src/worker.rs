//! Worker: does one batch, and tells the committer.

use std::time::Duration;

use lance_backfill_core::batch::{BatchMessage, Lane, Work};
use lance_backfill_core::checkpoint::CheckpointManifest;
use lance_backfill_core::definition::BoundColumn;
use lance_backfill_core::format::Stored;
use lance_backfill_core::message::CommitMessage;
use lance_backfill_core::route::{RAY_CPU, Wish};
use lance_backfill_embedded::Engine;
use lance_backfill_embedded::catalog::Catalog;
use lance_backfill_ports::Result;
use lance_backfill_stages::column::Column;
use lance_backfill_stages::execute::{Attempted, OpenBatch};
use lance_backfill_stages::until::Until;

use crate::Service;
use crate::spending::STOPPED;

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
    /// The service does not run its function. The planner holds the column for the same reason, and
    /// sends the batch again once it is gone.
    Refused {
        /// Name of the column.
        column: String,
        /// One line for a person.
        reason: String,
    },
    /// Nobody wants it any more.
    Obsolete {
        /// One line for a person.
        reason: String,
    },
}

/// How the message of a batch came, as far as its queue tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivered {
    /// For the first time, and it was sent a moment ago.
    Now,
    /// For the first time.
    Once,
    /// It may have come before, and somebody may have done it.
    Again,
}

/// How young a message must be whose planner just made sure that nothing is stopped.
const JUST_SENT: Duration = Duration::from_secs(1);

impl Delivered {
    /// Of a message that was received so many times, this one included, and sent so long ago.
    pub fn after(receives: u32, age: Option<Duration>) -> Self {
        match (receives, age) {
            (1, Some(age)) if age < JUST_SENT => Self::Now,
            (1, _) => Self::Once,
            _ => Self::Again,
        }
    }
}

impl Service {
    /// Does a batch; an error means that nothing was recorded and it may be tried again.
    pub async fn work(&self, message: &BatchMessage) -> Result<Worked> {
        self.work_until(message, Delivered::Again, &Until::never())
            .await
    }

    /// The same within some time: when it is over, what is finished is recorded, and the rest of the
    /// rows is planned again.
    pub async fn work_until(
        &self,
        message: &BatchMessage,
        delivered: Delivered,
        until: &Until,
    ) -> Result<Worked> {
        let engine = self.tables.engine(&message.table).await?;
        let worked = Box::pin(self.work_on(&engine, message, delivered, until)).await;
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
        until: &Until,
    ) -> Result<Worked> {
        let obsolete = |reason: String| Ok(Worked::Obsolete { reason });
        if let Some(reason) = engine.copy_note() {
            return obsolete(reason);
        }
        if delivered != Delivered::Now && self.spending.is_stopped().await? {
            return obsolete(STOPPED.to_owned());
        }
        let first = message.seen.as_ref();
        let first = first.filter(|_| delivered != Delivered::Again);
        // What was planned a moment ago need not be looked for; what waited in bulk may be old.
        let seen = match first.filter(|_| message.lane == Lane::Fresh) {
            Some(seen) => engine.seen(seen).await?,
            None => None,
        };
        let version = match seen {
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
        let job = message.job.as_ref();
        if let Some(job) = job
            && column.store.job_end(job).await?.is_some()
        {
            return obsolete(format!("job {job} is over"));
        }
        let Some(work) = work_of(&column, message).await? else {
            return obsolete("the ledger does not have it any more".to_owned());
        };
        // A fold calls no function.
        if matches!(work, Work::Compute(_))
            && let Some(reason) = engine.refusal(&bound.definition).await?
        {
            let column = column.name().to_owned();
            return Ok(Worked::Refused { column, reason });
        }
        let wish = Wish::of(&bound.definition);
        let class = self.options.class.as_deref();
        if matches!(work, Work::Compute(_)) && !wish.suits(class) {
            // The column was edited since it was sent.
            let who = match wish.wants_gpu() {
                true => "GPU workers",
                false => RAY_CPU,
            };
            let reason = format!(
                "its batches are for {who} now; the planner sends it there when it is overdue"
            );
            let column = column.name().to_owned();
            return Ok(Worked::Refused { column, reason });
        }
        let open = OpenBatch {
            batch: &message.batch,
            job,
            work: &work,
            at: Some(&version),
            attempted: match first {
                Some(_) => Attempted::Never,
                None => Attempted::Perhaps,
            },
            until,
        };
        let manifest = tokio::select! {
            biased;
            manifest = engine.execute(&column, open) => manifest?,
            // What was not finished is dropped; without a checkpoint manifest it is nothing.
            reason = self.called_off(&column, job) => return obsolete(reason),
        };
        let finished = CommitMessage {
            version: CommitMessage::VERSION,
            table: message.table.clone(),
            binding: message.binding.clone(),
            batch: Some(message.batch.clone()),
            checkpoint: Some(manifest.as_ref().clone()),
            entry: message.entry.clone(),
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
