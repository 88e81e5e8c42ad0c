//! Templates of pods.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, EmptyDirVolumeSource, EnvVar, EnvVarSource, ExecAction,
    Lifecycle, LifecycleHandler, ObjectFieldSelector, PodSpec, PodTemplateSpec,
    ResourceRequirements, SeccompProfile, SecretKeySelector, SecurityContext, Toleration, Volume,
    VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::api::ObjectMeta;

use super::{MANAGED_BY, pairs};
use crate::pool::{Group, Pods};

/// Where whoever deletes a pod talks with its workers.
const DRAIN: &str = "/run/drain";
/// What the hook may take beside the workers' grace, before Kubernetes kills what is left.
const BESIDE_GRACE_S: i64 = 30;

/// Asks the workers of a pod to finish, and waits until each of them has: those that began leave a file
/// each. `Kubernetes` ends the wait after the grace period.
const DRAIN_SCRIPT: &str = r#"touch /run/drain/request
for worker in /run/drain/worker-*; do
  [ -e "$worker" ] || break
  until [ -e "/run/drain/done-${worker##*/worker-}" ]; do sleep 0.5; done
done
"#;

pub(super) fn head(pods: &Pods) -> PodTemplateSpec {
    let port = |name: &str, number: i32| ContainerPort {
        name: Some(name.to_owned()),
        container_port: number,
        ..ContainerPort::default()
    };
    let container = Container {
        name: "ray-head".to_owned(),
        ports: Some(vec![
            port("gcs", 6379),
            port("dashboard", 8265),
            port("metrics", 8080),
        ]),
        resources: Some(resources(pods, 0)),
        ..container(pods)
    };
    template(pods, container, PodSpec::default())
}

pub(super) fn worker(group: &Group, pods: &Pods) -> PodTemplateSpec {
    let mut env = container(pods).env.unwrap_or_default();
    // Workers say where they are, so that the pods of busy ones stay.
    env.push(from_field("LANCE_BACKFILL_POD", "metadata.name"));
    env.push(from_field("LANCE_BACKFILL_NODE", "spec.nodeName"));
    env.push(variable("LANCE_BACKFILL_DRAIN", DRAIN));
    let container = Container {
        name: "ray-worker".to_owned(),
        env: Some(env),
        resources: Some(resources(pods, group.gpus)),
        lifecycle: Some(Lifecycle {
            pre_stop: Some(LifecycleHandler {
                exec: Some(ExecAction {
                    command: Some(["/bin/sh", "-c", DRAIN_SCRIPT].map(str::to_owned).to_vec()),
                }),
                ..LifecycleHandler::default()
            }),
            ..Lifecycle::default()
        }),
        volume_mounts: Some(vec![VolumeMount {
            name: "drain".to_owned(),
            mount_path: DRAIN.to_owned(),
            ..VolumeMount::default()
        }]),
        ..container(pods)
    };
    let grace = i64::try_from(group.grace.as_secs()).unwrap_or(i64::MAX);
    let spec = PodSpec {
        termination_grace_period_seconds: Some(grace.saturating_add(BESIDE_GRACE_S)),
        volumes: Some(vec![Volume {
            name: "drain".to_owned(),
            empty_dir: Some(EmptyDirVolumeSource::default()),
            ..Volume::default()
        }]),
        ..PodSpec::default()
    };
    template(pods, container, spec)
}

fn template(pods: &Pods, container: Container, spec: PodSpec) -> PodTemplateSpec {
    let mut labels = pods.labels.clone();
    labels.extend(pairs([MANAGED_BY]));
    let some = |pairs: &BTreeMap<String, String>| (!pairs.is_empty()).then(|| pairs.clone());
    let tolerations: Vec<Toleration> = (pods.tolerations.iter().cloned())
        .map(|toleration| Toleration {
            key: toleration.key,
            operator: toleration.operator,
            value: toleration.value,
            effect: toleration.effect,
            toleration_seconds: toleration.toleration_seconds,
        })
        .collect();
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels),
            annotations: some(&pods.annotations),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            containers: vec![container],
            service_account_name: pods.service_account.clone(),
            node_selector: some(&pods.node_selector),
            tolerations: (!tolerations.is_empty()).then_some(tolerations),
            priority_class_name: pods.priority_class.clone(),
            ..spec
        }),
    }
}

/// What head and workers have in common. Functions of users run here, and need no rights.
fn container(pods: &Pods) -> Container {
    let mut env: Vec<EnvVar> = (pods.env.iter())
        .map(|(name, value)| variable(name, value))
        .collect();
    env.extend(pods.secrets_env.iter().map(|(name, from)| EnvVar {
        name: name.clone(),
        value_from: Some(EnvVarSource {
            secret_key_ref: Some(SecretKeySelector {
                name: from.secret.clone(),
                key: from.key.clone(),
                optional: None,
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    }));
    Container {
        image: Some(pods.image.clone()),
        env: (!env.is_empty()).then_some(env),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".to_owned()]),
                ..Capabilities::default()
            }),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                ..SeccompProfile::default()
            }),
            ..SecurityContext::default()
        }),
        ..Container::default()
    }
}

/// What is asked for is what is allowed: Ray counts cores and devices by the limits.
fn resources(pods: &Pods, gpus: u32) -> ResourceRequirements {
    let mut amounts: BTreeMap<String, Quantity> = BTreeMap::new();
    amounts.insert("cpu".to_owned(), Quantity(pods.cpus.clone()));
    amounts.insert("memory".to_owned(), Quantity(pods.memory.clone()));
    if gpus > 0 {
        amounts.insert("nvidia.com/gpu".to_owned(), Quantity(gpus.to_string()));
    }
    ResourceRequirements {
        requests: Some(amounts.clone()),
        limits: Some(amounts),
        ..ResourceRequirements::default()
    }
}

fn variable(name: &str, value: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value: Some(value.to_owned()),
        ..EnvVar::default()
    }
}

fn from_field(name: &str, path: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                field_path: path.to_owned(),
                ..ObjectFieldSelector::default()
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    }
}
