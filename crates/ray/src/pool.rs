//! A pool: workers of one service on one Ray cluster, as its file describes it.
//!
//! `samples/pool.yaml` has every field. The file is read and checked as a whole, so that whoever wrote it
//! hears of all mistakes at once; a [`Pool`] has passed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use lance_backfill_ports::{Error, Result};
use serde::Serialize;

mod check;
mod file;
mod names;
mod quantity;
#[cfg(test)]
mod tests;

pub use check::Problem;
pub use file::{SecretKey, Toleration};
pub use quantity::quantity;

/// Class of workers without GPUs.
pub const RAY_CPU: &str = "ray-cpu";

/// A pool that can be made.
#[derive(Debug, Clone, PartialEq)]
pub struct Pool {
    /// The RayCluster's name.
    pub name: String,
    /// Prefix of the service whose batches it does.
    pub service: String,
    /// Version of Ray in its images; empty where somebody else has chosen it.
    pub ray_version: String,
    /// Where it is.
    pub place: Place,
    /// Workers of one kind each.
    pub groups: Vec<Group>,
}

/// Where the Ray cluster of a pool is.
#[derive(Debug, Clone, PartialEq)]
pub enum Place {
    /// Made and scaled here, by KubeRay.
    Kubernetes(Box<Kubernetes>),
    /// Somebody else's.
    Existing(Existing),
}

/// A cluster that KubeRay makes.
#[derive(Debug, Clone, PartialEq)]
pub struct Kubernetes {
    /// Where its objects are.
    pub namespace: String,
    /// Whether Ray's APIs ask for a token.
    pub token: bool,
    /// Whether it exists without work.
    pub lifetime: Lifetime,
    /// How long a pod may wait for a node.
    pub waiting_for_node: Duration,
    /// The head, on which nothing is computed.
    pub head: Pods,
}

/// A cluster that was there before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Existing {
    /// URL of its dashboard.
    pub address: String,
    /// File with its token.
    pub token_file: Option<PathBuf>,
}

/// Whether a cluster exists without work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lifetime {
    /// It does.
    Persistent,
    /// It is made when there is work, and deleted when there was none for its groups' cool-down.
    OnDemand,
}

/// Workers of one kind.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// Name in the RayCluster.
    pub name: String,
    /// Whose batches it does.
    pub class: String,
    /// Devices of a pod.
    pub gpus: u32,
    /// Workers that share a device.
    pub workers_per_gpu: u32,
    /// Batches that a worker has at once, those fetched ahead included.
    pub at_once: u32,
    /// Cores that all workers of a pod may use.
    pub cpus: f64,
    /// How it is scaled.
    pub scale: Scale,
    /// How long a pod that is to end may finish what it does.
    pub grace: Duration,
    /// Its pods; none where the cluster is somebody else's.
    pub pods: Option<Pods>,
}

/// How a group is scaled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    /// Fewest pods.
    pub min: u32,
    /// Most pods.
    pub max: u32,
    /// Seconds of a batch on one worker.
    pub batch_s: f64,
    /// The backlog is to be done in these seconds.
    pub drain_target_s: f64,
    /// Fewer pods only after so long.
    pub cool_down: Duration,
}

/// What pods are made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Pods {
    /// Image of their one container.
    pub image: String,
    /// Cores, as Kubernetes writes them.
    pub cpus: String,
    /// Memory, as Kubernetes writes it.
    pub memory: String,
    /// Whose rights they have.
    pub service_account: Option<String>,
    /// Labels of the nodes that they may run on.
    pub node_selector: BTreeMap<String, String>,
    /// Taints of nodes that they bear.
    pub tolerations: Vec<Toleration>,
    /// Their own labels.
    pub labels: BTreeMap<String, String>,
    /// Their own annotations.
    pub annotations: BTreeMap<String, String>,
    /// Environment of the container.
    pub env: BTreeMap<String, String>,
    /// Environment from Secrets.
    pub secrets_env: BTreeMap<String, SecretKey>,
    /// How important they are.
    pub priority_class: Option<String>,
}

impl Pool {
    /// Reads a pool file; `name` is what it is called in errors.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        let file: file::File = serde_saphyr::from_str(text).map_err(|error| {
            // The parser draws the place below its words; a person gets the words with the place.
            let told = error.to_string();
            let line = told.lines().next().unwrap_or_default().to_owned();
            Error::invalid(format!("{name} is no pool file")).with_source(line)
        })?;
        check::checked(file).map_err(|problems| {
            let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
            Error::invalid(format!("{name}: {}", lines.join("; ")))
        })
    }

    /// The group of this name.
    pub fn group(&self, name: &str) -> Result<&Group> {
        let found = self.groups.iter().find(|group| group.name == name);
        found.ok_or_else(|| {
            let names: Vec<_> = self
                .groups
                .iter()
                .map(|group| group.name.as_str())
                .collect();
            Error::invalid(format!(
                "pool '{}' has no group '{name}': it has {}",
                self.name,
                names.join(", ")
            ))
        })
    }
}

impl Group {
    /// Workers in each of its pods: one for each share of a device, or one alone.
    pub const fn workers_per_pod(&self) -> u32 {
        match self.gpus {
            0 => 1,
            gpus => gpus.saturating_mul(self.workers_per_gpu),
        }
    }
}
