//! What a process of the service is made of, read from its environment once.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lance_backfill_aws::{ManagedSecrets, SqsQueue, client_from_environment};
use lance_backfill_core::deployment;
use lance_backfill_embedded::python::PythonFunctions;
use lance_backfill_embedded::{ArtifactSource, EngineOptions, Python, ServiceFunctions};
use lance_backfill_lance::{ObjectStateStore, OpenOptions};
use lance_backfill_ports::queue::Queue;
use lance_backfill_ports::state_store::StateStore;
use lance_backfill_ports::{Error, Result};
use lance_backfill_service::{ClassQueues, Outages, Queues, Service, ServiceOptions};

use crate::memory::Shares;
use crate::metrics::Metrics;

/// Folder for what a process keeps while it lives: the only one that a function may write.
const CACHE: &str = "/tmp/lance-backfill";
/// Batches at work at once, where the deployment does not say.
const BATCHES_AT_ONCE: u32 = 10;

/// One process of the service, built at its start and used for each invocation.
pub struct Context {
    /// The stages.
    pub service: Service,
    /// Where what they did is counted.
    pub metrics: Metrics,
}

impl Context {
    /// Of stages that are there already.
    pub const fn new(service: Service, metrics: Metrics) -> Self {
        Self { service, metrics }
    }

    /// Reads the environment; an error names the variable that is missing.
    pub async fn from_environment(environment: BTreeMap<String, String>) -> Result<Self> {
        let client = client_from_environment().await;
        let needed = |name: &str, what: &str| {
            let value = environment.get(name).filter(|value| !value.is_empty());
            value
                .cloned()
                .ok_or_else(|| Error::invalid(format!("{name} is not set: it is {what}")))
        };
        let prefix = needed(
            "LANCE_BACKFILL_SERVICE",
            "where the service keeps what is its own, as s3://bucket/prefix",
        )?;
        let metrics = Metrics::from_environment(&environment);
        let queue = |name: &str| -> Result<Arc<dyn Queue>> {
            let url = needed(name, "the URL of a queue")?;
            Ok(Arc::new(SqsQueue::new(client.clone(), url)))
        };
        // Only the planner is told of them, which gives up what no worker finished.
        let dead = |name: &str| -> Option<Arc<dyn Queue>> {
            let url = environment.get(name).filter(|url| !url.is_empty())?;
            Some(Arc::new(SqsQueue::new(client.clone(), url.clone())))
        };
        let queues = Queues {
            plans: queue("LANCE_BACKFILL_PLANS_QUEUE")?,
            fresh: queue("LANCE_BACKFILL_FRESH_QUEUE")?,
            bulk: queue("LANCE_BACKFILL_BULK_QUEUE")?,
            commits: queue("LANCE_BACKFILL_COMMITS_QUEUE")?,
            fresh_dead: dead("LANCE_BACKFILL_FRESH_DEAD_QUEUE"),
            bulk_dead: dead("LANCE_BACKFILL_BULK_DEAD_QUEUE"),
            classes: class_queues(&environment, &|url| {
                Arc::new(SqsQueue::new(client.clone(), url))
            })?,
        };
        let number = |name: &str, what: &str| -> Result<Option<u64>> {
            let Some(text) = environment.get(name) else {
                return Ok(None);
            };
            let number = text.parse().ok().filter(|number| *number > 0);
            let wrong = || Error::invalid(format!("{name} is '{text}', not a number of {what}"));
            number.map(Some).ok_or_else(wrong)
        };
        let batches_at_once = number("LANCE_BACKFILL_BATCHES_AT_ONCE", "batches")?
            .map_or(Ok(BATCHES_AT_ONCE), u32::try_from)
            .map_err(|_| Error::invalid("LANCE_BACKFILL_BATCHES_AT_ONCE is too large"))?;
        // For tables whose rows take unlike times, and to see many batches where there are few rows.
        let most_rows_per_batch = number("LANCE_BACKFILL_BATCH_ROWS", "rows")?;
        let first_probe = number("LANCE_BACKFILL_FIRST_PROBE_S", "seconds")?;
        let secrets = match environment.get("LANCE_BACKFILL_SECRETS") {
            None => ManagedSecrets::new(BTreeMap::new()),
            Some(json) => ManagedSecrets::from_json(json)
                .map_err(|error| Error::invalid("LANCE_BACKFILL_SECRETS").with_source(error))?,
        };
        // Lambda says how much memory a function has, in megabytes of two to the twentieth.
        let memory_mib = environment.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE");
        let memory_mib = memory_mib.and_then(|mib| mib.parse().ok());
        let has_python = environment.contains_key("LANCE_BACKFILL_PYTHON");
        let shares = Shares::of(memory_mib, has_python);
        let cache = PathBuf::from(CACHE);
        let open = OpenOptions::default();
        let store: Arc<dyn StateStore> = Arc::new(ObjectStateStore::open(&prefix, &open).await?);
        let python = Python {
            interpreter: environment.get("LANCE_BACKFILL_PYTHON").map(PathBuf::from),
            environment,
            cache: cache.join("python"),
        };
        let engine = EngineOptions {
            open,
            workers: shares.slices,
            most_rows_per_batch,
            python: Arc::new(
                PythonFunctions::new(python, shares.hosts)
                    .with_secrets(Arc::new(secrets))
                    .with_memory(shares.host_bytes),
            ),
            cache,
            artifacts: ArtifactSource::Service(Arc::new(ServiceFunctions::new(store.clone()))),
        };
        let options = ServiceOptions {
            engine,
            batches_at_once,
            class: None,
            outages: match first_probe {
                None => Outages::default(),
                Some(seconds) => Outages {
                    first_probe_after: Duration::from_secs(seconds),
                    ..Outages::default()
                },
            },
        };
        Ok(Self::new(Service::new(options, queues, store), metrics))
    }
}

/// Where the planner sends the batches of workers in pods, by class; as the service's own `classes` say.
fn class_queues(
    environment: &BTreeMap<String, String>,
    queue: &dyn Fn(&str) -> Arc<dyn Queue>,
) -> Result<BTreeMap<String, ClassQueues>> {
    const NAME: &str = "LANCE_BACKFILL_CLASS_QUEUES";
    let Some(json) = environment.get(NAME).filter(|json| !json.is_empty()) else {
        return Ok(BTreeMap::new());
    };
    let classes: BTreeMap<String, deployment::ClassQueues> =
        serde_json::from_str(json).map_err(|error| {
            let what = format!("{NAME} is not what 'classes' of service.json is");
            Error::invalid(what).with_source(error)
        })?;
    let classes = classes.into_iter();
    Ok(classes
        .map(|(class, urls)| (class, ClassQueues::of(&urls, queue)))
        .collect())
}

/// The environment; what is not text is of no use to anybody here.
pub fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
