//! What of a cluster works, and for what does not: why, in words that say what to do.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use serde::Serialize;

use crate::cluster::{GROUP, Live};
use crate::pool::{Kubernetes, Pool};
use crate::ray_cluster::RayCluster;

mod pods;

/// An operator that is there has said something by then.
const OPERATOR_SAYS_MS: u64 = 60_000;
/// Label of the head's pod.
const NODE_TYPE: &str = "ray.io/node-type";

/// What works.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// Whether there is a cluster.
    pub exists: bool,
    /// Whether its head works.
    pub head: bool,
    /// Its groups, as in the pool file.
    pub groups: Vec<GroupReadiness>,
    /// Why something does not.
    pub causes: Vec<Cause>,
}

/// Pods of a group; the API server's word, since the cluster's own counts are of all groups together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct GroupReadiness {
    /// Its name.
    pub group: String,
    /// Pods that are asked for.
    pub replicas: u32,
    /// Pods that take part.
    pub ready: u32,
    /// Pods that do not yet.
    pub pending: u32,
    /// Pods that finish and end.
    pub leaving: u32,
}

/// Why something does not work.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Cause {
    /// What: the cluster, the head, a group, the supervisor, the service.
    pub about: String,
    /// One word for programs and events.
    pub reason: &'static str,
    /// For a person.
    pub text: String,
    /// Whether waiting does not help.
    pub is_error: bool,
}

impl Cause {
    /// Something that waiting does not help.
    pub fn error(about: impl Into<String>, reason: &'static str, text: impl Into<String>) -> Self {
        Self {
            about: about.into(),
            reason,
            text: text.into(),
            is_error: true,
        }
    }

    /// Something that may pass by itself.
    pub fn waiting(
        about: impl Into<String>,
        reason: &'static str,
        text: impl Into<String>,
    ) -> Self {
        Self {
            is_error: false,
            ..Self::error(about, reason, text)
        }
    }
}

/// What works of a cluster. `most_gpus` are those of its largest node, if that is known.
pub fn readiness(
    pool: &Pool,
    place: &Kubernetes,
    live: &Live,
    pods: &[Pod],
    most_gpus: Option<u32>,
    now_ms: u64,
) -> Readiness {
    let cluster = match live {
        Live::Here(cluster) => cluster,
        Live::Absent => return Readiness::default(),
        Live::NoOperator => {
            let cause = Cause::error(
                "cluster",
                "NoOperator",
                "the API server knows no RayCluster: install KubeRay's operator",
            );
            return Readiness {
                causes: vec![cause],
                ..Readiness::default()
            };
        }
    };
    let mut causes = of_cluster(cluster, place, now_ms);
    let is_suspended = causes.iter().any(|cause| cause.reason == "Suspended");
    let is_head = |pod: &&Pod| {
        pod.labels()
            .get(NODE_TYPE)
            .is_some_and(|kind| kind == "head")
    };
    let patience = place.waiting_for_node;
    let head: Vec<&Pod> = pods.iter().filter(is_head).collect();
    causes.extend(pods::causes("head", &head, patience, None, now_ms));
    let mut groups = vec![];
    for group in &pool.groups {
        let own: Vec<&Pod> = (pods.iter())
            .filter(|pod| !is_head(pod))
            .filter(|pod| pod.labels().get(GROUP) == Some(&group.name))
            .collect();
        let replicas = cluster
            .group(&group.name)
            .map_or(0, |(_, group)| group.wanted());
        let about = format!("group {}", group.name);
        let too_large = most_gpus
            .filter(|most| group.gpus > *most)
            .map(|most| (group.gpus, most));
        causes.extend(pods::causes(&about, &own, patience, too_large, now_ms));
        let count = |wanted: &dyn Fn(&Pod) -> bool| {
            u32::try_from(own.iter().filter(|pod| wanted(pod)).count()).unwrap_or(u32::MAX)
        };
        groups.push(GroupReadiness {
            group: group.name.clone(),
            replicas,
            ready: count(&|pod| is_ready(pod) && !is_leaving(pod)),
            pending: count(&|pod| !is_ready(pod) && !is_leaving(pod)),
            leaving: count(&is_leaving),
        });
    }
    Readiness {
        exists: true,
        // The condition is live, other than that of the whole cluster, which stays once it was true.
        head: cluster.holds("HeadPodReady").is_some() && !is_suspended,
        groups,
        causes,
    }
}

/// What the cluster says of itself.
fn of_cluster(cluster: &RayCluster, place: &Kubernetes, now_ms: u64) -> Vec<Cause> {
    let mut causes = vec![];
    let mut add = |cause: Cause| causes.push(cause);
    let status = cluster.status.clone().unwrap_or_default();
    let age_ms = age_ms(cluster.metadata.creation_timestamp.as_ref(), now_ms);
    let has_seen = status.observed_generation.is_some()
        || status.state.is_some()
        || !status.conditions.is_empty();
    if cluster.metadata.deletion_timestamp.is_some() {
        add(Cause::waiting("cluster", "Deleting", "it is being deleted"));
    } else if !has_seen && age_ms >= OPERATOR_SAYS_MS {
        add(Cause::error(
            "cluster",
            "NoOperator",
            format!(
                "nobody took it up for {}: KubeRay's operator does not run, or does not watch namespace '{}'",
                age(age_ms),
                place.namespace
            ),
        ));
    } else if status.observed_generation < cluster.metadata.generation {
        add(Cause::waiting(
            "cluster",
            "NotSeen",
            "KubeRay has not seen the last change yet",
        ));
    }
    let suspended = cluster
        .holds("RayClusterSuspended")
        .or_else(|| cluster.holds("RayClusterSuspending"));
    if suspended.is_some() || cluster.spec.suspend == Some(true) {
        add(Cause::error(
            "cluster",
            "Suspended",
            "it is suspended, so it has no pods: Kueue or somebody set spec.suspend; work waits until it is taken away",
        ));
    }
    if let Some(failure) = cluster.holds("ReplicaFailure") {
        add(Cause::error(
            "cluster",
            "ReplicaFailure",
            format!(
                "KubeRay cannot make its pods: {} {}",
                failure.reason, failure.message
            ),
        ));
    }
    if status.state.as_deref() == Some("failed") {
        let why = status.reason.unwrap_or_else(|| "see its events".to_owned());
        add(Cause::error(
            "cluster",
            "Refused",
            format!("KubeRay refuses it: {why}"),
        ));
    }
    causes
}

/// Whether a pod takes part.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Whether a pod is ending.
pub(crate) const fn is_leaving(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

fn age_ms(since: Option<&Time>, now_ms: u64) -> u64 {
    let since = since.and_then(|time| u64::try_from(time.0.as_millisecond()).ok());
    since.map_or(0, |since| now_ms.saturating_sub(since))
}

/// A length of time for a person.
fn age(ms: u64) -> String {
    match ms / 1_000 {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
    }
}
