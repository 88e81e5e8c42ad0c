//! Messages that a worker keeps from others while their batches are at work.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use lance_backfill_ports::queue::{Delivery, Queue, Receipt};

use crate::clock::wait;

/// A message is kept this many times in the time that it would stay hidden: one of them may fail.
const EXTENSIONS: u32 = 3;

/// Messages that are at work.
#[derive(Clone, Default)]
pub(super) struct Held(Arc<Mutex<BTreeMap<u64, Message>>>);

#[derive(Clone)]
pub(super) struct Message {
    queue: Arc<dyn Queue>,
    receipt: Receipt,
    /// Whether somebody else may have got it.
    pub(super) lost: bool,
}

impl Held {
    pub(super) fn all(&self) -> MutexGuard<'_, BTreeMap<u64, Message>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps all of them for as long as they would be hidden, from now on.
    async fn extend(&self, visibility: Duration) {
        let held: Vec<(u64, Message)> = (self.all().iter())
            .filter(|(_, message)| !message.lost)
            .map(|(number, message)| (*number, message.clone()))
            .collect();
        let extending = held.into_iter().map(|(number, message)| async move {
            match message.queue.extend(&message.receipt, visibility).await {
                Ok(true) => {}
                Ok(false) => {
                    // One that has ended meanwhile is gone for another reason.
                    if let Some(message) = self.all().get_mut(&number) {
                        message.lost = true;
                        tracing::warn!("somebody else got a batch that is still at work here");
                    }
                }
                Err(error) => {
                    let error = error.one_line();
                    tracing::warn!(error, "a message cannot be kept for longer");
                }
            }
        });
        join_all(extending).await;
    }
}

impl Message {
    pub(super) fn of(delivery: &Delivery, queue: &Arc<dyn Queue>) -> Self {
        Self {
            queue: queue.clone(),
            receipt: delivery.receipt.clone(),
            lost: false,
        }
    }

    /// Its batch is on record.
    pub(super) async fn acknowledge(&self) {
        let receipt = std::slice::from_ref(&self.receipt);
        if let Err(error) = self.queue.acknowledge(receipt).await {
            // Whoever gets it finds it done.
            let error = error.one_line();
            tracing::warn!(error, "a message that is done comes again");
        }
    }

    /// Ends our time of it: the queue delivers it again after so long.
    pub(super) async fn give_back(&self, after: Duration) {
        if let Err(error) = self.queue.extend(&self.receipt, after).await {
            // It comes again by itself, only later.
            let error = error.one_line();
            tracing::warn!(error, "a message cannot be given back");
        }
    }
}

/// Keeps messages from others for as long as they are at work.
pub(super) async fn keep(held: Held, visibility: Duration) {
    loop {
        // A queue that answers slowly must not make the next time later, too.
        tokio::join!(held.extend(visibility), wait(visibility / EXTENSIONS));
    }
}
