use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use lance_backfill_core::deployment::QueueUrls;
use lance_backfill_ports::ErrorKind;
use lance_backfill_ports::queue::Outgoing;
use lance_backfill_testkit::MemStateStore;

use super::*;
use crate::InProcessQueue;
use crate::queues::group;

const PREFIX: &str = "s3://lake/backfill/";
const TABLE: &str = "s3://lake/t.lance";

/// Queues by URL.
#[derive(Default)]
struct Region(Mutex<HashMap<String, Arc<InProcessQueue>>>);

impl Region {
    fn queue(&self, url: &str) -> Arc<InProcessQueue> {
        let mut queues = self.0.lock().expect("a lock");
        let new = || {
            let queue = InProcessQueue::new(Duration::from_secs(60));
            Arc::new(match url.contains("commits") {
                true => queue.ordered(),
                false => queue,
            })
        };
        queues.entry(url.to_owned()).or_insert_with(new).clone()
    }

    async fn take(&self, url: &str) -> Vec<String> {
        let found = self.queue(url).receive(100, Duration::ZERO).await;
        let found = found.expect("receives").into_iter();
        found.map(|delivery| delivery.body).collect()
    }
}

fn urls(end: &str) -> QueueUrls {
    let url = |name: &str| format!("{name}{end}");
    QueueUrls {
        plans: url("plans"),
        fresh: url("fresh"),
        bulk: url("bulk"),
        commits: url("commits"),
    }
}

fn deployment() -> Deployment {
    Deployment {
        version: Deployment::VERSION,
        name: "test".to_owned(),
        queues: urls(""),
        dead_letters: urls("-dead"),
        python: false,
        secrets: [].into(),
        classes: [].into(),
        batches_at_once: 2,
    }
}

fn remote(region: &Region, store: &MemStateStore) -> Remote {
    let queue = |url: &str| -> Arc<dyn Queue> { region.queue(url) };
    Remote::new(PREFIX, deployment(), Arc::new(store.clone()), &queue)
}

fn wakes(bodies: &[String]) -> Vec<(String, Wake)> {
    let read = |body: &String| decode::<PlanMessage>(body.as_bytes()).expect("a plan message");
    let messages = bodies.iter().map(read);
    messages
        .map(|message| (message.table, message.why))
        .collect()
}

#[tokio::test]
async fn a_prefix_without_a_service_says_what_to_do() {
    let store = MemStateStore::default();
    let error = Remote::deployment_of(PREFIX, &store)
        .await
        .expect_err("nothing");
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert!(error.one_line().contains("terraform output"), "{error}");
    let written = encode(&deployment()).expect("JSON");
    let created = store.create(DEPLOYMENT_PATH, written.into()).await;
    assert_eq!(created.expect("creates"), Created::New);
    let found = Remote::deployment_of(PREFIX, &store).await;
    assert_eq!(found.expect("a service"), deployment());
}

#[test]
fn tables_have_the_name_that_events_have() {
    let remote = remote(&Region::default(), &MemStateStore::default());
    assert_eq!(
        remote.table_name("s3://lake/t.lance/").expect("a name"),
        TABLE
    );
    for unreachable in ["t.lance", "/data/t.lance", "gs://lake/t.lance"] {
        let error = remote.table_name(unreachable).expect_err(unreachable);
        assert!(error.one_line().contains("cannot reach"), "{error}");
    }
}

#[tokio::test]
async fn a_pause_is_somebodys_until_all_tables_are_told_of_its_end() {
    let (region, store) = (Region::default(), MemStateStore::default());
    let remote = remote(&region, &store);
    assert_eq!(
        remote.take_in(TABLE).await.expect("registers"),
        Admission::Unknown
    );
    assert_eq!(
        remote
            .take_in("s3://lake/u.lance")
            .await
            .expect("registers"),
        Admission::Unknown
    );
    assert_eq!(
        remote
            .take_in("s3://lake/v.lance")
            .await
            .expect("registers"),
        Admission::Unknown
    );
    assert_eq!(
        remote.take_out("s3://lake/v.lance").await.expect("removes"),
        Admission::Kept
    );
    let woken = wakes(&region.take("plans").await);
    assert_eq!(woken.len(), 3);
    assert!(
        woken.contains(&(TABLE.to_owned(), Wake::Requested)),
        "{woken:?}"
    );

    assert_eq!(remote.resume().await.expect("looks"), None);
    let reason = Some("the bill".to_owned());
    let first = remote.stop(7, reason.clone()).await.expect("stops");
    assert_eq!(first, StopOutcome::Stopped);
    let StopOutcome::AlreadyStopped(before) = remote.stop(9, None).await.expect("asks") else {
        panic!("it was stopped before");
    };
    assert_eq!((before.since_ms, before.reason), (7, reason));
    assert_eq!(remote.resume().await.expect("resumes"), Some(2));
    assert_eq!(remote.stopped().await.expect("looks"), None);
    let mut woken = wakes(&region.take("plans").await);
    woken.sort();
    let resumed = [TABLE, "s3://lake/u.lance"].map(|table| (table.to_owned(), Wake::Resumed));
    assert_eq!(woken, resumed);
}

#[tokio::test]
async fn dead_letters_go_back_each_once() {
    let (region, store) = (Region::default(), MemStateStore::default());
    let remote = remote(&region, &store);
    let body = |number: usize| {
        format!(
            r#"{{"table":"s3://lake/t{}.lance","n":{number}}}"#,
            number % 3
        )
    };
    let mut sent: Vec<String> = (0..25).map(body).collect();
    sent.push("nobody's".to_owned());
    for dead in ["bulk-dead", "commits-dead"] {
        let messages: Vec<_> = (sent.iter())
            .map(|body| Outgoing::new(body.clone()).in_group(group(TABLE)))
            .collect();
        region.queue(dead).send(&messages).await.expect("sends");
    }
    let told = Mutex::new(vec![]);
    let hears = |moved, all| told.lock().expect("a lock").push((moved, all));
    for queue in [QueueName::Bulk, QueueName::Commits] {
        let redriven = remote.redrive(&queue, &hears).await.expect("moves");
        let all = sent.len() as u64;
        assert_eq!((redriven.dead_letters, redriven.moved), (all, all));
        // In an ordered queue each group has its turn: all of them come.
        let mut found = region.take(&queue.to_string()).await;
        found.sort();
        let mut wanted = sent.clone();
        wanted.sort();
        assert_eq!(found, wanted);
    }
    let told = told.into_inner().expect("a lock");
    assert_eq!(told.first(), Some(&(0, 26)));
    assert_eq!(told.last(), Some(&(26, 26)));
    let depths = remote.depths().await.expect("counts");
    assert_eq!(depths[2].depth.in_flight, 26);
    assert!(
        depths.iter().all(|depths| depths.dead_letters == 0),
        "{depths:?}"
    );
}
