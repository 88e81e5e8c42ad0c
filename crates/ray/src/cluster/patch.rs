//! Patches that hold only for the version that was looked at.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde::Serialize;
use serde_json::{Value, json};

use super::GROUP;
use crate::manifest::{DRAINED, whole};
use crate::plan::Drained;
use crate::ray_cluster::{RayCluster, WorkerGroupSpec};

/// What is to be changed of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Pods to ask for.
    pub replicas: u32,
    /// Names of pods that are to go.
    pub remove: Vec<String>,
}

/// The patch for one group; none where nothing is to be changed.
pub(super) fn scale_patch(
    live: &RayCluster,
    place: usize,
    group: &WorkerGroupSpec,
    change: &Change,
) -> Option<Value> {
    let at = |field: &str| format!("/spec/workerGroupSpecs/{place}/{field}");
    let mut operations = vec![
        version_is(live),
        json!({"op": "test", "path": at("groupName"), "value": group.group_name}),
    ];
    let guards = operations.len();
    if group.replicas != Some(whole(change.replicas)) {
        operations.push(json!({"op": "add", "path": at("replicas"), "value": change.replicas}));
    }
    if group.leaving() != change.remove {
        operations.push(json!({
            "op": "add", "path": at("scaleStrategy"), "value": {"workersToDelete": change.remove},
        }));
    }
    (operations.len() > guards).then_some(Value::Array(operations))
}

/// The patch after which groups have no pods, and say so.
pub(super) fn drain_patch(live: &RayCluster, groups: &[String], pods: &[Pod]) -> Value {
    let mut operations = vec![version_is(live)];
    let mut drained = Drained::of(live);
    for (place, group) in live.spec.worker_group_specs.iter().enumerate() {
        if !groups.contains(&group.group_name) {
            continue;
        }
        drained.insert(&group.group_name);
        let names: Vec<String> = (pods.iter())
            .filter(|pod| pod.labels().get(GROUP) == Some(&group.group_name))
            .map(ResourceExt::name_any)
            .collect();
        let at = |field: &str| format!("/spec/workerGroupSpecs/{place}/{field}");
        operations.extend([
            json!({"op": "test", "path": at("groupName"), "value": group.group_name}),
            json!({"op": "add", "path": at("replicas"), "value": 0}),
            json!({"op": "add", "path": at("minReplicas"), "value": 0}),
            json!({"op": "add", "path": at("scaleStrategy"), "value": {"workersToDelete": names}}),
        ]);
    }
    if live.metadata.annotations.is_none() {
        operations.push(json!({"op": "add", "path": "/metadata/annotations", "value": {}}));
    }
    operations.push(json!({"op": "add", "path": annotation(), "value": drained.text()}));
    Value::Array(operations)
}

/// The patch that ends that; the next apply gives the groups their bounds again.
pub(super) fn undrain_patch(live: &RayCluster) -> Value {
    json!([version_is(live), {"op": "remove", "path": annotation()}])
}

fn version_is(live: &RayCluster) -> Value {
    json!({"op": "test", "path": "/metadata/resourceVersion", "value": live.resource_version()})
}

/// In a path of a patch `/` is `~1`.
fn annotation() -> String {
    format!("/metadata/annotations/{}", DRAINED.replace('/', "~1"))
}
