//! A deployed service as its operators see it: what it is, its tables, its queues, and stopping it.
//!
//! Operators write definitions and ledger entries to tables under their own rights; the service then
//! only has to be told to look.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use lance_backfill_core::batch::Lane;
use lance_backfill_core::deployment::{
    DEPLOYMENT_PATH, Deployment, Needs, QueueUrls, STOP_PATH, SpendingStop,
};
use lance_backfill_core::format::{Stored, decode, encode};
use lance_backfill_core::message::{PlanMessage, Wake};
use lance_backfill_core::worker_status::WorkerStatus;
use lance_backfill_ports::queue::{Depth, Queue};
use lance_backfill_ports::state_store::{Created, StateStore};
use lance_backfill_ports::{Error, Result};

use crate::presence::workers;
use crate::queues::{ClassQueues, Queues};
use crate::registry::{Admission, Registry};
use crate::{Service, ServiceOptions};

/// A service that runs elsewhere.
pub struct Remote {
    prefix: String,
    deployment: Deployment,
    store: Arc<dyn StateStore>,
    registry: Registry,
    queues: Queues,
    dead_letters: Queues,
}

/// One of the queues between the stages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueueName {
    /// Tables to look at.
    Plans,
    /// Batches of new rows.
    Fresh,
    /// Batches of backfills.
    Bulk,
    /// Columns to publish.
    Commits,
    /// Batches for a class of workers.
    Class(String, Lane),
}

/// What is in a queue, and in its dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Depths {
    /// Which one.
    pub queue: QueueName,
    /// Messages in it.
    pub depth: Depth,
    /// Messages that were received too often in vain.
    pub dead_letters: u64,
}

/// What became of a wish to stop all spending.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum StopOutcome {
    /// It is stopped by this call.
    Stopped,
    /// It was stopped before.
    AlreadyStopped(SpendingStop),
}

impl QueueName {
    /// Those that each service has, in the order of the stages.
    const OWN: [Self; 4] = [Self::Plans, Self::Fresh, Self::Bulk, Self::Commits];
}

/// What people call it.
impl fmt::Display for QueueName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plans => formatter.write_str("plans"),
            Self::Fresh => formatter.write_str("fresh"),
            Self::Bulk => formatter.write_str("bulk"),
            Self::Commits => formatter.write_str("commits"),
            Self::Class(class, lane) => write!(formatter, "{class}-{}", lane.name()),
        }
    }
}

impl Queues {
    /// The queues of these URLs, without any of classes.
    fn of(urls: &QueueUrls, queue: &dyn Fn(&str) -> Arc<dyn Queue>) -> Self {
        Self {
            plans: queue(&urls.plans),
            fresh: queue(&urls.fresh),
            bulk: queue(&urls.bulk),
            commits: queue(&urls.commits),
            fresh_dead: None,
            bulk_dead: None,
            classes: BTreeMap::new(),
        }
    }
}

impl Remote {
    /// What the service under this prefix says of itself.
    pub async fn deployment_of(prefix: &str, store: &dyn StateStore) -> Result<Deployment> {
        let bytes = store.get(DEPLOYMENT_PATH).await?.ok_or_else(|| {
            Error::invalid(format!(
                "there is no service at '{prefix}': it has no {DEPLOYMENT_PATH}. Give the prefix that 'terraform output -raw service' prints, or deploy the service first"
            ))
        })?;
        decode(&bytes).map_err(|error| {
            Error::from(error).with_source(format!("'{prefix}/{DEPLOYMENT_PATH}'"))
        })
    }

    /// The service of this deployment; `queue` makes a queue of a URL.
    pub fn new(
        prefix: &str,
        deployment: Deployment,
        store: Arc<dyn StateStore>,
        queue: &dyn Fn(&str) -> Arc<dyn Queue>,
    ) -> Self {
        let classes = deployment.classes.iter();
        let classes = classes.map(|(class, urls)| (class.clone(), ClassQueues::of(urls, queue)));
        Self {
            prefix: prefix.trim_end_matches('/').to_owned(),
            queues: Queues {
                classes: classes.collect(),
                ..Queues::of(&deployment.queues, queue)
            },
            dead_letters: Queues::of(&deployment.dead_letters, queue),
            registry: Registry::new(store.clone()),
            store,
            deployment,
        }
    }

