//! The functions of the service with queues in this process: what is wrong with one message disturbs
//! nothing else, and work for which there is no time is handed on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use lance_backfill_core::batch::BatchMessage;
use lance_backfill_core::format::{Stored, decode, encode};
use lance_backfill_core::message::{CommitMessage, MOST_HOPS, PlanMessage, RegisteredTable, Wake};
use lance_backfill_embedded::python::PythonFunctions;
use lance_backfill_embedded::{ArtifactSource, EngineOptions, Python};
use lance_backfill_functions::{Answer, Context, Metrics, Time};
use lance_backfill_lance::{ObjectStateStore, OpenOptions};
use lance_backfill_ports::queue::{Delivery, Depth, Outgoing, Queue, Receipt};
use lance_backfill_ports::{Error, ErrorKind, Result};
use lance_backfill_service::{
    Doing, InProcessQueue, Outages, PullOptions, Queues, Service, ServiceOptions,
};
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::watch;

use crate::fill::product;
use crate::support::{Scenario, Shape};

const LONG: Duration = Duration::from_secs(600);
const PATIENCE: Duration = Duration::from_secs(60);

/// A queue that does not take what speaks of some table.
struct Moody {
    inner: InProcessQueue,
    panics: Option<String>,
    refuses: bool,
}

#[async_trait::async_trait]
impl Queue for Moody {
    async fn send(&self, messages: &[Outgoing]) -> Result<()> {
        if self.refuses {
            return Err(Error::new(ErrorKind::Unavailable, "the queue is busy"));
        }
        if let Some(table) = &self.panics {
            let panics = messages.iter().any(|message| message.body.contains(table));
            assert!(!panics, "this table makes it panic");
        }
        self.inner.send(messages).await
    }

    async fn receive(&self, most: usize, wait: Duration) -> Result<Vec<Delivery>> {
        self.inner.receive(most, wait).await
    }

    async fn extend(&self, receipt: &Receipt, time: Duration) -> Result<bool> {
        self.inner.extend(receipt, time).await
    }

    async fn acknowledge(&self, receipts: &[Receipt]) -> Result<()> {
        self.inner.acknowledge(receipts).await
    }

    async fn visibility(&self) -> Result<Duration> {
        self.inner.visibility().await
    }

    async fn depth(&self) -> Result<Depth> {
        self.inner.depth().await
    }
}

/// A process of the service.
struct Process {
    context: Context,
    queues: Queues,
    folder: TempDir,
}

impl Process {
    async fn start() -> Self {
        Self::with(Queues {
            plans: queue(),
            fresh: queue(),
            bulk: queue(),
            commits: queue(),
            fresh_dead: None,
            bulk_dead: None,
            classes: BTreeMap::new(),
        })
        .await
    }

    async fn with(queues: Queues) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let cache = folder.path().join("cache");
        let python = Python {
            interpreter: None,
            environment: BTreeMap::new(),
            cache: cache.join("python"),
        };
        let engine = EngineOptions {
            open: OpenOptions::default(),
            workers: 2,
            most_rows_per_batch: None,
            cache,
            python: Arc::new(PythonFunctions::new(python, 2)),
            artifacts: ArtifactSource::Table,
        };
        let prefix = folder.path().join("service").display().to_string();
        let store = ObjectStateStore::open(&prefix, &engine.open).await;
        let options = ServiceOptions {
            engine,
            batches_at_once: 2,
            class: None,
            outages: Outages::default(),
        };
        let store = Arc::new(store.expect("a state store"));
        let metrics = Metrics {
            service: "test".to_owned(),
            by_column: false,
        };
        Self {
            context: Context::new(Service::new(options, queues.clone(), store), metrics),
            queues,
            folder,
        }
    }

    async fn plan(&self, records: &[(&str, String)], time: Time) -> String {
        told(lance_backfill_planner::handle(&self.context, event(records), time).await)
    }

    async fn work(&self, records: &[(&str, String)], time: Time) -> String {
        told(lance_backfill_worker::handle(&self.context, event(records), time).await)
    }

    async fn commit(&self, records: &[(&str, String)], time: Time) -> String {
        told(lance_backfill_committer::handle(&self.context, event(records), time).await)
    }

    /// Where a table would be that is not there.
    fn nowhere(&self) -> String {
        self.folder.path().join("gone.lance").display().to_string()
    }
}

