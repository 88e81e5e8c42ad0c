//! Records of an invocation, and the answer that says which of them are to come again.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, SystemTime};

use aws_lambda_events::event::sqs::{BatchItemFailure, SqsBatchResponse, SqsMessage};
use futures::FutureExt;
use lance_backfill_ports::{Error, ErrorKind, Result};
use lance_backfill_service::Delivered;
use tokio::time::{Instant, timeout_at};

use crate::tally::Tally;

/// Which messages SQS is to deliver again; all others it removes.
///
/// Those that fail too often SQS moves to the dead-letter queue.
#[derive(Debug, Default)]
pub struct Answer {
    failed: Vec<String>,
    /// What was done meanwhile.
    pub tally: Tally,
}

impl Answer {
    /// The message is to come again.
    pub fn again(&mut self, message: &str) {
        if !self.failed.iter().any(|known| known == message) {
            self.failed.push(message.to_owned());
        }
    }

    /// How many are.
    pub const fn failures(&self) -> usize {
        self.failed.len()
    }
}

impl From<Answer> for SqsBatchResponse {
    fn from(answer: Answer) -> Self {
        let failures = answer.failed.into_iter().map(|message| {
            let mut failure = BatchItemFailure::default();
            failure.item_identifier = message;
            failure
        });
        let mut response = Self::default();
        response.batch_item_failures = failures.collect();
        response
    }
}

/// How a message came; SQS may deliver one twice and count one, which costs only the work.
pub fn delivered(record: &SqsMessage) -> Delivered {
    let told = |name: &str| record.attributes.get(name)?.parse::<u64>().ok();
    let receives = told("ApproximateReceiveCount").and_then(|count| u32::try_from(count).ok());
    let sent = told("SentTimestamp").map(Duration::from_millis);
    let age = sent.and_then(|sent| since_the_epoch()?.checked_sub(sent));
    receives.map_or(Delivered::Again, |receives| Delivered::after(receives, age))
}

/// The clock by which SQS says when a message was sent.
#[expect(
    clippy::disallowed_methods,
    reason = "the age of a message is no decision about rows"
)]
fn since_the_epoch() -> Option<Duration> {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .ok()
}

/// Does the work of some records; a panic, or the end of the time, is an error of these alone.
pub async fn guarded<T>(end: Instant, work: impl Future<Output = Result<T>>) -> Result<T> {
    within(end, work).await.unwrap_or_else(|| {
        let message = "the function's time is nearly over";
        Err(Error::new(ErrorKind::Unavailable, message))
    })
}

/// The same; nothing where the time was over before its end.
pub async fn within<T>(end: Instant, work: impl Future<Output = Result<T>>) -> Option<Result<T>> {
    let work = AssertUnwindSafe(work).catch_unwind();
    let ended = timeout_at(end, work).await.ok()?;
    Some(ended.unwrap_or_else(|panic| {
        let message = format!("it panicked: {}", told(panic.as_ref()));
        Err(Error::internal(message))
    }))
}

fn told(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("it gave no reason")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_what_lambda_reads_byte_for_byte() {
        let written = |answer: Answer| {
            serde_json::to_string(&SqsBatchResponse::from(answer)).expect("it is JSON")
        };
        assert_eq!(written(Answer::default()), r#"{"batchItemFailures":[]}"#);
        let mut answer = Answer::default();
        answer.again("2b1e");
        answer.again("77ac");
        answer.again("2b1e");
        assert_eq!(
            written(answer),
            r#"{"batchItemFailures":[{"itemIdentifier":"2b1e"},{"itemIdentifier":"77ac"}]}"#
        );
    }

    #[test]
    fn only_a_first_delivery_counts_as_one() {
        let record = |receives: &str, sent: Option<Duration>| {
            let mut record = SqsMessage::default();
            let told = |name: &str, value: String| (name.to_owned(), value);
            record.attributes = [told("ApproximateReceiveCount", receives.to_owned())].into();
            let sent = sent.map(|sent| told("SentTimestamp", sent.as_millis().to_string()));
            record.attributes.extend(sent);
            record
        };
        let now = since_the_epoch().expect("a clock");
        let long_ago = now.saturating_sub(Duration::from_secs(60));
        assert_eq!(delivered(&record("1", Some(now))), Delivered::Now);
        assert_eq!(delivered(&record("1", Some(long_ago))), Delivered::Once);
        assert_eq!(delivered(&record("1", None)), Delivered::Once);
        assert_eq!(delivered(&record("2", Some(now))), Delivered::Again);
        assert_eq!(delivered(&record("", Some(now))), Delivered::Again);
        assert_eq!(delivered(&SqsMessage::default()), Delivered::Again);
    }

    #[tokio::test]
    async fn a_panic_is_an_error_of_its_record() {
        let now = Instant::now();
        let later = now + std::time::Duration::from_secs(60);
        let panicked = guarded::<()>(later, async { panic!("on the first row") }).await;
        let error = panicked.expect_err("it panicked");
        assert_eq!(error.one_line(), "it panicked: on the first row");
        let late = guarded::<()>(now, std::future::pending()).await;
        assert_eq!(late.expect_err("no time").kind, ErrorKind::Unavailable);
        let late = within::<()>(now, std::future::pending()).await;
        assert!(late.is_none());
    }
}