    /// Where it keeps what is its own.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// What it is.
    pub const fn deployment(&self) -> &Deployment {
        &self.deployment
    }

    /// Its own store.
    pub const fn store(&self) -> &Arc<dyn StateStore> {
        &self.store
    }

    /// Refuses what it could never compute.
    pub fn check(&self, needs: &Needs<'_>) -> Result<()> {
        (self.deployment.check(needs)).map_err(|error| Error::invalid(error.to_string()))
    }

    /// A table's name as the service's own events spell it.
    pub fn table_name(&self, table: &str) -> Result<String> {
        let name = table.trim_end_matches('/');
        let scheme = |uri: &str| uri.split_once("://").map(|(scheme, _)| scheme.to_owned());
        match (scheme(&self.prefix), scheme(name)) {
            (Some(own), other) if other.as_deref() != Some(&own) => Err(Error::invalid(format!(
                "the service at '{}' cannot reach '{table}': it keeps tables on {own}:// up to date",
                self.prefix
            ))),
            _ => Ok(name.to_owned()),
        }
    }

    /// The tables that it keeps up to date.
    pub async fn tables(&self) -> Result<Vec<String>> {
        self.registry.tables().await
    }

    /// What it is told of a table.
    pub async fn admission(&self, table: &str) -> Result<Admission> {
        self.registry.look(table).await
    }

    /// Registers a table, and has it looked at; what it was told of the table before.
    pub async fn take_in(&self, table: &str) -> Result<Admission> {
        let before = self.registry.take_in(table).await?;
        self.wake(table, Wake::Requested).await?;
        Ok(before)
    }

    /// Leaves a table alone from now on; what it was told of the table before.
    pub async fn take_out(&self, table: &str) -> Result<Admission> {
        self.registry.take_out(table).await
    }

    /// Has a table looked at.
    pub async fn wake(&self, table: &str, why: Wake) -> Result<()> {
        let message = PlanMessage::new(table.to_owned(), why);
        self.queues.send_plan(&message).await
    }

    /// Why and since when it spends nothing, if it does not.
    pub async fn stopped(&self) -> Result<Option<SpendingStop>> {
        let Some(bytes) = self.store.get(STOP_PATH).await? else {
            return Ok(None);
        };
        let damaged = |error| {
            let hint = format!("'{}/{STOP_PATH}'; 'service resume' deletes it", self.prefix);
            Error::from(error).with_source(hint)
        };
        decode(&bytes).map(Some).map_err(damaged)
    }

    /// Stops all spending: no batch is handed out or begun, and those at work stop in seconds; what is
    /// finished is published. Create-if-absent.
    pub async fn stop(&self, since_ms: u64, reason: Option<String>) -> Result<StopOutcome> {
        let stop = SpendingStop {
            version: SpendingStop::VERSION,
            since_ms,
            reason,
        };
        let bytes = Bytes::from(encode(&stop)?);
        if self.store.create(STOP_PATH, bytes).await? == Created::New {
            return Ok(StopOutcome::Stopped);
        }
        Ok(match self.stopped().await? {
            Some(before) => StopOutcome::AlreadyStopped(before),
            // It was resumed meanwhile: whoever did so came after us.
            None => StopOutcome::Stopped,
        })
    }

