//! The RayCluster of a pool. A pure function of the pool file: what runs is laid over it by [`crate::plan`].
//!
//! Namespace, rights, network policy and the like are in `k8s/` of the repository; KubeRay makes services
//! and the token's Secret.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PodTemplateSpec;
use kube::api::ObjectMeta;

use crate::pool::{Group, Kubernetes, Pool};
use crate::ray_cluster::{
    AuthOptions, HeadGroupSpec, RayCluster, RayClusterSpec, UpgradeStrategy, WorkerGroupSpec,
};
use crate::revision::{digest, revision_of};

mod pods;

/// Label of everything that belongs to a pool.
pub const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "lance-backfill");
/// Label of pods: which template they were made from.
pub const TEMPLATE: &str = "lance-backfill/template";
/// Annotation of the RayCluster: which manifest was applied.
pub const APPLIED: &str = "lance-backfill/applied";
/// Annotation of the RayCluster: which revision its workers are.
pub const REVISION: &str = "lance-backfill/revision";
/// Annotation of the RayCluster: groups that are to have no pods until `pool apply`, joined by commas.
pub const DRAINED: &str = "lance-backfill/drained";

/// The RayCluster of a pool, with as few pods as its groups allow.
pub fn manifest(pool: &Pool, place: &Kubernetes) -> RayCluster {
    let head = HeadGroupSpec {
        // Work on the head would take the whole cluster down with it.
        ray_start_params: pairs([("num-cpus", "0"), ("dashboard-host", "0.0.0.0")]),
        template: labelled(pods::head(&place.head)),
        ..HeadGroupSpec::default()
    };
    let groups = pool.groups.iter().filter_map(worker_group).collect();
    let spec = RayClusterSpec {
        ray_version: Some(pool.ray_version.clone()),
        // One scaler: the pool's controller.
        enable_in_tree_autoscaling: Some(false),
        auth_options: Some(AuthOptions {
            mode: Some(if place.token { "token" } else { "disabled" }.to_owned()),
            ..AuthOptions::default()
        }),
        // `Recreate` would kill all pods at once, whatever they are doing.
        upgrade_strategy: Some(UpgradeStrategy {
            kind: Some("None".to_owned()),
        }),
        head_group_spec: head,
        worker_group_specs: groups,
        ..RayClusterSpec::default()
    };
    let applied = digest(&spec);
    RayCluster {
        metadata: ObjectMeta {
            name: Some(pool.name.clone()),
            namespace: Some(place.namespace.clone()),
            labels: Some(pairs([MANAGED_BY])),
            annotations: Some(pairs([
                (APPLIED, applied.as_str()),
                (REVISION, revision_of(pool).as_str()),
            ])),
            ..ObjectMeta::default()
        },
        spec,
        status: None,
    }
}

fn worker_group(group: &Group) -> Option<WorkerGroupSpec> {
    let pods = group.pods.as_ref()?;
    Some(WorkerGroupSpec {
        group_name: group.name.clone(),
        replicas: Some(whole(group.scale.min)),
        min_replicas: Some(whole(group.scale.min)),
        max_replicas: Some(whole(group.scale.max)),
        // `num-gpus` and `num-cpus` are filled in by KubeRay from the container's limits.
        ray_start_params: BTreeMap::new(),
        template: labelled(pods::worker(group, pods)),
        ..WorkerGroupSpec::default()
    })
}

/// Which template a group's pods are made from.
pub(crate) fn template_of(group: &Group) -> Option<String> {
    let template = pods::worker(group, group.pods.as_ref()?);
    Some(digest(&template))
}

/// The same template, labelled with its digest, so that each pod says what it was made from.
fn labelled(mut template: PodTemplateSpec) -> PodTemplateSpec {
    let digest = digest(&template);
    let metadata = template.metadata.get_or_insert_default();
    let labels = metadata.labels.get_or_insert_default();
    labels.insert(TEMPLATE.to_owned(), digest);
    template
}

pub(crate) fn whole(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}
