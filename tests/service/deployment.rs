//! The service on an emulator of AWS, deployed for a test and gone with it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sqs::types::QueueAttributeName;
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::processes::{self, Process};
use super::proxy::{Proxy, Sent};
use crate::support::emulator::{BUCKET, Emulator};
use crate::support::program::built;
use crate::support::scenario::Scenario;
use crate::support::serving::now;
use crate::support::table::{Shape, Table};

/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Between two events of the schedule while something is awaited.
const SCHEDULE_EVERY: Duration = Duration::from_secs(3);
/// An event of the schedule, as EventBridge sends it.
const SCHEDULED: &str = r#"{"version":"0","id":"1","detail-type":"Scheduled Event","source":"aws.events","account":"000000000000","time":"2026-01-01T00:00:00Z","region":"us-east-1","resources":[],"detail":{}}"#;

/// What a deployment is made of; the defaults are those of a test that wants no trouble.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Time that Lambda gives an invocation.
    pub(crate) timeout_s: u64,
    /// Time after which a message that nobody acknowledged comes again. A test cannot wait for six times
    /// the timeout.
    pub(crate) visibility_s: u64,
    /// Deliveries after which a message is dead.
    pub(crate) most_receives: u64,
    /// Workers of each lane.
    pub(crate) batches_at_once: u64,
    /// Most rows of a batch.
    pub(crate) batch_rows: Option<u64>,
    /// Classes of workers in pods that have queues.
    pub(crate) classes: Vec<&'static str>,
    /// Whether the bucket tells of new versions.
    pub(crate) notify: bool,
    /// Variables by function; those of `all` are for all of them.
    pub(crate) environment: BTreeMap<&'static str, BTreeMap<String, String>>,
    /// What stands before the program, by function.
    pub(crate) before: BTreeMap<&'static str, Vec<String>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            timeout_s: 60,
            visibility_s: 3,
            most_receives: 5,
            batches_at_once: 3,
            batch_rows: None,
            classes: vec![],
            notify: true,
            environment: BTreeMap::new(),
            before: BTreeMap::new(),
        }
    }
}

/// Queues by lane, and the queues of their dead letters.
#[derive(Debug, Deserialize)]
struct Lanes {
    queues: BTreeMap<String, String>,
    dead: BTreeMap<String, String>,
}

/// A deployed service: tables in the emulator's bucket are kept up to date.
///
/// What its functions ask for goes through the proxy.
pub(crate) struct Deployment {
    pub(crate) emulator: Emulator,
    pub(crate) proxy: Proxy,
    pub(crate) sqs: Client,
    name: String,
    lanes: Lanes,
    logs: TempDir,
}

impl Deployment {
    /// Starts an emulator and deploys the service there; where it cannot run, the test is skipped.
    pub(crate) fn start(settings: Settings) -> Option<Self> {
        let emulator = Emulator::start()?;
        let proxy = Proxy::start(emulator.port);
        let logs = tempfile::tempdir().expect("a temporary folder");
        // Its processes are told from those of other tests by it.
        let name = format!("service-{}", emulator.port);
        let Settings {
            timeout_s,
            visibility_s,
            most_receives,
            batches_at_once,
            batch_rows,
            classes,
            notify,
            mut environment,
            before,
        } = settings;
        if let Some(rows) = batch_rows {
            let all = environment.entry("all").or_default();
            all.insert("LANCE_BACKFILL_BATCH_ROWS".to_owned(), rows.to_string());
        }
        let python = (environment.values()).any(|of| of.contains_key("LANCE_BACKFILL_PYTHON"));
        let settings = json!({
            "name": name,
            "endpoint": emulator.endpoint(),
            "functions_endpoint": proxy.endpoint(),
            "bucket": BUCKET,
            "program": built("bootstrap"),
            "logs": logs.path(),
            "timeout_s": timeout_s,
            "visibility_s": visibility_s,
            "most_receives": most_receives,
            "batches_at_once": batches_at_once,
            "classes": classes,
            "notify": notify,
            "environment": environment,
            "before": before,
            "python": python,
        });
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("service/deploy.py");
        let deployed = Command::new("python3")
            .arg(script)
            .arg(settings.to_string())
            .output()
            .expect("python3 starts");
        assert!(deployed.status.success(), "{deployed:#?}");
        Some(Self {
            lanes: serde_json::from_slice(&deployed.stdout).expect("its queues"),
            sqs: client(&emulator.endpoint()),
            emulator,
            proxy,
            name,
            logs,
        })
    }

    /// A table of standard rows in the bucket.
    pub(crate) async fn table(&self, name: &str, shape: Shape, rows: i64) -> Scenario {
        let (uri, options) = (self.emulator.uri(name), self.emulator.options());
        Scenario::on(Table::standard_in(uri, options, shape, rows).await)
    }

    /// URL of the queue of a lane.
    pub(crate) fn queue(&self, lane: &str) -> &str {
        &self.lanes.queues[lane]
    }

    /// URL of the queue with a lane's dead letters.
    pub(crate) fn dead_queue(&self, lane: &str) -> &str {
        &self.lanes.dead[lane]
    }

    /// Sends a message to a lane.
    pub(crate) async fn send(&self, lane: &str, body: &str) {
        let url = self.queue(lane);
        let request = self.sqs.send_message().queue_url(url).message_body(body);
        let ordered = lane == "commits";
        // What is dropped as said before is not what a test wants.
        let once = format!("{:?}", now());
        let once: String = once.chars().filter(char::is_ascii_alphanumeric).collect();
        let request = request
            .set_message_group_id(ordered.then(|| "test".to_owned()))
            .set_message_deduplication_id(ordered.then_some(once));
        request.send().await.expect("the queue takes it");
    }

