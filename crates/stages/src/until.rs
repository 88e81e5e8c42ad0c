//! The end of the time that somebody has for some work.

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Why there is no more time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// All the time that the work may take was spent.
    Spent,
    /// Whoever does the work must stop, and others have more time.
    CalledOff,
}

/// Ends the time of those who watch it; without it their time has no end.
#[derive(Debug)]
pub struct Stop(watch::Sender<Option<End>>);

impl Stop {
    /// The time is over, for this reason unless it was over before.
    pub fn now(&self, why: End) {
        self.0.send_if_modified(|end| {
            let first = end.is_none();
            end.get_or_insert(why);
            first
        });
    }
}

/// Tells whether there is time left; clones end together.
#[derive(Debug, Clone)]
pub struct Until(watch::Receiver<Option<End>>);

impl Until {
    /// Until somebody says so.
    pub fn stopped() -> (Stop, Self) {
        let (stop, until) = watch::channel(None);
        (Stop(stop), Self(until))
    }

    /// Without an end.
    pub fn never() -> Self {
        Self::stopped().1
    }

    /// Until a moment.
    pub fn at(end: Instant) -> Self {
        let (stop, until) = Self::stopped();
        if end <= Instant::now() {
            stop.now(End::Spent);
        } else {
            tokio::spawn(async move {
                tokio::select! {
                    () = sleep_until(end) => stop.now(End::Spent),
                    // Nobody wants to know any more.
                    () = stop.0.closed() => {}
                }
            });
        }
        until
    }

    /// Why the time is over, if it is.
    pub fn end(&self) -> Option<End> {
        *self.0.borrow()
    }

    /// Whether the time is over.
    pub fn is_over(&self) -> bool {
        self.end().is_some()
    }

    /// Ends with the time.
    pub async fn over(&self) {
        let mut watched = self.0.clone();
        if watched.wait_for(Option::is_some).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Does something unless the time is over before; then it is dropped where it stands.
    pub async fn within<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = work => Some(done),
            () = self.over() => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn what_is_not_done_when_the_time_is_over_is_dropped() {
        let (stop, until) = Until::stopped();
        assert!(!until.is_over());
        assert_eq!(until.within(async { 7 }).await, Some(7));
        let clone = until.clone();
        let mut waiting = std::pin::pin!(clone.within(std::future::pending::<()>()));
        assert_eq!(waiting.as_mut().now_or_never(), None);
        stop.now(End::CalledOff);
        stop.now(End::Spent);
        assert_eq!(waiting.await, None);
        assert_eq!(until.end(), Some(End::CalledOff), "the first reason stands");
        assert_eq!(until.within(async { 7 }).await, Some(7), "it needs no time");
    }

    #[tokio::test]
    async fn the_time_of_nobody_has_no_end_and_that_of_the_past_is_over() {
        let never = Until::never();
        assert!(!never.is_over());
        assert_eq!(never.over().now_or_never(), None);
        assert_eq!(Until::at(Instant::now()).end(), Some(End::Spent));
        let later = Until::at(Instant::now() + Duration::from_secs(600));
        assert!(!later.is_over());
        assert_eq!(later.over().now_or_never(), None);
        Until::at(Instant::now() + Duration::from_millis(1))
            .over()
            .await;
    }
}
