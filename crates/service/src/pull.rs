//! A worker that takes its batches from the queues by itself: a pod, or a laptop.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;
use lance_backfill_core::batch::BatchMessage;
use lance_backfill_core::calls::backoff_ms;
use lance_backfill_core::format::decode;
use lance_backfill_core::ids::{BatchId, GenerationId};
use lance_backfill_ports::queue::{Delivery, Queue, Receipt};
use lance_backfill_ports::{Error, Result};
use lance_backfill_stages::until::{End, Until};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, timeout_at};

use crate::{Delivered, Service, Worked, tell};

/// Longest wait for a message. New rows wait no longer for a worker that looks for others; half as
/// much doubles the requests of a worker that has nothing to do.
const WAIT: Duration = Duration::from_secs(5);
/// Longest pause after a queue did not answer.
const LONGEST_PAUSE_MS: u64 = 30_000;
/// A message is kept this many times in the time that it would stay hidden: one of them may fail.
const EXTENSIONS: u32 = 3;
/// The share of the grace that is left for writing down what is finished.
const LAST_SHARE: u32 = 4;

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

/// Messages that are at work.
#[derive(Clone, Default)]
struct Held(Arc<Mutex<BTreeMap<u64, Message>>>);

#[derive(Clone)]
struct Message {
    queue: Arc<dyn Queue>,
    receipt: Receipt,
    /// Whether somebody else may have got it.
    lost: bool,
}

impl Held {
    fn all(&self) -> MutexGuard<'_, BTreeMap<u64, Message>> {
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
    /// Its batch is on record.
    async fn acknowledge(&self) -> Ended {
        let receipt = std::slice::from_ref(&self.receipt);
        if let Err(error) = self.queue.acknowledge(receipt).await {
            // Whoever gets it finds it done.
            let error = error.one_line();
            tracing::warn!(error, "a message that is done comes again");
        }
        Ended::Done
    }

    /// Ends our time of it: the queue delivers it again after so long.
    async fn give_back(&self, after: Duration) {
        if let Err(error) = self.queue.extend(&self.receipt, after).await {
            // It comes again by itself, only later.
            let error = error.one_line();
            tracing::warn!(error, "a message cannot be given back");
        }
    }
}

/// The loop, around whatever is done with a message.
async fn pull<W, F>(
    lanes: &[Arc<dyn Queue>],
    options: &PullOptions,
    stop: impl Future<Output = ()>,
    work: W,
) -> Pulled
where
    W: Fn(Delivery, Until) -> F,
    F: Future<Output = Result<Done>> + Send + 'static,
{
    let held = Held::default();
    let keeper = AbortOnDrop(tokio::spawn(keep(held.clone(), options.visibility)));
    let (ender, until) = Until::stopped();
    let mut stop = std::pin::pin!(stop);
    let mut running: JoinSet<Ended> = JoinSet::new();
    let mut pulled = Pulled::default();
    let mut taken = 0_u64;
    let mut failures = 0_u32;
    // A batch that kills its worker must not take others with it, delivery by delivery: what comes again
    // is done alone, and whoever has just started takes one at a time until something new comes.
    let mut wary = true;
    let mut waiting: VecDeque<(u64, Delivery)> = VecDeque::new();
    // What the queue hands out after we stop; without a receiver it would be nobody's for long.
    let straggler = loop {
        while let Some(ended) = running.try_join_next() {
            pulled.count(ended);
        }
        while let Some((number, delivery)) =
            waiting.pop_front_if(|(_, next)| running.is_empty() || !(wary || next.receives > 1))
        {
            let receives = delivery.receives;
            wary = receives > 1;
            let working = work(delivery, until.clone());
            let (held, until) = (held.clone(), until.clone());
            let longest = options.visibility;
            running.spawn(async move {
                let worked = AssertUnwindSafe(working).catch_unwind().await;
                // From here on nobody keeps it.
                let message = held.all().remove(&number);
                match message.filter(|message| !message.lost) {
                    None => Ended::Lost,
                    Some(message) if is_done(worked) => message.acknowledge().await,
                    Some(message) if until.is_over() => {
                        message.give_back(Duration::ZERO).await;
                        Ended::GivenBack
                    }
                    Some(message) => {
                        let pause = Duration::from_millis(backoff_ms(receives, None));
                        message.give_back(pause.min(longest)).await;
                        Ended::Failed
                    }
                }
            });
        }
        // While something waits to be alone, nothing more is taken.
        let alone = wary || !waiting.is_empty();
        let most = if alone { 1 } else { options.at_once.max(1) };
        let free = most.saturating_sub(running.len() + waiting.len());
        if free == 0 {
            tokio::select! {
                biased;
                () = &mut stop => break None,
                Some(ended) = running.join_next() => pulled.count(ended),
            }
            continue;
        }
        let mut receiving = tokio::spawn(receive(lanes.to_vec(), free));
        let received = tokio::select! {
            biased;
            () = &mut stop => break Some(receiving),
            received = &mut receiving => received,
        };
        match received.unwrap_or_else(|error| Err(Error::internal("it stopped").with_source(error)))
        {
            Ok(messages) => {
                failures = 0;
                for (delivery, message) in messages {
                    taken += 1;
                    held.all().insert(taken, message);
                    waiting.push_back((taken, delivery));
                }
            }
            Err(error) => {
                let pause = backoff_ms(failures, None).min(LONGEST_PAUSE_MS);
                let error = error.one_line();
                tracing::warn!(error, pause_ms = pause, "a queue gives nothing");
                failures = failures.saturating_add(1);
                tokio::select! {
                    biased;
                    () = &mut stop => break None,
                    () = wait(Duration::from_millis(pause)) => {}
                }
            }
        }
    };
    tracing::info!(at_work = running.len(), "the worker stops");
    for (number, _) in waiting {
        let message = held.all().remove(&number);
        if let Some(message) = message.filter(|message| !message.lost) {
            message.give_back(Duration::ZERO).await;
            pulled.given_back += 1;
        }
    }
    let end = Instant::now() + options.grace;
    let finish = end - options.grace / LAST_SHARE;
    while let Ok(Some(ended)) = timeout_at(finish, running.join_next()).await {
        pulled.count(ended);
    }
    // Batches write down what they have, and the rest of their rows is planned again.
    ender.now(End::CalledOff);
    while let Ok(Some(ended)) = timeout_at(end, running.join_next()).await {
        pulled.count(ended);
    }
    // Not awaited: a call that blocks its thread ends when it likes, and nobody counts it.
    running.abort_all();
    drop(keeper);
    let mut left: Vec<Message> = std::mem::take(&mut *held.all()).into_values().collect();
    if let Some(receiving) = straggler
        && let Ok(Ok(messages)) = receiving.await
    {
        left.extend(messages.into_iter().map(|(_, message)| message));
    }
    join_all(left.iter().map(|message| message.give_back(Duration::ZERO))).await;
    pulled.given_back += left.len() as u64;
    pulled
}