    /// Sends again what a function sent.
    pub(crate) async fn send_again(&self, message: &Sent) {
        let lane = self.lanes.queues.iter();
        let mut lane = lane.filter(|(_, url)| **url == message.queue);
        let (lane, _) = lane.next().expect("one of our queues");
        self.send(lane, &message.body).await;
    }

    /// The schedule wakes the planner.
    pub(crate) async fn schedule(&self) {
        self.send("plans", SCHEDULED).await;
    }

    /// Waits until something holds, while the schedule runs.
    pub(crate) async fn eventually(
        &self,
        what: &str,
        patience: Duration,
        mut holds: impl AsyncFnMut() -> bool,
    ) {
        let started = now();
        let mut scheduled = started;
        while !holds().await {
            assert!(
                started.elapsed() < patience,
                "{what}; logs:\n{}",
                self.last_words()
            );
            if scheduled.elapsed() > SCHEDULE_EVERY {
                scheduled = now();
                self.schedule().await;
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// Messages of a queue that wait, and those that somebody has at work.
    pub(crate) async fn depth(&self, url: &str) -> (u64, u64) {
        let names = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        ];
        let answer = self.sqs.get_queue_attributes().queue_url(url);
        let answer = answer
            .set_attribute_names(Some(names.to_vec()))
            .send()
            .await;
        let found = answer.expect("a queue").attributes.unwrap_or_default();
        let number = |name| found.get(name).and_then(|text: &String| text.parse().ok());
        let [waiting, at_work] = names.each_ref().map(|name| number(name).unwrap_or(0));
        (waiting, at_work)
    }

    /// Whether no message is left in any lane.
    pub(crate) async fn is_drained(&self) -> bool {
        for url in self.lanes.queues.values() {
            if self.depth(url).await != (0, 0) {
                return false;
            }
        }
        true
    }

    /// Takes the dead letters of a lane.
    pub(crate) async fn take_dead(&self, lane: &str) -> Vec<String> {
        let mut found = vec![];
        loop {
            let url = self.dead_queue(lane);
            let request = self.sqs.receive_message().queue_url(url);
            let answer = request.max_number_of_messages(10).send().await;
            let messages = answer.expect("dead letters").messages.unwrap_or_default();
            if messages.is_empty() {
                return found;
            }
            for message in messages {
                let receipt = message.receipt_handle.expect("a receipt");
                let request = self.sqs.delete_message().queue_url(url);
                let deleted = request.receipt_handle(receipt).send().await;
                deleted.expect("deletes");
                found.extend(message.body);
            }
        }
    }

    /// Dead letters in all lanes, by lane.
    pub(crate) async fn all_dead(&self) -> BTreeMap<String, Vec<String>> {
        let mut found = BTreeMap::new();
        for lane in self.lanes.dead.keys() {
            let letters = self.take_dead(lane).await;
            if !letters.is_empty() {
                found.insert(lane.clone(), letters);
            }
        }
        found
    }

    /// What the processes of a function printed.
    pub(crate) fn log(&self, kind: &str) -> String {
        let path = self.logs.path().join(format!("{kind}.log"));
        // A function that was never called has none.
        let bytes = std::fs::read(path).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Where the processes of all functions got their invocations, as address and port.
    pub(crate) fn runtime_apis(&self) -> BTreeSet<String> {
        let noted = std::fs::read_to_string(self.logs.path().join("apis"));
        let noted = noted.expect("some function was called");
        noted.lines().map(str::to_owned).collect()
    }

    /// The ends of all logs, for a message about what went wrong.
    fn last_words(&self) -> String {
        let mut words = String::new();
        for kind in ["planner", "worker", "committer"] {
            let log = self.log(kind);
            let lines: Vec<&str> = log.lines().collect();
            let last = lines.iter().skip(lines.len().saturating_sub(12));
            words.push_str(&format!("--- {kind}\n"));
            last.for_each(|line| words.push_str(&format!("{line}\n")));
        }
        words
    }

    /// Processes of a function that are there now.
    pub(crate) fn processes(&self, kind: &str) -> Vec<Process> {
        processes::of_function(&format!("{}-{kind}", self.name))
    }

    /// Gives a function other variables, beside those that it has.
    pub(crate) fn configure(&self, kind: &str, more: &[(&str, Option<&str>)]) {
        let path = format!("/2015-03-31/functions/{}-{kind}/configuration", self.name);
        let found = self.lambda("GET", &path, &Value::Null);
        let mut variables = found["Environment"]["Variables"].clone();
        for (name, value) in more {
            match (value, variables.as_object_mut()) {
                (Some(value), Some(all)) => {
                    all.insert((*name).to_owned(), json!(value));
                }
                (None, Some(all)) => {
                    all.remove(*name);
                }
                (_, None) => panic!("{kind} has no variables: {found}"),
            }
        }
        let body = json!({ "Environment": { "Variables": variables } });
        self.lambda("PUT", &path, &body);
    }

    /// A variable of a function.
    pub(crate) fn variable(&self, kind: &str, name: &str) -> String {
        let path = format!("/2015-03-31/functions/{}-{kind}/configuration", self.name);
        let found = self.lambda("GET", &path, &Value::Null);
        let value = found["Environment"]["Variables"][name].as_str();
        value.expect("it is set").to_owned()
    }

    fn lambda(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let answer = self.emulator.ask(method, path, &body).expect("an answer");
        let (_, document) = answer.split_once("\r\n\r\n").expect("a body");
        serde_json::from_str(document).expect("JSON")
    }
}

fn client(endpoint: &str) -> Client {
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(endpoint)
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .build();
    Client::from_conf(config)
}
