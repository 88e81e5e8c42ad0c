//! What a deployed service is, as it says itself under its prefix: where its queues are, and what it
//! can run. And that its spending is stopped.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::definition::{Definition, Function, Pool};
use crate::format::Stored;

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
    /// Kinds of GPU workers.
    pub gpu_classes: BTreeSet<String>,
    /// Batches at work at once, in all workers.
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
}

impl<'a> Needs<'a> {
    /// Those of a declared column.
    pub const fn of(definition: &'a Definition) -> Self {
        Self {
            python: matches!(definition.function, Function::Python { .. }),
            secrets: definition.secrets.as_slice(),
            pool: definition.pool,
            gpus: definition.resources.gpus,
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
    /// No worker has a GPU.
    #[error(
        "service '{service}' has no GPU workers: leave num_gpus out to run the function on CPUs"
    )]
    NoGpu {
        /// Name of the service.
        service: String,
    },
    /// No worker belongs to a Ray cluster.
    #[error("service '{service}' has no workers on Ray: only the pool 'cpu' is deployed")]
    NoRay {
        /// Name of the service.
        service: String,
    },
}

impl Deployment {
    /// Refuses what the service could never compute.
    pub fn check(&self, needs: &Needs<'_>) -> Result<(), CannotRun> {
        let service = || self.name.clone();
        if needs.python && !self.python {
            return Err(CannotRun::NoPython { service: service() });
        }
        let wants_gpu = needs.pool == Pool::Gpu || needs.gpus > 0.0;
        if wants_gpu && self.gpu_classes.is_empty() {
            return Err(CannotRun::NoGpu { service: service() });
        }
        if needs.pool == Pool::RayCpu && self.gpu_classes.is_empty() {
            return Err(CannotRun::NoRay { service: service() });
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
