//! The loop of a worker that pulls: takes messages, has them worked on, and settles each with its queue.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;
use lance_backfill_core::calls::backoff_ms;
use lance_backfill_ports::queue::{Delivery, Queue};
use lance_backfill_ports::{Error, Result};
use lance_backfill_stages::until::{End, Until};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, timeout_at};

use super::held::{Held, Message, keep};
use super::turns::Turns;
use super::{Done, PullOptions, Pulled};
use crate::clock::wait;

/// Longest wait for a message. New rows wait no longer for a worker that looks for others; half as
/// much doubles the requests of a worker that has nothing to do.
const WAIT: Duration = Duration::from_secs(5);
/// Longest pause after a queue did not answer.
const LONGEST_PAUSE_MS: u64 = 30_000;
/// The share of the grace that is left for writing down what is finished.
const LAST_SHARE: u32 = 4;

/// The loop, around whatever is done with a message.
pub(super) async fn pull<W, F>(
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
    let mut turns = Turns::new();
    // What the queue hands out after we stop; without a receiver it would be nobody's for long.
    let straggler = loop {
        while let Some(ended) = running.try_join_next() {
            pulled.count(ended);
        }
        while let Some((number, delivery)) = turns.next(running.len()) {
            let settling = Settling {
                held: held.clone(),
                until: until.clone(),
                number,
                receives: delivery.receives,
                longest_pause: options.visibility,
            };
            running.spawn(settling.after(work(delivery, until.clone())));
        }
        let free = turns.room(running.len(), options.at_once);
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
                    turns.push(taken, delivery);
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
    for number in turns.rest() {
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

/// What is needed to settle a message with its queue, when its work has ended.
struct Settling {
    held: Held,
    until: Until,
    number: u64,
    /// How often the message was delivered.
    receives: u32,
    longest_pause: Duration,
}

impl Settling {
    async fn after(self, working: impl Future<Output = Result<Done>>) -> Ended {
        let worked = AssertUnwindSafe(working).catch_unwind().await;
        // From here on nobody keeps it.
        let message = self.held.all().remove(&self.number);
        match message.filter(|message| !message.lost) {
            None => Ended::Lost,
            Some(message) if is_done(worked) => {
                message.acknowledge().await;
                Ended::Done
            }
            Some(message) if self.until.is_over() => {
                message.give_back(Duration::ZERO).await;
                Ended::GivenBack
            }
            Some(message) => {
                let pause = Duration::from_millis(backoff_ms(self.receives, None));
                message.give_back(pause.min(self.longest_pause)).await;
                Ended::Failed
            }
        }
    }
}

/// Messages of the first queue that has any.
async fn receive(lanes: Vec<Arc<dyn Queue>>, most: usize) -> Result<Vec<(Delivery, Message)>> {
    let count = lanes.len();
    for (queue, place) in lanes.into_iter().zip(1..) {
        // Only for the last one there is time to wait.
        let time = if place == count { WAIT } else { Duration::ZERO };
        let found = queue.receive(most, time).await?;
        let message = |delivery: Delivery| {
            let message = Message::of(&delivery, &queue);
            (delivery, message)
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

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
