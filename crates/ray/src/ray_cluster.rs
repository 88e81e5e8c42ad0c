//! The objects of KubeRay, as far as the pool reads and writes them.
//!
//! The whole definition has thousands of fields. What is not named here survives in `rest`, and nothing
//! is ever written back as a whole: only the pool's own fields are applied.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Fields that the pool does not know.
pub type Rest = BTreeMap<String, Value>;

/// What a Ray cluster is to be.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "ray.io",
    version = "v1",
    kind = "RayCluster",
    namespaced,
    status = "RayClusterStatus",
    schema = "disabled"
)]
#[serde(rename_all = "camelCase")]
pub struct RayClusterSpec {
    /// Version of Ray.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ray_version: Option<String>,
    /// Whether Ray's own autoscaler writes `replicas`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enable_in_tree_autoscaling: Option<bool>,
    /// Whether its APIs ask for a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_options: Option<AuthOptions>,
    /// What a change of a template does to pods that run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upgrade_strategy: Option<UpgradeStrategy>,
    /// Whether all of its pods are gone for now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
    /// The head.
    pub head_group_spec: HeadGroupSpec,
    /// Groups of workers; a list without keys, which is applied as a whole.
    #[serde(default)]
    pub worker_group_specs: Vec<WorkerGroupSpec>,
    /// Everything else.
    #[serde(flatten)]
    pub rest: Rest,
}

/// Whether its APIs ask for a token.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthOptions {
    /// `token` or `disabled`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Everything else.
    #[serde(flatten)]
    pub rest: Rest,
}

/// What a change of a template does to pods that run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpgradeStrategy {
    /// `None` leaves them, `Recreate` deletes all of them at once.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}

/// The head.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeadGroupSpec {
    /// Options of `ray start`.
    #[serde(default)]
    pub ray_start_params: BTreeMap<String, String>,
    /// Its pod.
    pub template: PodTemplateSpec,
    /// Everything else.
    #[serde(flatten)]
    pub rest: Rest,
}

/// Workers of one kind.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerGroupSpec {
    /// Its name.
    pub group_name: String,
    /// Pods that are to be there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Fewest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_replicas: Option<i32>,
    /// Most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_replicas: Option<i32>,
    /// Options of `ray start`.
    #[serde(default)]
    pub ray_start_params: BTreeMap<String, String>,
    /// Which pods go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale_strategy: Option<ScaleStrategy>,
    /// Its pods.
    pub template: PodTemplateSpec,
    /// Everything else.
    #[serde(flatten)]
    pub rest: Rest,
}

/// Which pods go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScaleStrategy {
    /// Names of pods; KubeRay deletes them and leaves the names here.
    #[serde(default)]
    pub workers_to_delete: Vec<String>,
}

/// What KubeRay says of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RayClusterStatus {
    /// What holds, by type.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Which edit of the spec it has seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `failed` where it cannot use the spec.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Where the head is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<HeadInfo>,
    /// Everything else.
    #[serde(flatten)]
    pub rest: Rest,
}

/// Where the head is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HeadInfo {
    /// Service of its dashboard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_name: Option<String>,
    /// Its pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_name: Option<String>,
    /// Everything else.
    #[serde(flatten)]
    pub rest: Rest,
}

impl RayCluster {
    /// The condition of this type, if it holds.
    pub fn holds(&self, kind: &str) -> Option<&Condition> {
        let conditions = self
            .status
            .as_ref()
            .map(|status| status.conditions.as_slice());
        let mut conditions = conditions.unwrap_or_default().iter();
        conditions.find(|condition| condition.type_ == kind && condition.status == "True")
    }

    /// The group of this name, with its place.
    pub fn group(&self, name: &str) -> Option<(usize, &WorkerGroupSpec)> {
        let groups = self.spec.worker_group_specs.iter();
        groups
            .enumerate()
            .find(|(_, group)| group.group_name == name)
    }
}

impl WorkerGroupSpec {
    /// Pods that are to be there; KubeRay takes none for one that says nothing.
    pub fn wanted(&self) -> u32 {
        u32::try_from(self.replicas.unwrap_or_default()).unwrap_or_default()
    }

    /// Names of pods that go.
    pub fn leaving(&self) -> &[String] {
        self.scale_strategy
            .as_ref()
            .map_or(&[], |strategy| strategy.workers_to_delete.as_slice())
    }
}
