//! A queue within one process: for a service that runs in one, and for tests.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use lance_backfill_ports::queue::{Delivery, Depth, Outgoing, Queue, Receipt};
use lance_backfill_ports::{Error, Result};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// Largest message: as with SQS, so that what works here works there.
const MOST_BYTES: usize = 1 << 20;
/// How long an ordered queue drops messages of a name that it has seen.
const ONCE_FOR: Duration = Duration::from_secs(300);

/// A queue in memory.
pub struct InProcessQueue {
    visibility: Duration,
    is_ordered: bool,
    /// Where messages go that were received so often in vain.
    dead: Option<(u32, Arc<Self>)>,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    waiting: Vec<Message>,
    seen: HashMap<String, Instant>,
    receipts: u64,
}

struct Message {
    body: String,
    group: Option<String>,
    visible: Instant,
    receives: u32,
    /// Of the last delivery.
    receipt: Option<u64>,
}

impl InProcessQueue {
    /// A queue whose messages are hidden for so long from others when they are received.
    pub fn new(visibility: Duration) -> Self {
        Self {
            visibility,
            is_ordered: false,
            dead: None,
            state: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// The same, in order within each group.
    #[must_use]
    pub fn ordered(self) -> Self {
        Self {
            is_ordered: true,
            ..self
        }
    }

    /// The same; what was received so often in vain goes to another queue.
    #[must_use]
    pub fn with_dead_letters(self, most_receives: u32, dead: Arc<Self>) -> Self {
        Self {
            dead: Some((most_receives, dead)),
            ..self
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what can be had now; else when to look again.
    fn take(&self, most: usize) -> std::result::Result<Vec<Delivery>, Option<Instant>> {
        let now = Instant::now();
        let mut state = self.state();
        self.bury(&mut state, now);
        let State {
            waiting, receipts, ..
        } = &mut *state;
        let mut found = vec![];
        let mut blocked: BTreeSet<String> = BTreeSet::new();
        let mut next: Option<Instant> = None;
        for message in waiting {
            if found.len() == most {
                break;
            }
            let is_blocked =
                self.is_ordered && (message.group.as_ref()).is_some_and(|it| blocked.contains(it));
            if is_blocked || message.visible > now {
                next = Some(next.map_or(message.visible, |next| next.min(message.visible)));
                blocked.extend(message.group.clone());
                continue;
            }
            *receipts += 1;
            message.receipt = Some(*receipts);
            message.receives += 1;
            message.visible = now + self.visibility;
            found.push(Delivery {
                body: message.body.clone(),
                receives: message.receives,
                receipt: Receipt(receipts.to_string()),
            });
        }
        match found.is_empty() {
            true => Err(next),
            false => Ok(found),
        }
    }

    /// Moves what was received too often.
    fn bury(&self, state: &mut State, now: Instant) {
        let Some((most, dead)) = &self.dead else {
            return;
        };
        let is_dead = |message: &mut Message| message.visible <= now && message.receives >= *most;
        for message in state.waiting.extract_if(.., is_dead) {
            let mut grave = dead.state();
            grave.waiting.push(Message {
                receives: 0,
                receipt: None,
                ..message
            });
            drop(grave);
            dead.changed.notify_waiters();
        }
    }
}

#[async_trait]
impl Queue for InProcessQueue {
    async fn send(&self, messages: &[Outgoing]) -> Result<()> {
        if let Some(large) = messages
            .iter()
            .find(|message| message.body.len() > MOST_BYTES)
        {
            return Err(Error::invalid(format!(
                "a message of {} bytes is larger than {MOST_BYTES}",
                large.body.len()
            )));
        }
        if self.is_ordered && messages.iter().any(|message| message.group.is_none()) {
            return Err(Error::invalid("a message of an ordered queue has no group"));
        }
        let now = Instant::now();
        let mut state = self.state();
        state.seen.retain(|_, when| now - *when < ONCE_FOR);
        for message in messages {
            let once = message.once.as_ref().filter(|_| self.is_ordered);
            if once.is_some_and(|name| state.seen.contains_key(name)) {
                continue;
            }
            if let Some(name) = once {
                state.seen.insert(name.clone(), now);
            }
            let delay = match self.is_ordered {
                true => Duration::ZERO,
                false => message.delay,
            };
            state.waiting.push(Message {
                body: message.body.clone(),
                group: message.group.clone(),
                visible: now + delay,
                receives: 0,
                receipt: None,
            });
        }
        drop(state);
        self.changed.notify_waiters();
        Ok(())
    }

    async fn receive(&self, most: usize, wait: Duration) -> Result<Vec<Delivery>> {
        let end = Instant::now() + wait;
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // Before the look: what comes after it is not missed.
            changed.as_mut().enable();
            let next = match self.take(most) {
                Ok(found) => return Ok(found),
                Err(next) => next.map_or(end, |next| next.min(end)),
            };
            if Instant::now() >= end {
                return Ok(vec![]);
            }
            // Whatever ends the wait, the next look tells.
            let _ = timeout_at(next, changed).await;
        }
    }

    async fn extend(&self, receipt: &Receipt, time: Duration) -> Result<bool> {
        let now = Instant::now();
        let ours = receipt.0.parse().ok();
        let mut state = self.state();
        let held = (state.waiting.iter_mut())
            .find(|message| ours.is_some() && message.receipt == ours && message.visible > now);
        let Some(message) = held else {
            return Ok(false);
        };
        message.visible = now + time;
        drop(state);
        self.changed.notify_waiters();
        Ok(true)
    }

    async fn acknowledge(&self, receipts: &[Receipt]) -> Result<()> {
        let done: BTreeSet<u64> = (receipts.iter())
            .filter_map(|receipt| receipt.0.parse().ok())
            .collect();
        let is_done = |message: &Message| message.receipt.is_some_and(|it| done.contains(&it));
        self.state().waiting.retain(|message| !is_done(message));
        self.changed.notify_waiters();
        Ok(())
    }

    async fn visibility(&self) -> Result<Duration> {
        Ok(self.visibility)
    }

    async fn depth(&self) -> Result<Depth> {
        let now = Instant::now();
        let mut state = self.state();
        self.bury(&mut state, now);
        let mut depth = Depth::default();
        for message in &state.waiting {
            match (message.visible > now, message.receives) {
                (false, _) => depth.waiting += 1,
                (true, 0) => depth.delayed += 1,
                (true, _) => depth.in_flight += 1,
            }
        }
        Ok(depth)
    }
}

#[cfg(test)]
mod tests {
    use lance_backfill_testkit::conformance::{self, QueueFixture};

    use super::*;

    #[tokio::test]
    async fn it_does_what_queues_do() {
        let visibility = Duration::from_secs(1);
        let dead = Arc::new(InProcessQueue::new(visibility));
        let standard = InProcessQueue::new(visibility).with_dead_letters(3, dead.clone());
        let ordered = InProcessQueue::new(visibility).ordered();
        let fixture = QueueFixture {
            standard: &standard,
            ordered: &ordered,
            dead: dead.as_ref(),
            visibility,
            most_receives: 3,
        };
        conformance::queue(&fixture).await.expect("conforms");
    }
}
