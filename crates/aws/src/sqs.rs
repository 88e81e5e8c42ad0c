//! A queue on SQS.

use std::time::Duration;

use async_trait::async_trait;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, ConfigLoader, Region};
use aws_sdk_sqs::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::types::{
    BatchResultErrorEntry, DeleteMessageBatchRequestEntry, MessageSystemAttributeName,
    QueueAttributeName, SendMessageBatchRequestEntry,
};
use futures::{StreamExt, TryStreamExt, stream};
use lance_backfill_ports::queue::{Delivery, Depth, Outgoing, Queue, Receipt};
use lance_backfill_ports::{Error, ErrorKind, Result};

mod chunks;
mod region;

pub use chunks::{MOST_BYTES, MOST_ENTRIES, chunks};
use region::region_of;

/// A client of SQS; cheap to clone.
pub type Client = aws_sdk_sqs::Client;

/// A client with the region, credentials and endpoint that the environment names.
pub async fn client_from_environment() -> Client {
    Client::new(&defaults().load().await)
}

fn defaults() -> ConfigLoader {
    let time = TimeoutConfig::builder().operation_attempt_timeout(MOST_TIME);
    aws_config::defaults(BehaviorVersion::latest())
        .timeout_config(time.build())
        .retry_config(RetryConfig::standard().with_max_attempts(MOST_ATTEMPTS))
}

/// A request that has no answer by then is made again: longer than SQS waits for a message.
const MOST_TIME: Duration = Duration::from_secs(30);

/// The same for a queue of this URL, which tells the region that it is in: the environment need not.
pub async fn client_for(url: &str) -> Client {
    let mut config = defaults();
    if let Some(region) = region_of(url) {
        config = config.region(Region::new(region));
    }
    Client::new(&config.load().await)
}

/// Requests of one call that are under way at once.
const REQUESTS_AT_ONCE: usize = 8;
/// Attempts for a request that is throttled or unanswered, and for entries that SQS did not take although
/// it took the request; each waits twice as long as the one before.
const MOST_ATTEMPTS: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// What SQS keeps a message hidden at most.
const MOST_VISIBILITY: Duration = Duration::from_secs(43_200);
const MOST_DELAY: Duration = Duration::from_secs(900);
const MOST_WAIT: Duration = Duration::from_secs(20);

/// A queue of SQS.
///
/// Messages are sent in requests of at most ten entries and 1 MiB; entries of a request that succeeded
/// may have failed all the same, and are sent again.
#[derive(Debug, Clone)]
pub struct SqsQueue {
    client: Client,
    url: String,
    /// Whether it keeps the order within groups; only these drop a message that was sent before.
    is_fifo: bool,
}

impl SqsQueue {
    /// The queue of this URL.
    pub fn new(client: Client, url: impl Into<String>) -> Self {
        let url = url.into();
        Self {
            is_fifo: url.ends_with(".fifo"),
            client,
            url,
        }
    }

    fn entry(&self, place: usize, message: &Outgoing) -> Result<SendMessageBatchRequestEntry> {
        let delay = seconds(message.delay.min(MOST_DELAY));
        let entry = SendMessageBatchRequestEntry::builder()
            .id(place.to_string())
            .message_body(&message.body)
            .set_message_group_id(message.group.clone())
            .set_message_deduplication_id(message.once.clone().filter(|_| self.is_fifo))
            .set_delay_seconds((delay > 0 && !self.is_fifo).then_some(delay));
        entry
            .build()
            .map_err(|error| Error::internal("a message cannot be sent").with_source(error))
    }

