//! A service in this process: its stages, and queues between them that the test serves.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lance_backfill_core::batch::BatchMessage;
use lance_backfill_core::format::{Stored, decode};
use lance_backfill_core::message::{CommitMessage, PlanMessage, Wake};
use lance_backfill_embedded::python::PythonFunctions;
use lance_backfill_embedded::{ArtifactSource, EngineOptions, Python, ServiceFunctions};
use lance_backfill_lance::{ObjectStateStore, OpenOptions};
use lance_backfill_ports::queue::Queue;
use lance_backfill_ports::secrets::Secrets;
use lance_backfill_ports::state_store::StateStore;
use lance_backfill_service::{
    ClassQueues, InProcessQueue, Outages, Planned, Queues, Service, ServiceOptions, Worked,
};
use tempfile::TempDir;

/// How a service is set up.
pub(crate) struct Setup {
    /// Most rows of a batch.
    pub(crate) batch_rows: u64,
    /// Interpreter of Python functions.
    pub(crate) python: Option<PathBuf>,
    pub(crate) environment: BTreeMap<String, String>,
    /// Those of the environment without.
    pub(crate) secrets: Option<Arc<dyn Secrets>>,
    /// Whether only functions run that were registered with it; those that tables have without.
    pub(crate) only_registered: bool,
    pub(crate) outages: Outages,
    /// Class of workers that this service has, and that its process is one of.
    pub(crate) class: Option<&'static str>,
    /// How long a batch is hidden from others when it is received.
    pub(crate) visibility: Duration,
    /// How often a batch is received in vain before its message is a dead letter.
    pub(crate) most_receives: u32,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            batch_rows: 1_000,
            python: None,
            environment: BTreeMap::new(),
            secrets: None,
            only_registered: false,
            outages: Outages::default(),
            class: None,
            visibility: Duration::from_secs(60),
            most_receives: 5,
        }
    }
}

/// A service in this process.
pub(crate) struct InProcess {
    pub(crate) service: Service,
    pub(crate) queues: Queues,
    /// Dead letters of both lanes.
    pub(crate) dead: Arc<dyn Queue>,
    /// The service's own.
    pub(crate) store: Arc<dyn StateStore>,
    /// How its tables are opened.
    pub(crate) engine: EngineOptions,
    _folder: TempDir,
}

impl InProcess {
    pub(crate) async fn start(batch_rows: u64) -> Self {
        Self::with(Setup {
            batch_rows,
            ..Setup::default()
        })
        .await
    }

    pub(crate) async fn with(setup: Setup) -> Self {
        let Setup {
            batch_rows,
            python,
            environment,
            secrets,
            only_registered,
            outages,
            class,
            visibility,
            most_receives,
        } = setup;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let cache = folder.path().join("cache");
        let prefix = folder.path().join("service").display().to_string();
        let python = Python {
            interpreter: python,
            environment,
            cache: cache.join("python"),
        };
        let mut python = PythonFunctions::new(python, 2);
        if let Some(secrets) = secrets {
            python = python.with_secrets(secrets);
        }
        let open = OpenOptions::default();
        let store = ObjectStateStore::open(&prefix, &open).await;
        let store: Arc<dyn StateStore> = Arc::new(store.expect("a state store"));
        let artifacts = match only_registered {
            true => ArtifactSource::Service(Arc::new(ServiceFunctions::new(store.clone()))),
            false => ArtifactSource::Table,
        };
        let engine = EngineOptions {
            open,
            workers: 2,
            most_rows_per_batch: Some(batch_rows),
            cache,
            python: Arc::new(python),
            artifacts,
        };
        let options = ServiceOptions {
            engine: engine.clone(),
            batches_at_once: 2,
            class: class.map(str::to_owned),
            outages,
        };
        let queue = || Arc::new(InProcessQueue::new(Duration::from_secs(60)));
        let dead = Arc::new(InProcessQueue::new(visibility));
        let lane = || {
            let lane = InProcessQueue::new(visibility);
            Arc::new(lane.with_dead_letters(most_receives, dead.clone()))
        };
        let queues = Queues {
            plans: queue(),
            fresh: lane(),
            bulk: lane(),
            commits: queue(),
            fresh_dead: Some(dead.clone()),
            bulk_dead: None,
            classes: (class.into_iter())
                .map(|class| {
                    let lanes = ClassQueues {
                        fresh: lane(),
                        bulk: lane(),
                        fresh_dead: Some(dead.clone()),
                        bulk_dead: None,
                        batches_at_once: 2,
                    };
                    (class.to_owned(), lanes)
                })
                .collect(),
        };
        Self {
            service: Service::new(options, queues.clone(), store.clone()),
            queues,
            dead,
            store,
            engine,
            _folder: folder,
        }
    }

    /// Takes all messages that are there, latest first and each of them twice.
    pub(crate) async fn take<T: Stored>(&self, queue: &dyn Queue) -> Vec<T> {
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

    /// Takes all batches, each of them twice.
    pub(crate) async fn batches(&self) -> Vec<BatchMessage> {
        let mut batches: Vec<BatchMessage> = self.take(self.queues.bulk.as_ref()).await;
        batches.extend(self.take(self.queues.fresh.as_ref()).await);
        for class in self.queues.classes.values() {
            batches.extend(self.take(class.bulk.as_ref()).await);
            batches.extend(self.take(class.fresh.as_ref()).await);
        }
        batches
    }

    /// Plans a table and does all that this leads to; how many calls of the function that took.
    pub(crate) async fn converge(&self, table: &str) -> u64 {
        let mut calls = 0;
        let mut plans = vec![PlanMessage::new(table.to_owned(), Wake::Committed)];
        while !plans.is_empty() {
            for plan in plans {
                let planned = self.service.plan(&plan).await.expect("plans");
                assert!(matches!(planned, Planned::Looked { .. }), "{planned:?}");
            }
            for batch in self.batches().await {
                match self.service.work(&batch).await.expect("works") {
                    Worked::Done { calls: made, .. } => calls += made,
                    other => panic!("{other:?}"),
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
