//! The stages of the service, with queues in this process; those on an emulator of AWS are in
//! `tests/service`.

use std::sync::Arc;
use std::time::Duration;

use lance_backfill_core::batch::BatchMessage;
use lance_backfill_core::format::{Stored, decode};
use lance_backfill_core::message::{CommitMessage, PlanMessage, Wake};
use lance_backfill_embedded::python::PythonFunctions;
use lance_backfill_embedded::{EngineOptions, Python};
use lance_backfill_lance::{ObjectStateStore, OpenOptions};
use lance_backfill_ports::queue::Queue;
use lance_backfill_service::{InProcessQueue, Planned, Queues, Service, ServiceOptions, Worked};
use tempfile::TempDir;

use crate::fill::product;
use crate::support::{Scenario, Shape};

/// A service in this process.
struct InProcess {
    service: Service,
    queues: Queues,
    _folder: TempDir,
}

impl InProcess {
    async fn start(batch_rows: u64) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let cache = folder.path().join("cache");
        let prefix = folder.path().join("service").display().to_string();
        let python = Python {
            interpreter: None,
            environment: std::collections::BTreeMap::new(),
            cache: cache.join("python"),
        };
        let engine = EngineOptions {
            open: OpenOptions::default(),
            workers: 2,
            most_rows_per_batch: Some(batch_rows),
            cache,
            python: Arc::new(PythonFunctions::new(python, 2)),
        };
        let store = ObjectStateStore::open(&prefix, &engine.open).await;
        let options = ServiceOptions {
            engine,
            batches_at_once: 2,
        };
        let queue = || Arc::new(InProcessQueue::new(Duration::from_secs(60)));
        let queues = Queues {
            plans: queue(),
            fresh: queue(),
            bulk: queue(),
            commits: queue(),
        };
        let store = Arc::new(store.expect("a state store"));
        Self {
            service: Service::new(options, queues.clone(), store),
            queues,
            _folder: folder,
        }
    }

    /// Takes all messages that are there, latest first and each of them twice.
    async fn take<T: Stored>(&self, queue: &dyn Queue) -> Vec<T> {
        let mut found = vec![];
        loop {
            let some = queue.receive(10, Duration::ZERO).await.expect("receives");
            if some.is_empty() {
                break;
            }
            for delivery in some {
                let message = || decode(delivery.body.as_bytes()).expect("our own message");
                found.extend([message(), message()]);
                let receipt = [delivery.receipt.clone()];
                queue.acknowledge(&receipt).await.expect("acknowledges");
            }
        }
        found.reverse();
        found
    }

    /// Plans a table and does all that this leads to; how many calls of the function that took.
    async fn converge(&self, table: &str) -> u64 {
        let mut calls = 0;
        let mut plans = vec![PlanMessage::new(table.to_owned(), Wake::Committed)];
        while !plans.is_empty() {
            for plan in plans {
                let planned = self.service.plan(&plan).await.expect("plans");
                assert!(matches!(planned, Planned::Looked { .. }), "{planned:?}");
            }
            let mut batches: Vec<BatchMessage> = self.take(self.queues.bulk.as_ref()).await;
            batches.extend(self.take(self.queues.fresh.as_ref()).await);
            for batch in &batches {
                match self.service.work(batch).await.expect("works") {
                    Worked::Done { calls: made, .. } => calls += made,
                    Worked::Obsolete { reason } => panic!("{reason}"),
                }
            }
            let commits: Vec<CommitMessage> = self.take(self.queues.commits.as_ref()).await;
            for commit in &commits {
                self.service.commit(commit).await.expect("commits");
            }
            plans = self.take(self.queues.plans.as_ref()).await;
            if !commits.is_empty() {
                // What it published is an event.
                plans.push(PlanMessage::new(table.to_owned(), Wake::Scheduled));
            }
        }
        calls
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_may_come_twice_and_in_any_order() {
    let shape = Shape::default().fragments_of(400);
    let scenario = Scenario::standard(shape, 1_000).await;
    scenario.add("p", "a * b", &[]);
    let service = InProcess::start(150).await;
    let uri = scenario.uri.clone();
    // Of a repeated batch the second delivery finds the first one's checkpoint manifest and its calls.
    let calls = service.converge(&uri).await;
    assert_eq!(calls, 2 * 8, "parts of 150 rows of three fragments");
    scenario.append(100).await;
    service.converge(&uri).await;
    assert_eq!(scenario.check_int("p", product).await, 1_100);
    assert_eq!(service.converge(&uri).await, 0);
    let registered = service.service.tables().await.expect("lists");
    assert_eq!(registered, [uri]);
    scenario.expect_computed_nothing();
}