    /// Sends entries of one request until SQS has taken all of them.
    async fn send_request(&self, mut entries: Vec<SendMessageBatchRequestEntry>) -> Result<()> {
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            let answer = self
                .client
                .send_message_batch()
                .queue_url(&self.url)
                .set_entries(Some(entries.clone()))
                .send()
                .await
                .map_err(|error| self.failed("cannot send to", &error))?;
            let failed = answer.failed;
            if let Some(refused) = failed.iter().find(|failed| failed.sender_fault) {
                return Err(self.refused(refused));
            }
            entries.retain(|entry| failed.iter().any(|failed| failed.id == entry.id));
            match failed.first() {
                None => break,
                Some(last) if attempt == MOST_ATTEMPTS => {
                    return Err(Error::new(
                        ErrorKind::Unavailable,
                        format!(
                            "{} did not take {} messages: {}",
                            self.url,
                            failed.len(),
                            told(last)
                        ),
                    ));
                }
                Some(_) => wait(pause).await,
            }
            pause *= 2;
        }
        Ok(())
    }

    /// Numbers that the queue says of itself.
    async fn numbers<const N: usize>(
        &self,
        asked: [QueueAttributeName; N],
        doing: &str,
    ) -> Result<[Option<u64>; N]> {
        let answer = self
            .client
            .get_queue_attributes()
            .queue_url(&self.url)
            .set_attribute_names(Some(asked.to_vec()))
            .send()
            .await
            .map_err(|error| self.failed(doing, &error))?;
        let known = answer.attributes.unwrap_or_default();
        Ok(asked.map(|name| known.get(&name).and_then(|count| count.parse().ok())))
    }

    fn refused(&self, failed: &BatchResultErrorEntry) -> Error {
        Error::invalid(format!("{} refuses a message: {}", self.url, told(failed)))
    }

    fn failed<E, R>(&self, doing: &str, error: &SdkError<E, R>) -> Error
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
        R: std::fmt::Debug + Send + Sync + 'static,
    {
        let kind = match error {
            SdkError::ConstructionFailure(_) => ErrorKind::Internal,
            SdkError::ServiceError(service) => match service.err().code() {
                Some(code) if is_final(code) => ErrorKind::Invalid,
                _ => ErrorKind::Unavailable,
            },
            _ => ErrorKind::Unavailable,
        };
        Error::new(kind, format!("{doing} the queue {}", self.url))
            .with_source(DisplayErrorContext(error).to_string())
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "waits for SQS, which no test can hurry"
)]
async fn wait(time: Duration) {
    tokio::time::sleep(time).await;
}

/// Whether an error of SQS stays however often one asks.
fn is_final(code: &str) -> bool {
    [
        "AccessDenied",
        "NonExistentQueue",
        "QueueDoesNotExist",
        "InvalidAddress",
        "InvalidSecurity",
        "InvalidMessageContents",
        "RequestTooLong",
        "UnsupportedOperation",
    ]
    .iter()
    .any(|word| code.contains(word))
}

/// Whether an error about a receipt says that the message is not ours any more.
fn is_lost(code: &str, message: &str) -> bool {
    let named = ["MessageNotInflight", "ReceiptHandleIsInvalid"];
    // Of messages that are gone it says this instead.
    let told = ["does not exist", "not available", "has expired"];
    named.iter().any(|word| code.contains(word))
        || (code.contains("InvalidParameterValue")
            && told.iter().any(|word| message.contains(word)))
}

fn told(failed: &BatchResultErrorEntry) -> String {
    format!(
        "{} {}",
        failed.code,
        failed.message.as_deref().unwrap_or_default()
    )
}

fn seconds(time: Duration) -> i32 {
    // Rounded up: less than a second is not no time.
    i32::try_from(time.as_millis().div_ceil(1_000)).unwrap_or(i32::MAX)
}

#[async_trait]
impl Queue for SqsQueue {
    async fn send(&self, messages: &[Outgoing]) -> Result<()> {
        let sizes: Vec<usize> = messages.iter().map(|message| message.body.len()).collect();
        let requests = chunks(&sizes).into_iter().map(|places| {
            let entries = places.map(|place| match messages.get(place) {
                Some(message) => self.entry(place, message),
                None => Err(Error::internal("a chunk is of another list")),
            });
            entries.collect::<Result<Vec<_>>>()
        });
        let requests = requests.collect::<Result<Vec<_>>>()?;
        // An ordered queue takes them in their order.
        let at_once = if self.is_fifo { 1 } else { REQUESTS_AT_ONCE };
        stream::iter(requests)
            .map(|entries| self.send_request(entries))
            .buffer_unordered(at_once)
            .try_collect::<Vec<()>>()
            .await?;
        Ok(())
    }

    async fn receive(&self, most: usize, wait: Duration) -> Result<Vec<Delivery>> {
        let most = i32::try_from(most.clamp(1, MOST_ENTRIES)).unwrap_or(1);
        let answer = self
            .client
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(most)
            .wait_time_seconds(seconds(wait.min(MOST_WAIT)))
            .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
            .send()
            .await
            .map_err(|error| self.failed("cannot receive from", &error))?;
        let delivery = |message: aws_sdk_sqs::types::Message| {
            let receives = message
                .attributes
                .as_ref()
                .and_then(|known| known.get(&MessageSystemAttributeName::ApproximateReceiveCount))
                .and_then(|count| count.parse().ok());
            Some(Delivery {
                body: message.body.unwrap_or_default(),
                receives: receives.unwrap_or(1),
                receipt: Receipt(message.receipt_handle?),
            })
        };
        let messages = answer.messages.unwrap_or_default();
        Ok(messages.into_iter().filter_map(delivery).collect())
    }

