//! A pool file as it is written: everything is optional here, so that all that is missing is told at once.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The whole file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) name: Option<String>,
    pub(super) namespace: Option<String>,
    pub(super) service: Option<String>,
    pub(super) ray_version: Option<Scalar>,
    pub(super) image: Option<String>,
    pub(super) service_account: Option<String>,
    pub(super) auth: Option<String>,
    pub(super) lifetime: Option<String>,
    pub(super) waiting_for_node: Option<Scalar>,
    pub(super) head_group: Option<HeadGroup>,
    #[serde(default)]
    pub(super) worker_groups: Vec<WorkerGroup>,
    pub(super) existing: Option<ExistingCluster>,
}

/// A number or a word: people write `cpus: 4` and `cpus: 500m`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub(super) enum Scalar {
    Whole(i64),
    Part(f64),
    Text(String),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExistingCluster {
    pub(super) address: Option<String>,
    pub(super) token_file: Option<PathBuf>,
}

/// The fields of head and workers are written twice, since a flattened struct cannot refuse what it does
/// not know.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HeadGroup {
    pub(super) cpus: Option<Scalar>,
    pub(super) memory: Option<Scalar>,
    pub(super) image: Option<String>,
    pub(super) service_account: Option<String>,
    #[serde(default)]
    pub(super) node_selector: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) tolerations: Vec<Toleration>,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) annotations: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) env: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) secrets_env: BTreeMap<String, SecretKey>,
    pub(super) priority_class: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WorkerGroup {
    pub(super) name: Option<String>,
    pub(super) class: Option<String>,
    pub(super) gpus: Option<Scalar>,
    pub(super) workers_per_gpu: Option<Scalar>,
    pub(super) at_once: Option<Scalar>,
    pub(super) min: Option<Scalar>,
    pub(super) max: Option<Scalar>,
    pub(super) batch_s: Option<Scalar>,
    pub(super) drain_target_s: Option<Scalar>,
    pub(super) cool_down_s: Option<Scalar>,
    pub(super) grace_s: Option<Scalar>,
    pub(super) cpus: Option<Scalar>,
    pub(super) memory: Option<Scalar>,
    pub(super) image: Option<String>,
    pub(super) service_account: Option<String>,
    #[serde(default)]
    pub(super) node_selector: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) tolerations: Vec<Toleration>,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) annotations: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) env: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) secrets_env: BTreeMap<String, SecretKey>,
    pub(super) priority_class: Option<String>,
}

/// A taint of nodes that pods bear.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Toleration {
    /// Key of the taint; every taint without.
    pub key: Option<String>,
    /// `Exists` or `Equal`.
    pub operator: Option<String>,
    /// Value of the taint.
    pub value: Option<String>,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`; each of them without.
    pub effect: Option<String>,
    /// How long a pod stays on a node that gets a taint of `NoExecute`.
    #[serde(alias = "tolerationSeconds")]
    pub toleration_seconds: Option<i64>,
}

/// Where the value of a variable is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretKey {
    /// Name of the Secret, in the pool's namespace.
    pub secret: String,
    /// Key in it.
    pub key: String,
}

impl WorkerGroup {
    /// What it says of its pods, in the words of the head's.
    pub(super) fn pods(&self) -> HeadGroup {
        let group = self.clone();
        HeadGroup {
            cpus: group.cpus,
            memory: group.memory,
            image: group.image,
            service_account: group.service_account,
            node_selector: group.node_selector,
            tolerations: group.tolerations,
            labels: group.labels,
            annotations: group.annotations,
            env: group.env,
            secrets_env: group.secrets_env,
            priority_class: group.priority_class,
        }
    }
}

impl std::fmt::Display for Scalar {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole(number) => write!(formatter, "{number}"),
            Self::Part(number) => write!(formatter, "{number}"),
            Self::Text(text) => formatter.write_str(text),
        }
    }
}
