//! What a deployed service is, as it says itself under its prefix: where its queues are, and what it
//! can run. And that its spending is stopped.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::batch::Lane;
use crate::definition::{Definition, Function, Pool};
use crate::format::Stored;
use crate::route::{NoRoute, Route, Wish, route};

/// Where a service's [`Deployment`] is, under its prefix.
pub const DEPLOYMENT_PATH: &str = "service.json";
/// Where a service's [`SpendingStop`] is, under its prefix.
pub const STOP_PATH: &str = "paused.json";

/// A service, as whoever deploys it writes it down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deployment {
    /// Format of this JSON.
    pub version: u32,
    /// Name of the service.
    pub name: String,
    /// Queues between its stages.
    pub queues: QueueUrls,
    /// Where messages go that were received too often in vain.
    pub dead_letters: QueueUrls,
    /// Whether a worker with Python is deployed.
    pub python: bool,
    /// Secrets that its workers can read, by name.
    pub secrets: BTreeSet<String>,
    /// Workers in pods, by class: kinds of GPU, and the CPUs of a Ray cluster.
    pub classes: BTreeMap<String, ClassQueues>,
    /// Batches at work at once, in all workers of the service's own queues.
    pub batches_at_once: u32,
}

impl Stored for Deployment {
    const WHAT: &'static str = "the deployment of a service";
    const VERSION: u32 = 1;
}

/// One queue of each kind, by URL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueueUrls {
    /// Tables to look at.
    pub plans: String,
    /// Batches of new rows.
    pub fresh: String,
    /// Batches of backfills.
    pub bulk: String,
    /// Columns to publish.
    pub commits: String,
}

/// What belongs to a class of workers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassQueues {
    /// Queues of its batches.
    pub queues: LaneUrls,
    /// Where those go that were received too often in vain.
    pub dead_letters: LaneUrls,
    /// Batches at work at once, in all its workers: what is handed out at a time is measured by it.
    pub batches_at_once: u32,
}

/// A queue for each lane of batches, by URL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LaneUrls {
    /// Batches of new rows.
    pub fresh: String,
    /// Batches of backfills.
    pub bulk: String,
}

/// Says that a service spends nothing until this is deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpendingStop {
    /// Format of this JSON.
    pub version: u32,
    /// Since when, by the clock of whoever said so, in milliseconds since the epoch.
    pub since_ms: u64,
    /// Why, if they said so.
    pub reason: Option<String>,
}

impl Stored for SpendingStop {
    const WHAT: &'static str = "the pause of a service";
    const VERSION: u32 = 1;
}

/// What a function needs of those who run it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Needs<'a> {
    /// Whether it is a Python function.
    pub python: bool,
    /// Names of its secrets.
    pub secrets: &'a [String],
    /// Workers that compute it.
    pub pool: Pool,
    /// Devices of one call.
    pub gpus: f64,
    /// Kind of GPU, if it matters.
    pub gpu_class: Option<&'a str>,
}

impl<'a> Needs<'a> {
    /// Those of a declared column.
    pub fn of(definition: &'a Definition) -> Self {
        Self {
            python: matches!(definition.function, Function::Python { .. }),
            secrets: definition.secrets.as_slice(),
            pool: definition.pool,
            gpus: definition.resources.gpus,
            gpu_class: definition.resources.gpu_class.as_deref(),
        }
    }

    const fn wish(&self) -> Wish<'a> {
        Wish {
            pool: self.pool,
            gpus: self.gpus,
            gpu_class: self.gpu_class,
        }
    }
}

/// Why a service cannot run a function.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CannotRun {
    /// No worker has Python.
    #[error(
        "no worker of service '{service}' runs Python functions: deploy its Python worker ('worker_image_uri' of the Terraform module), or declare the column with --sql"
    )]
    NoPython {
        /// Name of the service.
        service: String,
    },
    /// A secret is not one of the service's.
    #[error(
        "service '{service}' has no secret '{secret}': add it to 'secrets' of the Terraform module, or leave it out of the function's secrets=[…]"
    )]
    NoSecret {
        /// Name of the service.
        service: String,
        /// Name of the secret.
        secret: String,
    },
    /// No worker does such batches.
    #[error("service '{service}' {why}")]
    NoRoute {
        /// Name of the service.
        service: String,
        /// What it lacks.
        why: NoRoute,
    },
}

impl Deployment {
    /// Refuses what the service could never compute.
    pub fn check(&self, needs: &Needs<'_>) -> Result<(), CannotRun> {
        let service = || self.name.clone();
        let classes = self.classes.keys().map(String::as_str);
        let route = route(&needs.wish(), classes).map_err(|why| CannotRun::NoRoute {
            service: service(),
            why,
        })?;
        // Each pod has Python.
        if needs.python && !self.python && route == Route::Workers {
            return Err(CannotRun::NoPython { service: service() });
        }
        let mut secrets = needs.secrets.iter();
        match secrets.find(|secret| !self.secrets.contains(*secret)) {
            Some(secret) => Err(CannotRun::NoSecret {
                service: service(),
                secret: secret.clone(),
            }),
            None => Ok(()),
        }
    }
}

impl LaneUrls {
    /// Each with the name of its lane.
    pub fn named(&self) -> [(Lane, &str); 2] {
        let Self { fresh, bulk } = self;
        [(Lane::Fresh, fresh), (Lane::Bulk, bulk)]
    }
}

impl QueueUrls {
    /// Each with the name that people call it by.
    pub fn named(&self) -> [(&'static str, &str); 4] {
        let Self {
            plans,
            fresh,
            bulk,
            commits,
        } = self;
        [
            ("plans", plans),
            ("fresh", fresh),
            ("bulk", bulk),
            ("commits", commits),
        ]
    }
}

#[cfg(test)]
mod tests;