    async fn extend(&self, receipt: &Receipt, time: Duration) -> Result<bool> {
        let answer = self
            .client
            .change_message_visibility()
            .queue_url(&self.url)
            .receipt_handle(&receipt.0)
            .visibility_timeout(seconds(time.min(MOST_VISIBILITY)))
            .send()
            .await;
        match answer {
            Ok(_) => Ok(true),
            Err(SdkError::ServiceError(service))
                if is_lost(
                    service.err().code().unwrap_or_default(),
                    service.err().message().unwrap_or_default(),
                ) =>
            {
                Ok(false)
            }
            Err(error) => Err(self.failed("cannot keep a message of", &error)),
        }
    }

    async fn acknowledge(&self, receipts: &[Receipt]) -> Result<()> {
        for some in receipts.chunks(MOST_ENTRIES) {
            let entries = (some.iter().enumerate()).map(|(place, receipt)| {
                DeleteMessageBatchRequestEntry::builder()
                    .id(place.to_string())
                    .receipt_handle(&receipt.0)
                    .build()
            });
            let entries = entries
                .collect::<std::result::Result<Vec<_>, _>>()
                .map_err(|error| Error::internal("a receipt cannot be sent").with_source(error))?;
            let answer = self
                .client
                .delete_message_batch()
                .queue_url(&self.url)
                .set_entries(Some(entries))
                .send()
                .await
                .map_err(|error| self.failed("cannot acknowledge messages of", &error))?;
            // Those it will deliver again: whoever gets them finds the work done.
            if let Some(failed) = answer.failed.iter().find(|failed| !failed.sender_fault) {
                return Err(Error::new(
                    ErrorKind::Unavailable,
                    format!("{} did not remove a message: {}", self.url, told(failed)),
                ));
            }
        }
        Ok(())
    }

    async fn visibility(&self) -> Result<Duration> {
        let asked = [QueueAttributeName::VisibilityTimeout];
        let [seconds] = self
            .numbers(asked, "cannot ask what hides messages of")
            .await?;
        let seconds = seconds.filter(|seconds| *seconds > 0).ok_or_else(|| {
            Error::invalid(format!(
                "{} does not hide messages that were received: set its visibility timeout to a minute or more",
                self.url
            ))
        })?;
        Ok(Duration::from_secs(seconds))
    }

    async fn depth(&self) -> Result<Depth> {
        let asked = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
            QueueAttributeName::ApproximateNumberOfMessagesDelayed,
        ];
        let counted = self.numbers(asked, "cannot count the messages of");
        let [waiting, in_flight, delayed] = counted.await?;
        Ok(Depth {
            waiting: waiting.unwrap_or_default(),
            in_flight: in_flight.unwrap_or_default(),
            delayed: delayed.unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_that_is_worth_nothing_is_told_from_a_mistake() {
        for (code, message, lost) in [
            ("MessageNotInflight", "", true),
            ("AWS.SimpleQueueService.MessageNotInflight", "", true),
            (
                "ReceiptHandleIsInvalid",
                "The receipt handle is not valid",
                true,
            ),
            (
                "InvalidParameterValue",
                "Value AQEB for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not available for visibility timeout change.",
                true,
            ),
            (
                "InvalidParameterValue",
                "Value AQEB for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired.",
                true,
            ),
            (
                "InvalidParameterValue",
                "Value 99999 for parameter VisibilityTimeout is invalid.",
                false,
            ),
            ("RequestThrottled", "", false),
            ("AccessDenied", "The queue does not exist", false),
        ] {
            assert_eq!(is_lost(code, message), lost, "{code}: {message}");
        }
    }

    #[test]
    fn what_asking_again_may_change_is_not_final() {
        for code in [
            "RequestThrottled",
            "ThrottlingException",
            "OverLimit",
            "KmsThrottled",
            "InternalFailure",
            "ServiceUnavailable",
        ] {
            assert!(!is_final(code), "{code}");
        }
        for code in [
            "AccessDeniedException",
            "KmsAccessDenied",
            "AWS.SimpleQueueService.NonExistentQueue",
            "QueueDoesNotExist",
            "InvalidMessageContents",
            "BatchRequestTooLong",
        ] {
            assert!(is_final(code), "{code}");
        }
    }

    #[test]
    fn times_are_whole_seconds_and_none_is_no_time() {
        for (ms, expected) in [(0, 0), (1, 1), (1_000, 1), (1_001, 2), (u64::MAX, i32::MAX)] {
            assert_eq!(seconds(Duration::from_millis(ms)), expected);
        }
    }
}