/// Messages of the first queue that has any.
async fn receive(lanes: Vec<Arc<dyn Queue>>, most: usize) -> Result<Vec<(Delivery, Message)>> {
    let count = lanes.len();
    for (queue, place) in lanes.into_iter().zip(1..) {
        // Only for the last one there is time to wait.
        let time = if place == count { WAIT } else { Duration::ZERO };
        let found = queue.receive(most, time).await?;
        let message = |delivery: Delivery| {
            let receipt = delivery.receipt.clone();
            let queue = queue.clone();
            let lost = false;
            (
                delivery,
                Message {
                    queue,
                    receipt,
                    lost,
                },
            )
        };
        if !found.is_empty() || place == count {
            return Ok(found.into_iter().map(message).collect());
        }
    }
    Err(Error::invalid("there is no queue to take batches from"))
}

/// How a message ended.
#[derive(Debug, Clone, Copy)]
enum Ended {
    Done,
    Failed,
    Lost,
    GivenBack,
}

impl Pulled {
    fn count(&mut self, ended: std::result::Result<Ended, JoinError>) {
        match ended {
            Ok(Ended::Done) => self.done += 1,
            Ok(Ended::Failed) | Err(_) => self.failed += 1,
            Ok(Ended::Lost) => self.lost += 1,
            Ok(Ended::GivenBack) => self.given_back += 1,
        }
    }
}

/// Whether a message need not come again.
fn is_done(worked: std::result::Result<Result<Done>, Box<dyn Any + Send>>) -> bool {
    match worked {
        Ok(Ok(done)) => done == Done::Yes,
        Ok(Err(error)) => {
            let error = error.one_line();
            tracing::error!(error, "a message is tried again");
            false
        }
        Err(_) => {
            tracing::error!("a batch panicked, and is tried again");
            false
        }
    }
}

/// Keeps messages from others for as long as they are at work.
async fn keep(held: Held, visibility: Duration) {
    loop {
        // A queue that answers slowly must not make the next time later, too.
        tokio::join!(held.extend(visibility), wait(visibility / EXTENSIONS));
    }
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "keeps messages of queues, which no test can hurry"
)]
async fn wait(time: Duration) {
    tokio::time::sleep(time).await;
}

#[cfg(test)]
mod tests;
