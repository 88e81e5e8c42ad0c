//! The queues between the stages.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lance_backfill_core::batch::{BatchMessage, Lane, Work};
use lance_backfill_core::deployment;
use lance_backfill_core::format::encode;
use lance_backfill_core::message::{CommitMessage, PlanMessage};
use lance_backfill_core::route::Route;
use lance_backfill_ports::queue::{Outgoing, Queue};
use lance_backfill_ports::{Error, Result};
use sha2::{Digest, Sha256};

use crate::Service;

/// Largest message that carries what the state store has as well; a larger one only names it.
///
/// SQS charges for each 64 KiB.
const LARGEST_MESSAGE: usize = 60 << 10;

/// Where each kind of message goes.
#[derive(Clone)]
pub struct Queues {
    /// Tables to look at.
    pub plans: Arc<dyn Queue>,
    /// Batches of new rows.
    pub fresh: Arc<dyn Queue>,
    /// Batches that people ordered.
    pub bulk: Arc<dyn Queue>,
    /// Columns to publish; ordered, a table is a group.
    pub commits: Arc<dyn Queue>,
    /// Dead letters of `fresh`; only the planner reads them.
    pub fresh_dead: Option<Arc<dyn Queue>>,
    /// Dead letters of `bulk`.
    pub bulk_dead: Option<Arc<dyn Queue>>,
    /// Those of workers in pods, by class.
    pub classes: BTreeMap<String, ClassQueues>,
}

/// Where the batches of a class of workers go.
#[derive(Clone)]
pub struct ClassQueues {
    /// Batches of new rows.
    pub fresh: Arc<dyn Queue>,
    /// Batches that people ordered.
    pub bulk: Arc<dyn Queue>,
    /// Dead letters of `fresh`; only the planner reads them.
    pub fresh_dead: Option<Arc<dyn Queue>>,
    /// Dead letters of `bulk`.
    pub bulk_dead: Option<Arc<dyn Queue>>,
    /// Batches at work at once, in all workers of the class.
    pub batches_at_once: u32,
}

impl ClassQueues {
    /// The queues of these URLs, with their dead letters.
    pub fn of(urls: &deployment::ClassQueues, queue: &dyn Fn(&str) -> Arc<dyn Queue>) -> Self {
        let deployment::ClassQueues {
            queues,
            dead_letters,
            batches_at_once,
        } = urls;
        Self {
            fresh: queue(&queues.fresh),
            bulk: queue(&queues.bulk),
            fresh_dead: Some(queue(&dead_letters.fresh)),
            bulk_dead: Some(queue(&dead_letters.bulk)),
            batches_at_once: *batches_at_once,
        }
    }

    /// The queue of a lane with its dead letters, if this process may read them.
    pub(crate) fn pair(&self, lane: Lane) -> Option<(&dyn Queue, &dyn Queue)> {
        let (live, dead) = match lane {
            Lane::Fresh => (&self.fresh, &self.fresh_dead),
            Lane::Bulk => (&self.bulk, &self.bulk_dead),
        };
        Some((live.as_ref(), dead.as_ref()?.as_ref()))
    }
}

impl Queues {
    /// Sends batches of one column, each lane's together.
    ///
    /// Folds call no function: any worker does them, and no pod need be started for that.
    pub(crate) async fn send_batches(
        &self,
        batches: Vec<BatchMessage>,
        route: Route<'_>,
    ) -> Result<()> {
        let (folds, computed): (Vec<_>, Vec<_>) =
            (batches.iter()).partition(|batch| matches!(batch.work, Some(Work::Fold(_))));
        send_lanes(&folds, &self.fresh, &self.bulk).await?;
        let class = match route {
            Route::Workers => None,
            Route::Class(class) => self.classes.get(class),
        };
        match class {
            None => send_lanes(&computed, &self.fresh, &self.bulk).await,
            Some(class) => send_lanes(&computed, &class.fresh, &class.bulk).await,
        }
    }

    /// Wakes the committer; of several messages for the same reason the first counts for some minutes.
    pub(crate) async fn send_commit(&self, message: &CommitMessage, reason: &str) -> Result<()> {
        let mut body = encode(message)?;
        if body.len() > LARGEST_MESSAGE {
            body = encode(&CommitMessage {
                checkpoint: None,
                entry: None,
                ..message.clone()
            })?;
        }
        let outgoing = Outgoing::new(text(body)?)
            .in_group(group(&message.table))
            .once(digest(&format!(
                "{} {} {reason}",
                message.table, message.binding
            )));
        self.commits.send(&[outgoing]).await
    }

    /// Wakes the planner.
    pub(crate) async fn send_plan(&self, message: &PlanMessage) -> Result<()> {
        self.send_plan_after(message, Duration::ZERO).await
    }

    /// Wakes the planner after a while.
    pub(crate) async fn send_plan_after(
        &self,
        message: &PlanMessage,
        delay: Duration,
    ) -> Result<()> {
        let outgoing = Outgoing {
            delay,
            ..Outgoing::new(text(encode(message)?)?)
        };
        self.plans.send(&[outgoing]).await
    }

    /// Wakes the planner for some tables.
    pub(crate) async fn send_plans(&self, messages: &[PlanMessage]) -> Result<()> {
        let outgoing = (messages.iter())
            .map(|message| Ok(Outgoing::new(text(encode(message)?)?)))
            .collect::<Result<Vec<_>>>()?;
        self.plans.send(&outgoing).await
    }

    /// Where what no worker finished of each lane ends up, as far as this process may read it.
    pub(crate) fn dead_letters(&self) -> impl Iterator<Item = &Arc<dyn Queue>> {
        let own = [&self.fresh_dead, &self.bulk_dead].into_iter();
        let of_classes = (self.classes.values()).flat_map(|it| [&it.fresh_dead, &it.bulk_dead]);
        own.chain(of_classes).flatten()
    }
}

impl Service {
    /// Asks whichever planner comes first to look at some tables.
    pub async fn ask_for_plans(&self, messages: &[PlanMessage]) -> Result<()> {
        self.queues.send_plans(messages).await
    }
}

async fn send_lanes(
    batches: &[&BatchMessage],
    fresh: &Arc<dyn Queue>,
    bulk: &Arc<dyn Queue>,
) -> Result<()> {
    for (lane, queue) in [(Lane::Fresh, fresh), (Lane::Bulk, bulk)] {
        let messages = (batches.iter())
            .filter(|batch| batch.lane == lane)
            .map(|batch| batch_message(batch))
            .collect::<Result<Vec<_>>>()?;
        if !messages.is_empty() {
            queue.send(&messages).await?;
        }
    }
    Ok(())
}

fn batch_message(batch: &BatchMessage) -> Result<Outgoing> {
    let mut body = encode(batch)?;
    if body.len() > LARGEST_MESSAGE {
        body = encode(&BatchMessage {
            work: None,
            entry: None,
            ..batch.clone()
        })?;
    }
    // A table with a large backfill must not keep the workers from other tables.
    Ok(Outgoing::new(text(body)?).in_group(group(&batch.table)))
}

fn text(bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|error| Error::internal("JSON is no text").with_source(error))
}

/// A table's name as a group: its URI may be too long for one, and have characters that none may have.
pub(crate) fn group(table: &str) -> String {
    digest(table)
}

/// Sixteen bytes of the SHA-256 of a text, as hexadecimal digits.
pub(crate) fn digest(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    let bytes = digest.iter().take(16);
    bytes.fold(String::new(), |name, byte| name + &format!("{byte:02x}"))
}
