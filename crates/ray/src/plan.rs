//! What to apply: the pool's manifest, laid over what runs.
//!
//! The groups are a list without keys, which the API server replaces as a whole. So what is applied carries
//! the live number of pods and the names of those that leave, and groups that are gone from the file until
//! their pods are gone too.

use std::collections::BTreeSet;

use kube::ResourceExt;
use lance_backfill_ports::{Error, Result};
use serde::Serialize;
use serde_json::Value;

use crate::manifest::{APPLIED, DRAINED, manifest};
use crate::pool::{Kubernetes, Pool};
use crate::ray_cluster::{RayCluster, ScaleStrategy, WorkerGroupSpec};

mod diff;

use diff::agrees;
pub use diff::diff;

/// What there is to do.
#[derive(Debug, Clone)]
#[must_use]
pub enum Plan {
    /// Nothing: what runs is what is asked for.
    Settled,
    /// Apply this.
    Apply(Box<RayCluster>),
}

/// Groups that are to have no pods.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Drained(BTreeSet<String>);

impl Drained {
    /// Those that a cluster says.
    pub fn of(live: &RayCluster) -> Self {
        let named = live
            .annotations()
            .get(DRAINED)
            .map(String::as_str)
            .unwrap_or_default();
        let names = named.split(',').filter(|name| !name.is_empty());
        Self(names.map(str::to_owned).collect())
    }

    /// Whether a group is one of them.
    pub fn has(&self, group: &str) -> bool {
        self.0.contains(group)
    }

    /// The same with another one.
    pub fn insert(&mut self, group: &str) {
        self.0.insert(group.to_owned());
    }

    /// Their names as the cluster keeps them.
    pub fn text(&self) -> String {
        let names: Vec<&str> = self.0.iter().map(String::as_str).collect();
        names.join(",")
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What to apply so that the cluster is as the pool file says, given what runs and the names of its pods.
///
/// It keeps the live number of pods, within the group's bounds.
pub fn plan(
    pool: &Pool,
    place: &Kubernetes,
    live: Option<&RayCluster>,
    pods: &BTreeSet<String>,
    has_pods: &BTreeSet<String>,
) -> Result<Plan> {
    let mut wanted = manifest(pool, place);
    let Some(live) = live else {
        return Ok(Plan::Apply(Box::new(wanted)));
    };
    let (running, asked) = (&live.spec.ray_version, &wanted.spec.ray_version);
    if running.is_some() && running != asked {
        return Err(Error::invalid(format!(
            "the cluster '{}' runs Ray {}, and the pool file says {}: workers of another version cannot join its head. 'pool delete' and 'pool apply' make a new one, or give the pool another name to have both",
            pool.name,
            running.as_deref().unwrap_or_default(),
            pool.ray_version
        )));
    }
    let drained = Drained::of(live);
    for group in &mut wanted.spec.worker_group_specs {
        let now = live.group(&group.group_name).map(|(_, group)| group);
        keep_scale(group, now, pods, drained.has(&group.group_name));
    }
    let removed = (live.spec.worker_group_specs.iter())
        .filter(|group| {
            pool.groups
                .iter()
                .all(|other| other.name != group.group_name)
        })
        .filter(|group| has_pods.contains(&group.group_name))
        .map(|group| WorkerGroupSpec {
            replicas: Some(0),
            min_replicas: Some(0),
            ..group.clone()
        });
    wanted.spec.worker_group_specs.extend(removed);
    if is_applied(&wanted, live) {
        return Ok(Plan::Settled);
    }
    Ok(Plan::Apply(Box::new(wanted)))
}

/// Live numbers of pods survive; names of pods that are gone do not.
fn keep_scale(
    group: &mut WorkerGroupSpec,
    live: Option<&WorkerGroupSpec>,
    pods: &BTreeSet<String>,
    is_drained: bool,
) {
    if is_drained {
        group.min_replicas = Some(0);
        group.replicas = Some(0);
    }
    let Some(live) = live else {
        return;
    };
    if !is_drained {
        let least = group.min_replicas.unwrap_or_default();
        let most = group.max_replicas.unwrap_or(i32::MAX).max(least);
        group.replicas = Some(live.replicas.unwrap_or_default().clamp(least, most));
    }
    let leaving: Vec<String> = live
        .leaving()
        .iter()
        .filter(|name| pods.contains(*name))
        .cloned()
        .collect();
    if live.scale_strategy.is_some() {
        group.scale_strategy = Some(ScaleStrategy {
            workers_to_delete: leaving,
        });
    }
}

/// Whether a cluster is as it is wanted: it says so, and all fields that are wanted are there. The API
/// server adds defaults, so there may be more.
fn is_applied(wanted: &RayCluster, live: &RayCluster) -> bool {
    let says = |cluster: &RayCluster| cluster.annotations().get(APPLIED).cloned();
    let value = |cluster: &RayCluster| {
        let spec = serde_json::to_value(&cluster.spec).unwrap_or(Value::Null);
        let labels = serde_json::to_value(cluster.labels()).unwrap_or(Value::Null);
        serde_json::json!({"spec": spec, "labels": labels})
    };
    says(wanted) == says(live) && agrees(&value(wanted), &value(live))
}
