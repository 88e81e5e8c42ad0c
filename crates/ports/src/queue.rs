//! Queues of messages between processes.

use std::time::Duration;

use async_trait::async_trait;

use crate::Result;

/// A queue that delivers each message at least once, in no order, until somebody acknowledges it.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Sends messages; of an error some may be there, so messages must bear being sent twice.
    async fn send(&self, messages: &[Outgoing]) -> Result<()>;

    /// Takes some messages, or none if none comes within the time; nobody else gets them meanwhile.
    async fn receive(&self, most: usize, wait: Duration) -> Result<Vec<Delivery>>;

    /// Keeps a message from others for so long from now on; no time gives it back at once.
    ///
    /// `false` if it is no longer ours.
    async fn extend(&self, receipt: &Receipt, time: Duration) -> Result<bool>;

    /// Removes messages for good; those that are gone already are no error.
    async fn acknowledge(&self, receipts: &[Receipt]) -> Result<()>;

    /// How long a message is hidden from others when it is received.
    async fn visibility(&self) -> Result<Duration>;

    /// About how many messages there are: right once nothing has come or gone for a while.
    async fn depth(&self) -> Result<Depth>;
}

/// About how many messages a queue has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    /// Anybody may receive them.
    pub waiting: u64,
    /// Somebody received them and did not acknowledge them yet.
    pub in_flight: u64,
    /// They wait for their delay.
    pub delayed: u64,
}

impl Depth {
    /// All of them.
    pub const fn all(&self) -> u64 {
        let Self {
            waiting,
            in_flight,
            delayed,
        } = *self;
        waiting.saturating_add(in_flight).saturating_add(delayed)
    }
}

/// A message to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Text.
    pub body: String,
    /// Messages of one group take turns: in an ordered queue strictly, else so that none starves another.
    pub group: Option<String>,
    /// In an ordered queue a second message of this name is dropped for some minutes.
    pub once: Option<String>,
    /// Nobody gets it before; ordered queues know no delay.
    pub delay: Duration,
}

impl Outgoing {
    /// A message without a group.
    pub const fn new(body: String) -> Self {
        Self {
            body,
            group: None,
            once: None,
            delay: Duration::ZERO,
        }
    }

    /// The same in a group.
    #[must_use]
    pub fn in_group(mut self, group: impl Into<String>) -> Self {
        self.group = Some(group.into());
        self
    }

    /// The same, sent once under this name.
    #[must_use]
    pub fn once(mut self, name: impl Into<String>) -> Self {
        self.once = Some(name.into());
        self
    }
}

/// A message that was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Text.
    pub body: String,
    /// How often it was received, this time included.
    pub receives: u32,
    /// What it is acknowledged with.
    pub receipt: Receipt,
}

/// Stands for one delivery of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt(pub String);
