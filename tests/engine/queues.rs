//! Queues on SQS do what queues must do.

use std::time::Duration;

use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sqs::types::QueueAttributeName;
use lance_backfill_aws::{Client, SqsQueue};
use lance_backfill_testkit::conformance::{self, QueueFixture};

use crate::support::emulator::Emulator;

const VISIBILITY_S: u64 = 2;
const MOST_RECEIVES: u32 = 3;

fn client(emulator: &Emulator) -> Client {
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(emulator.endpoint())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .build();
    Client::from_conf(config)
}

async fn create(client: &Client, name: &str, more: &[(QueueAttributeName, String)]) -> SqsQueue {
    let mut request = client.create_queue().queue_name(name).attributes(
        QueueAttributeName::VisibilityTimeout,
        VISIBILITY_S.to_string(),
    );
    for (attribute, value) in more {
        request = request.attributes(attribute.clone(), value);
    }
    let created = request.send().await.expect("a queue");
    SqsQueue::new(client.clone(), created.queue_url.expect("a URL"))
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_on_sqs_do_what_queues_do() {
    let Some(emulator) = Emulator::start() else {
        return;
    };
    let client = client(&emulator);
    let dead = create(&client, "dead", &[]).await;
    let redrive = format!(
        r#"{{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:dead","maxReceiveCount":"{MOST_RECEIVES}"}}"#
    );
    let redrive = [(QueueAttributeName::RedrivePolicy, redrive)];
    let standard = create(&client, "standard", &redrive).await;
    let fifo = [(QueueAttributeName::FifoQueue, "true".to_owned())];
    let ordered = create(&client, "ordered.fifo", &fifo).await;
    let fixture = QueueFixture {
        standard: &standard,
        ordered: &ordered,
        dead: &dead,
        visibility: Duration::from_secs(VISIBILITY_S),
        most_receives: MOST_RECEIVES,
    };
    conformance::queue(&fixture).await.expect("conforms");
}