fn queue() -> Arc<dyn Queue> {
    Arc::new(InProcessQueue::new(LONG))
}

fn moody(panics: Option<String>, refuses: bool) -> Arc<dyn Queue> {
    let inner = InProcessQueue::new(LONG);
    Arc::new(Moody {
        inner,
        panics,
        refuses,
    })
}

fn event(records: &[(&str, String)]) -> SqsEvent {
    let record = |(id, body): &(&str, String)| json!({"messageId": id, "body": body});
    let records: Vec<_> = records.iter().map(record).collect();
    serde_json::from_value(json!({ "Records": records })).expect("an event")
}

/// The answer, as Lambda reads it.
fn told(answer: Answer) -> String {
    serde_json::to_string(&SqsBatchResponse::from(answer)).expect("JSON")
}

fn again(messages: &[&str]) -> String {
    let failure = |id: &&str| format!(r#"{{"itemIdentifier":"{id}"}}"#);
    let failures: Vec<_> = messages.iter().map(failure).collect();
    format!(r#"{{"batchItemFailures":[{}]}}"#, failures.join(","))
}

fn text<T: Stored>(message: &T) -> String {
    String::from_utf8(encode(message).expect("encodes")).expect("text")
}

fn plan(table: &str) -> String {
    text(&PlanMessage::new(table.to_owned(), Wake::Committed))
}

/// Takes all messages that are there.
async fn take<T: Stored>(queue: &dyn Queue) -> Vec<T> {
    let mut found = vec![];
    loop {
        let some = queue.receive(10, Duration::ZERO).await.expect("receives");
        if some.is_empty() {
            return found;
        }
        let read = |it: &Delivery| decode(it.body.as_bytes()).expect("our own message");
        found.extend(some.iter().map(read));
    }
}

fn time() -> Time {
    Time::of(LONG)
}

/// A table with a column that is to be filled.
async fn declared() -> Scenario {
    let scenario = Scenario::standard(Shape::default(), 60).await;
    scenario.add("p", "a * b", &[]);
    scenario
}

/// What nobody can read, under the name of what is wrong with it.
fn unreadable(message: &str) -> Vec<(&'static str, String)> {
    vec![
        ("text", "not JSON at all".to_owned()),
        ("empty", String::new()),
        ("null", "null".to_owned()),
        (
            "newer",
            message.replacen(r#""version":1"#, r#""version":9"#, 1),
        ),
        ("cut", message[..message.len() / 2].to_owned()),
        ("more", message.replacen('{', r#"{"surprise":1,"#, 1)),
        ("large", "x".repeat(2 << 20)),
    ]
}

fn s3(event: &str, key: &str) -> String {
    let record = json!({
        "eventName": event,
        "s3": {"bucket": {"name": "lake"}, "object": {"key": key}}
    });
    json!({ "Records": [record] }).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planner_does_what_it_can_read_and_gives_the_rest_back() {
    let scenario = declared().await;
    let process = Process::start().await;
    let good = plan(&scenario.uri);
    let mut records = unreadable(&good);
    let expected: Vec<&str> = records.iter().map(|(id, _)| *id).collect();
    records.extend([
        ("foreign", s3("ObjectCreated:Put", "logs/2026/app.log")),
        ("data", s3("ObjectCreated:Put", "t.lance/data/1.lance")),
        (
            "removed",
            s3("ObjectRemoved:Delete", "t.lance/_versions/1.manifest"),
        ),
        (
            "test",
            json!({"Event": "s3:TestEvent", "Bucket": "lake"}).to_string(),
        ),
        ("gone", plan(&process.nowhere())),
        ("good", good),
    ]);
    assert_eq!(process.plan(&records, time()).await, again(&expected));
    let batches: Vec<BatchMessage> = take(process.queues.fresh.as_ref()).await;
    assert_eq!(batches.len(), 1);
    assert_eq!(batches[0].table, scenario.uri);
    let registered = process.context.service.tables().await.expect("lists");
    assert_eq!(registered, std::slice::from_ref(&scenario.uri));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planner_that_panics_about_one_table_plans_the_others() {
    let (bad, good) = (declared().await, declared().await);
    let process = Process::with(Queues {
        plans: queue(),
        fresh: moody(Some(bad.uri.clone()), false),
        bulk: queue(),
        commits: queue(),
        fresh_dead: None,
        bulk_dead: None,
        classes: BTreeMap::new(),
    })
    .await;
    let records = [
        ("a", plan(&bad.uri)),
        ("b", plan(&good.uri)),
        ("c", plan(&bad.uri)),
    ];
    assert_eq!(process.plan(&records, time()).await, again(&["a", "c"]));
    let batches: Vec<BatchMessage> = take(process.queues.fresh.as_ref()).await;
    let tables: Vec<&str> = batches.iter().map(|batch| batch.table.as_str()).collect();
    assert_eq!(tables, [good.uri.as_str()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_for_which_there_is_no_time_are_handed_on_until_their_chain_is_long() {
    let process = Process::start().await;
    let chain = |table: &str, hops| PlanMessage {
        hops,
        ..PlanMessage::new(table.to_owned(), Wake::Requested)
    };
    let first = chain("/one.lance", 0);
    let longest = chain("/two.lance", MOST_HOPS - 1);
    let records = [
        ("a", text(&first)),
        ("b", text(&longest)),
        ("c", "not JSON".to_owned()),
    ];
    let none = Time::of(Duration::ZERO);
    assert_eq!(process.plan(&records, none.clone()).await, again(&["c"]));
    let handed_on: Vec<PlanMessage> = take(process.queues.plans.as_ref()).await;
    assert_eq!(handed_on, [chain("/one.lance", 1)]);
    // Where it cannot be handed on, the message itself comes again.
    let process = Process::with(Queues {
        plans: moody(None, true),
        ..process.queues
    })
    .await;
    assert_eq!(process.plan(&records, none).await, again(&["c", "a"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schedule_gives_each_of_many_tables_to_a_planner_of_its_own() {
    let process = Process::start().await;
    let tables = process.folder.path().join("service/tables");
    std::fs::create_dir_all(&tables).expect("a folder");
    let schedule = json!({"detail-type": "Scheduled Event", "source": "aws.events"}).to_string();
    let records = [("a", schedule)];
    let mut expected = vec![];
    for number in 10..35 {
        let table = process.folder.path().join(format!("{number}.lance"));
        let table = table.display().to_string();
        let registered = RegisteredTable::new(table.clone());
        let path = tables.join(format!("{number}.json"));
        std::fs::write(path, text(&registered)).expect("written");
        expected.push(PlanMessage::new(table, Wake::Scheduled));
        if number == 19 {
            // A few of them it looks at itself.
            assert_eq!(process.plan(&records, time()).await, again(&[]));
            let sent: Vec<PlanMessage> = take(process.queues.plans.as_ref()).await;
            assert_eq!(sent, []);
        }
    }
    assert_eq!(process.plan(&records, time()).await, again(&[]));
    let mut sent: Vec<PlanMessage> = take(process.queues.plans.as_ref()).await;
    sent.sort_by(|left, right| left.table.cmp(&right.table));
    assert_eq!(sent, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_does_what_it_can_read_and_drops_what_nobody_wants() {
    let scenario = declared().await;
    let process = Process::start().await;
    let planned = process.plan(&[("p", plan(&scenario.uri))], time()).await;
    assert_eq!(planned, again(&[]));
    let batches: Vec<BatchMessage> = take(process.queues.fresh.as_ref()).await;
    let [batch] = batches.as_slice() else {
        panic!("one batch: {batches:?}");
    };
    let with = |change: &dyn Fn(&mut BatchMessage)| {
        let mut changed = batch.clone();
        change(&mut changed);
        text(&changed)
    };
    let mut records = unreadable(&text(batch));
    let expected: Vec<&str> = records.iter().map(|(id, _)| *id).collect();
    let other = |id: &str| format!("{:020}-{id}-0", 7).parse().expect("a batch");
    records.extend([
        ("gone", with(&|it| it.table = process.nowhere())),
        (
            "column",
            with(&|it| it.binding = "nobody".parse().expect("a binding")),
        ),
        (
            "ledger",
            with(&|it| {
                it.batch = other("t");
                it.work = None;
            }),
        ),
        ("good", text(batch)),
        ("twice", text(batch)),
    ]);
    // Without time nothing is begun, and what is not done comes again.
    let none = process
        .work(&[("good", text(batch))], Time::of(Duration::ZERO))
        .await;
    assert_eq!(none, again(&["good"]));
    assert!(
        take::<CommitMessage>(process.queues.commits.as_ref())
            .await
            .is_empty()
    );
    assert_eq!(process.work(&records, time()).await, again(&expected));
    let commits: Vec<CommitMessage> = take(process.queues.commits.as_ref()).await;
    assert!(!commits.is_empty() && commits.iter().all(|it| it.table == scenario.uri));
    // A pointer to what the ledger has is as good as the work itself.
    let pointer = with(&|it| it.work = None);
    assert_eq!(process.work(&[("p", pointer)], time()).await, again(&[]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_committer_keeps_the_order_of_each_table_and_lets_no_table_wait_for_another() {
    let scenario = declared().await;
    let process = Process::start().await;
    process.plan(&[("p", plan(&scenario.uri))], time()).await;
    let batches: Vec<BatchMessage> = take(process.queues.fresh.as_ref()).await;
    process.work(&[("w", text(&batches[0]))], time()).await;
    let commits: Vec<CommitMessage> = take(process.queues.commits.as_ref()).await;
    let good = &commits[0];
    let damaged = process.folder.path().join("damaged.lance");
    std::fs::create_dir_all(damaged.join("_versions")).expect("a folder");
    std::fs::write(damaged.join("_versions/1.manifest"), "no manifest").expect("written");
    let damaged = damaged.display().to_string();
    let of = |table: &str, binding: &str| {
        text(&CommitMessage {
            table: table.to_owned(),
            binding: binding.parse().expect("a binding"),
            ..good.clone()
        })
    };
    let mut records = unreadable(&text(good));
    records.extend([
        ("d1", of(&damaged, "one")),
        ("gone", of(&process.nowhere(), "one")),
        ("good", text(good)),
        ("d2", of(&damaged, "two")),
        ("again", text(good)),
        ("d3", of(&damaged, "one")),
        ("column", of(&scenario.uri, "nobody")),
    ]);
    let good_records = [("good", text(good)), ("again", text(good))];
    let none = process
        .commit(&good_records, Time::of(Duration::ZERO))
        .await;
    assert_eq!(none, again(&["good", "again"]));
    let answer = process.commit(&records, time()).await;
    assert_eq!(answer, again(&["d1", "d2", "d3"]));
    assert_eq!(scenario.check_int("p", product).await, 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_pulls_does_what_is_in_its_queues_and_stops_when_it_is_told() {
    let scenario = declared().await;
    let process = Process::start().await;
    process.plan(&[("p", plan(&scenario.uri))], time()).await;
    let Process {
        context,
        queues,
        folder,
    } = process;
    let service = Arc::new(context.service);
    queues
        .bulk
        .send(&[Outgoing::new("not JSON".to_owned())])
        .await
        .expect("sends");
    let lanes = [queues.fresh.clone(), queues.bulk.clone()];
    let options = PullOptions {
        at_once: 2,
        visibility: LONG,
        grace: LONG,
    };
    let mut commits = vec![];
    let stop = async {
        let found = queues
            .commits
            .receive(10, PATIENCE)
            .await
            .expect("receives");
        commits.extend(
            found
                .iter()
                .map(|it| decode::<CommitMessage>(it.body.as_bytes())),
        );
    };
    let (doing, told) = watch::channel(Doing::default());
    let pulled = service.pull(&lanes, &options, &doing, stop).await;
    assert_eq!((pulled.done, pulled.lost), (1, 0), "{pulled:?}");
    let did = told.borrow();
    assert!(did.busy.is_empty() && did.draining, "{did:?}");
    assert_eq!((did.batches_done, did.functions_loaded.len()), (1, 1));
    let commits: std::result::Result<Vec<CommitMessage>, _> = commits.into_iter().collect();
    let commits = commits.expect("our own messages");
    for commit in &commits {
        service.commit(commit).await.expect("commits");
    }
    assert_eq!(scenario.check_int("p", product).await, 60);
    drop(folder);
}
