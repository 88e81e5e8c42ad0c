//! A pool as it is now: what `pool status` tells and what the controller decides on.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use lance_backfill_core::worker_status::WorkerStatus;

use crate::cluster::GROUP;
use crate::manifest::{TEMPLATE, manifest};
use crate::plan::Drained;
use crate::pool::{Group, Kubernetes, Pool};
use crate::ray_cluster::{RayCluster, WorkerGroupSpec};
use crate::readiness::{is_leaving, is_ready};
use crate::scale::{GroupSeen, PodSeen};

/// A group, as far as it is scaled. `live` is the group at the moment of a decision, which may be later
/// than that of the pods.
pub fn group_seen(
    template: Option<&str>,
    cluster: &RayCluster,
    live: &WorkerGroupSpec,
    pods: &[Pod],
    workers: &[WorkerStatus],
    class: &str,
) -> GroupSeen {
    let all: BTreeSet<String> = pods.iter().map(ResourceExt::name_any).collect();
    let own = pods
        .iter()
        .filter(|pod| pod.labels().get(GROUP) == Some(&live.group_name));
    let pods: Vec<PodSeen> = own
        .map(|pod| {
            let name = pod.name_any();
            let inside = workers
                .iter()
                .filter(|worker| worker.pod.as_ref() == Some(&name));
            let (busy, batches_done) = inside.fold((0, 0), |(busy, done), worker| {
                (busy + worker.busy.len(), done + worker.batches_done)
            });
            PodSeen {
                ready: is_ready(pod),
                leaving: is_leaving(pod),
                // One of an unknown template is left alone.
                is_current: match (pod.labels().get(TEMPLATE), template) {
                    (Some(made_from), Some(template)) => made_from == template,
                    _ => true,
                },
                busy,
                batches_done,
                name,
            }
        })
        .collect();
    let is_elsewhere = |worker: &&WorkerStatus| {
        worker.class == class
            && !worker.busy.is_empty()
            && worker.pod.as_ref().is_none_or(|pod| !all.contains(pod))
    };
    GroupSeen {
        replicas: live.wanted(),
        leaving: live.leaving().to_vec(),
        pods,
        busy_elsewhere: workers.iter().filter(is_elsewhere).count(),
        drained: Drained::of(cluster).has(&live.group_name),
    }
}

/// The template that pods of a group are made from now.
pub fn template(pool: &Pool, place: &Kubernetes, group: &Group) -> Option<String> {
    let manifest = manifest(pool, place);
    let (_, group) = manifest.group(&group.name)?;
    group
        .template
        .metadata
        .as_ref()?
        .labels
        .as_ref()?
        .get(TEMPLATE)
        .cloned()
}
