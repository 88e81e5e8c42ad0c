//! A service in this process: the stages behind queues in memory.

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
use lance_backfill_service::{InProcessQueue, Planned, Queues, Service, ServiceOptions, Worked};
use tempfile::TempDir;

/// What a service in this process has.
pub(crate) struct Settings {
    pub(crate) batch_rows: u64,
    pub(crate) interpreter: Option<PathBuf>,
    pub(crate) environment: BTreeMap<String, String>,
    /// Those of the environment without.
    pub(crate) secrets: Option<Arc<dyn Secrets>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            batch_rows: 1_000,
            interpreter: None,
            environment: BTreeMap::new(),
            secrets: None,
        }
    }
}

pub(crate) struct InProcess {
    pub(crate) service: Service,
    pub(crate) queues: Queues,
    /// The service's own.
    pub(crate) store: Arc<dyn StateStore>,
    options: EngineOptions,
    _folder: TempDir,
}

impl InProcess {
    pub(crate) async fn start(settings: Settings) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let cache = folder.path().join("cache");
        let prefix = folder.path().join("service").display().to_string();
        let python = Python {
            interpreter: settings.interpreter,
            environment: settings.environment,
            cache: cache.join("python"),
        };
        let mut python = PythonFunctions::new(python, 2);
        if let Some(secrets) = settings.secrets {
            python = python.with_secrets(secrets);
        }
        let open = OpenOptions::default();
        let store = ObjectStateStore::open(&prefix, &open).await;
        let store: Arc<dyn StateStore> = Arc::new(store.expect("a state store"));
        let options = EngineOptions {
            open,
            workers: 2,
            most_rows_per_batch: Some(settings.batch_rows),
            cache,
            python: Arc::new(python),
            artifacts: ArtifactSource::Service(Arc::new(ServiceFunctions::new(store.clone()))),
        };
        let queue = || Arc::new(InProcessQueue::new(Duration::from_secs(60)));
        let queues = Queues {
            plans: queue(),
            fresh: queue(),
            bulk: queue(),
            commits: queue(),
        };
        let service = ServiceOptions {
            engine: options.clone(),
            batches_at_once: 2,
        };
        Self {
            service: Service::new(service, queues.clone(), store.clone()),
            queues,
            store,
            options,
            _folder: folder,
        }
    }

    /// What its processes open tables with.
    pub(crate) fn engine_options(&self) -> EngineOptions {
        self.options.clone()
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
