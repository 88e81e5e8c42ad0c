//! A worker that takes its batches from the queues by itself: a pod, or a laptop.

mod held;
mod run;
mod turns;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use lance_backfill_core::batch::BatchMessage;
use lance_backfill_core::format::decode;
use lance_backfill_core::ids::{BatchId, GenerationId};
use lance_backfill_ports::Result;
use lance_backfill_ports::queue::{Delivery, Queue};
use lance_backfill_stages::until::Until;
use tokio::sync::watch;

use crate::{Delivered, Service, Worked, tell};
use run::pull;

/// How a worker pulls.
#[derive(Debug, Clone)]
pub struct PullOptions {
    /// Batches at work at once.
    pub at_once: usize,
    /// How long the queues hide a message that was received.
    pub visibility: Duration,
    /// Time for what is at work when the worker is told to stop.
    pub grace: Duration,
}

/// What a worker does now, and has done since it started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Doing {
    /// Batches that it has, at work or waiting for the device.
    pub busy: BTreeSet<BatchId>,
    /// Batches that it has done.
    pub batches_done: u64,
    /// Generations that it has computed with.
    pub functions_loaded: BTreeSet<GenerationId>,
    /// Whether it takes nothing more.
    pub draining: bool,
}

/// What a worker did until it stopped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pulled {
    /// Messages that need not come again.
    pub done: u64,
    /// Messages that are tried again.
    pub failed: u64,
    /// Messages that others had got meanwhile.
    pub lost: u64,
    /// Messages that were given back when the worker stopped.
    pub given_back: u64,
}

/// What became of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    /// It need not come again.
    Yes,
    /// It is to come again.
    No,
}

impl Service {
    /// Does batches of these queues, those of the first one before all others, until it is told to stop.
    ///
    /// A message is kept while its batch is at work, and acknowledged when that is recorded. One that
    /// somebody else got meanwhile is of no account: whoever records a batch first is right. When it
    /// stops it takes nothing more, and what does not end within the grace is given back at once, with
    /// as much of it as is finished on record.
    ///
    /// It needs a runtime of several threads, so that a call that blocks one of them does not keep
    /// others from extending the time of its message. What it does meanwhile it says to `doing`.
    pub async fn pull(
        self: &Arc<Self>,
        lanes: &[Arc<dyn Queue>],
        options: &PullOptions,
        doing: &watch::Sender<Doing>,
        stop: impl Future<Output = ()>,
    ) -> Pulled {
        let service = self.clone();
        let says = doing.clone();
        let work = move |delivery: Delivery, until: Until| {
            let (service, says) = (service.clone(), says.clone());
            async move { Box::pin(service.pulled(&delivery, &until, &says)).await }
        };
        let stop = async {
            stop.await;
            doing.send_modify(|doing| doing.draining = true);
        };
        pull(lanes, options, stop, work).await
    }

    async fn pulled(
        &self,
        delivery: &Delivery,
        until: &Until,
        doing: &watch::Sender<Doing>,
    ) -> Result<Done> {
        let message: BatchMessage = match decode(delivery.body.as_bytes()) {
            Ok(message) => message,
            Err(error) => {
                let reason = error.to_string();
                tracing::error!(
                    reason,
                    "a message cannot be read: it goes to the dead letters"
                );
                return Ok(Done::No);
            }
        };
        let busy = Busy::with(&message.batch, doing);
        let delivered = Delivered::after(delivery.receives, None);
        let worked = self.work_until(&message, delivered, until).await;
        if let Ok(Worked::Done { calls, .. }) = &worked {
            busy.done((*calls > 0).then_some(&message.generation));
        }
        match tell(&message, &worked) {
            true => Ok(Done::Yes),
            false => Ok(Done::No),
        }
    }
}

/// A batch that is at work, until this is dropped.
struct Busy<'a> {
    batch: &'a BatchId,
    doing: &'a watch::Sender<Doing>,
}

impl<'a> Busy<'a> {
    fn with(batch: &'a BatchId, doing: &'a watch::Sender<Doing>) -> Self {
        doing.send_modify(|doing| {
            doing.busy.insert(batch.clone());
        });
        Self { batch, doing }
    }

    /// It is done, with a function of this generation if it called any.
    fn done(&self, generation: Option<&GenerationId>) {
        self.doing.send_modify(|doing| {
            doing.batches_done += 1;
            doing.functions_loaded.extend(generation.cloned());
        });
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.doing.send_modify(|doing| {
            doing.busy.remove(self.batch);
        });
    }
}

#[cfg(test)]
mod tests;
