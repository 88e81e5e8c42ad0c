//! Redrive: moves dead letters back to their queue.

use std::time::Duration;

use lance_backfill_ports::Result;
use lance_backfill_ports::queue::{Delivery, Outgoing};
use serde::Deserialize;

use crate::queues::{digest, group};
use crate::remote::{QueueName, Remote};

/// Messages of one request.
const AT_ONCE: usize = 10;
/// How long a queue that seems empty is asked: only then all of its servers are.
const LAST_LOOK: Duration = Duration::from_secs(1);

/// What became of the dead letters of one queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redriven {
    /// Which one.
    pub queue: QueueName,
    /// About how many there were.
    pub dead_letters: u64,
    /// How many were moved.
    pub moved: u64,
}

/// What we need to know of a message; one that is nobody's is moved like the others.
#[derive(Deserialize)]
struct Named {
    table: String,
}

impl Remote {
    /// Moves dead letters back to their queue, about as many as there are now: what fails again at once
    /// does not keep this going. `told` hears how many of how many were moved.
    ///
    /// Each is sent before it is acknowledged: if this dies in between, a message is there twice, which
    /// messages bear.
    pub async fn redrive(&self, queue: &QueueName, told: &dyn Fn(u64, u64)) -> Result<Redriven> {
        let (live, dead) = self.pair(queue)?;
        let dead_letters = dead.depth().await?.all();
        let most = dead_letters.max(AT_ONCE as u64);
        let mut moved = 0;
        told(moved, dead_letters);
        while moved < most {
            let found = dead.receive(AT_ONCE, LAST_LOOK).await?;
            if found.is_empty() {
                break;
            }
            let messages: Vec<Outgoing> = found.iter().map(|it| outgoing(queue, it)).collect();
            live.send(&messages).await?;
            let receipts: Vec<_> = found.into_iter().map(|delivery| delivery.receipt).collect();
            dead.acknowledge(&receipts).await?;
            moved += receipts.len() as u64;
            told(moved, dead_letters.max(moved));
        }
        Ok(Redriven {
            queue: queue.clone(),
            dead_letters,
            moved,
        })
    }
}

/// The same message, in the group of its table again.
fn outgoing(queue: &QueueName, delivery: &Delivery) -> Outgoing {
    let message = Outgoing::new(delivery.body.clone());
    let table = serde_json::from_str::<Named>(&delivery.body).map(|named| named.table);
    match queue {
        QueueName::Plans => message,
        QueueName::Fresh | QueueName::Bulk | QueueName::Class(..) => match table {
            Ok(table) => message.in_group(group(&table)),
            Err(_) => message,
        },
        // It was sent before under another name: as the same message it would be dropped.
        QueueName::Commits => message
            .in_group(group(table.as_deref().unwrap_or_default()))
            .once(digest(&format!("redrive {}", delivery.receipt.0))),
    }
}
