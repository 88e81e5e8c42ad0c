//! Quarantine: what no worker finished, however often it was received, is brought to an end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lance_backfill_core::batch::{BatchMessage, BatchSpec, Work};
use lance_backfill_core::definition::BoundColumn;
use lance_backfill_core::format::{Stored, decode};
use lance_backfill_core::ids::{BatchId, BindingId};
use lance_backfill_core::message::CommitMessage;
use lance_backfill_core::quarantine::{Attempt, Verdict, judge, manifest};
use lance_backfill_embedded::catalog::Catalog;
use lance_backfill_ports::Result;
use lance_backfill_ports::queue::{Delivery, Queue};
use lance_backfill_stages::survey::{OpenWork, Survey};

use crate::Service;

/// Dead letters read at once.
const AT_ONCE: usize = 10;
/// Dead letters of one lane that are taken each time: the next time takes the others.
const MOST_LETTERS: usize = 200;

/// What became of the dead letters of the workers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Quarantined {
    /// Batches that were given up, by column.
    pub given_up: Vec<GivenUp>,
    /// Letters about work that somebody finished, or that nobody wants any more.
    pub obsolete: usize,
    /// Letters that stay where they are, since they cannot be read or their table cannot be.
    pub left: usize,
}

/// Batches of a column that were given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenUp {
    /// URI of the table.
    pub table: String,
    /// Name of the column.
    pub column: String,
    /// Batches.
    pub batches: usize,
    /// Their rows, which failed; none where so many batches fared alike that no row is to blame.
    pub rows_failed: u64,
}

/// A dead letter that can be read.
struct Letter<'a> {
    queue: &'a Arc<dyn Queue>,
    delivery: Delivery,
    message: BatchMessage,
}

impl Service {
    /// Gives up the batches whose messages are dead letters.
    ///
    /// A letter is acknowledged after what it leads to was written: a checkpoint manifest, created if
    /// there is none, so that a worker which finishes late after all is as good.
    pub async fn quarantine(&self) -> Result<Quarantined> {
        let mut found = Quarantined::default();
        let mut columns: BTreeMap<(String, BindingId), Vec<Letter<'_>>> = BTreeMap::new();
        for queue in self.queues.dead_letters() {
            for delivery in take(queue.as_ref()).await? {
                match decode::<BatchMessage>(delivery.body.as_bytes()) {
                    Ok(message) => {
                        let column = (message.table.clone(), message.binding.clone());
                        columns.entry(column).or_default().push(Letter {
                            queue,
                            delivery,
                            message,
                        });
                    }
                    Err(error) => {
                        found.left += 1;
                        tracing::error!(%error, "a dead letter of the workers cannot be read, and stays");
                    }
                }
            }
        }
        for ((table, binding), letters) in columns {
            match Box::pin(self.quarantine_column(&table, &binding, &letters)).await {
                Ok(given_up) => {
                    let batches = given_up.as_ref().map_or(0, |given_up| given_up.batches);
                    found.obsolete += letters.len().saturating_sub(batches);
                    found.given_up.extend(given_up);
                    for Letter {
                        queue, delivery, ..
                    } in &letters
                    {
                        queue
                            .acknowledge(std::slice::from_ref(&delivery.receipt))
                            .await?;
                    }
                }
                Err(error) => {
                    self.tables.close(&table).await;
                    found.left += letters.len();
                    let error = error.one_line();
                    tracing::error!(table, error, "dead letters of a table stay");
                }
            }
        }
        Ok(found)
    }

    /// Gives up the batches of a column that are still open; a fold that is, is sent again.
    async fn quarantine_column(
        &self,
        table: &str,
        binding: &BindingId,
        letters: &[Letter<'_>],
    ) -> Result<Option<GivenUp>> {
        let engine = self.tables.engine(table).await?;
        if engine.copy_note().is_some() {
            return Ok(None);
        }
        let version = engine.latest().await?;
        let catalog = Catalog::read(version.view())?;
        let of_binding = |bound: &BoundColumn| bound.binding == *binding;
        let surveyed = engine.survey(&version, &catalog, &of_binding).await?;
        let Some((column, survey)) = (surveyed.iter()).find(|(it, _)| of_binding(&it.bound)) else {
            return Ok(None);
        };
        let dead = still_open(survey, letters);
        if dead.is_empty() {
            return Ok(None);
        }
        let generation = &column.bound.generation;
        let breaker_stands = survey.standing_breaker(generation).is_some();
        let checkpoints = survey.checkpoints.values().map(AsRef::as_ref);
        let verdict = judge(dead.len(), breaker_stands, generation, checkpoints);
        let mut given_up = GivenUp {
            table: table.to_owned(),
            column: column.name().to_owned(),
            batches: dead.len(),
            rows_failed: 0,
        };
        for (letter, spec) in dead.into_values() {
            let attempt = Attempt {
                token: engine.token(),
                read_version: survey.version,
                receives: letter.delivery.receives,
                now_ms: engine.now_ms(),
            };
            let manifest = manifest(&letter.message, spec, verdict, attempt);
            let winner = column.store.create_checkpoint(manifest).await?;
            if verdict == Verdict::RowsFailed {
                given_up.rows_failed += winner.rows_failed();
            }
            let finished = CommitMessage {
                version: CommitMessage::VERSION,
                table: table.to_owned(),
                binding: binding.clone(),
                batch: Some(letter.message.batch.clone()),
                checkpoint: Some(winner.as_ref().clone()),
                entry: None,
            };
            let reason = format!("quarantine of {}", letter.message.batch);
            self.queues.send_commit(&finished, &reason).await?;
        }
        Ok(Some(given_up))
    }
}

/// Takes dead letters until there are no more, or enough.
async fn take(queue: &dyn Queue) -> Result<Vec<Delivery>> {
    let mut letters = vec![];
    while letters.len() < MOST_LETTERS {
        let some = queue.receive(AT_ONCE, Duration::ZERO).await?;
        if some.is_empty() {
            break;
        }
        letters.extend(some);
    }
    Ok(letters)
}

/// Batches that the letters are about and that nobody has finished, each once.
fn still_open<'a>(
    survey: &'a Survey,
    letters: &'a [Letter<'a>],
) -> BTreeMap<&'a BatchId, (&'a Letter<'a>, &'a BatchSpec)> {
    let mut found = BTreeMap::new();
    for letter in letters {
        let is_it = |open: &&OpenWork| open.batch == letter.message.batch;
        let open = survey.open_work.iter().find(is_it);
        if let Some(Work::Compute(spec)) = open.map(|open| &open.work) {
            found.insert(&letter.message.batch, (letter, spec));
        }
    }
    found
}