    /// Ends that, and has all tables looked at; how many, or `None` if it was not stopped.
    pub async fn resume(&self) -> Result<Option<usize>> {
        if self.store.get(STOP_PATH).await?.is_none() {
            return Ok(None);
        }
        self.store.delete(STOP_PATH).await?;
        let tables = self.tables().await?;
        let wakes = tables.into_iter();
        let wakes: Vec<_> = wakes
            .map(|table| PlanMessage::new(table, Wake::Resumed))
            .collect();
        if !wakes.is_empty() {
            self.queues.send_plans(&wakes).await.map_err(|error| {
                let told = "spending is resumed, and not all tables were told: those go on when their batches are overdue";
                Error::new(error.kind, told).with_source(error.one_line())
            })?;
        }
        Ok(Some(wakes.len()))
    }

    /// About how many messages there are.
    pub async fn depths(&self) -> Result<Vec<Depths>> {
        let mut depths = vec![];
        for queue in self.queue_names() {
            let (live, dead) = self.pair(&queue)?;
            let (depth, dead) = futures::try_join!(live.depth(), dead.depth())?;
            depths.push(Depths {
                queue,
                depth,
                dead_letters: dead.all(),
            });
        }
        Ok(depths)
    }

    /// All its queues: in the order of the stages, then those of classes.
    pub fn queue_names(&self) -> Vec<QueueName> {
        let lanes = [Lane::Fresh, Lane::Bulk];
        let of_classes = (self.deployment.classes.keys())
            .flat_map(|class| lanes.map(|lane| QueueName::Class(class.clone(), lane)));
        QueueName::OWN.into_iter().chain(of_classes).collect()
    }

    /// The queue that people call so.
    pub fn queue_named(&self, name: &str) -> Result<QueueName> {
        let names = self.queue_names();
        let known = || names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let found = names.iter().find(|queue| queue.to_string() == name);
        found.cloned().ok_or_else(|| {
            Error::invalid(format!(
                "service '{}' has no queue '{name}': it has {}",
                self.deployment.name,
                known().join(", ")
            ))
        })
    }

    /// Its workers in pods, as they last said they are; those that are gone long since may be among them.
    pub async fn workers(&self) -> Result<Vec<WorkerStatus>> {
        workers(self.store.as_ref()).await
    }

    /// A process of this service that does the batches of a class, and their queues, new rows first.
    pub fn worker(
        &self,
        class: &str,
        options: ServiceOptions,
    ) -> Result<(Service, [Arc<dyn Queue>; 2])> {
        let Some(queues) = self.queues.classes.get(class) else {
            let known: Vec<&str> = self.queues.classes.keys().map(String::as_str).collect();
            return Err(Error::invalid(format!(
                "service '{}' has no class '{class}' of workers: it has {}",
                self.deployment.name,
                match known.is_empty() {
                    true => "none ('gpu_classes' and 'ray_cpu' of the Terraform module)".to_owned(),
                    false => known.join(", "),
                }
            )));
        };
        let lanes = [queues.fresh.clone(), queues.bulk.clone()];
        let options = ServiceOptions {
            batches_at_once: queues.batches_at_once,
            class: Some(class.to_owned()),
            ..options
        };
        let service = Service::new(options, self.queues.clone(), self.store.clone());
        Ok((service, lanes))
    }

    /// A queue with its dead letters.
    pub(crate) fn pair(&self, queue: &QueueName) -> Result<(&dyn Queue, &dyn Queue)> {
        let (live, dead) = (&self.queues, &self.dead_letters);
        let (live, dead): (&Arc<dyn Queue>, &Arc<dyn Queue>) = match queue {
            QueueName::Plans => (&live.plans, &dead.plans),
            QueueName::Fresh => (&live.fresh, &dead.fresh),
            QueueName::Bulk => (&live.bulk, &dead.bulk),
            QueueName::Commits => (&live.commits, &dead.commits),
            QueueName::Class(class, lane) => {
                let pair = live.classes.get(class).and_then(|class| class.pair(*lane));
                return pair.ok_or_else(|| Error::invalid(format!("there is no queue '{queue}'")));
            }
        };
        Ok((live.as_ref(), dead.as_ref()))
    }
}

#[cfg(test)]
mod tests;
