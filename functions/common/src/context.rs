//! What a process of the service is made of, read from its environment once.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use lance_backfill_aws::{SqsQueue, client_from_environment};
use lance_backfill_embedded::python::PythonFunctions;
use lance_backfill_embedded::{EngineOptions, Python};
use lance_backfill_lance::{ObjectStateStore, OpenOptions};
use lance_backfill_ports::queue::Queue;
use lance_backfill_ports::{Error, Result};
use lance_backfill_service::{Queues, Service, ServiceOptions};

/// Folder for what a process keeps while it lives: the only one that a function may write.
const CACHE: &str = "/tmp/lance-backfill";
/// Batches at work at once, where the deployment does not say.
const BATCHES_AT_ONCE: u32 = 10;

/// One process of the service, built at its start and used for each invocation.
pub struct Context {
    /// The stages.
    pub service: Service,
}

impl Context {
    /// Reads the environment; an error names the variable that is missing.
    pub async fn from_environment() -> Result<Self> {
        let environment = environment();
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
        let queue = |name: &str| -> Result<Arc<dyn Queue>> {
            let url = needed(name, "the URL of a queue")?;
            Ok(Arc::new(SqsQueue::new(client.clone(), url)))
        };
        let queues = Queues {
            plans: queue("LANCE_BACKFILL_PLANS_QUEUE")?,
            fresh: queue("LANCE_BACKFILL_FRESH_QUEUE")?,
            bulk: queue("LANCE_BACKFILL_BULK_QUEUE")?,
            commits: queue("LANCE_BACKFILL_COMMITS_QUEUE")?,
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
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let cache = PathBuf::from(CACHE);
        let engine = EngineOptions {
            open: OpenOptions::default(),
            workers: cores + 1,
            most_rows_per_batch,
            python: Arc::new(PythonFunctions::new(
                Python {
                    interpreter: None,
                    environment,
                    cache: cache.join("python"),
                },
                cores,
            )),
            cache,
        };
        let store = ObjectStateStore::open(&prefix, &engine.open).await?;
        let options = ServiceOptions {
            engine,
            batches_at_once,
        };
        Ok(Self {
            service: Service::new(options, queues, Arc::new(store)),
        })
    }
}

/// What is not text is of no use to anybody here.
fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
