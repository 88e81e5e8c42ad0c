//! What pods are made of.

use std::collections::BTreeMap;

use super::super::file::{File, HeadGroup, Scalar, Toleration};
use super::super::names::{is_label_value, is_qualified, is_subdomain, is_variable};
use super::{Pods, Problems, quantity};

/// Labels and variables that others set, by how they begin.
const TAKEN_LABELS: [&str; 3] = ["ray.io/", "lance-backfill/", "app.kubernetes.io/managed-by"];
const TAKEN_VARIABLES: [&str; 14] = [
    "FQ_RAY_IP",
    "KUBERAY_GEN_RAY_START_CMD",
    "LANCE_BACKFILL_DRAIN",
    "LANCE_BACKFILL_GPUS",
    "LANCE_BACKFILL_NODE",
    "LANCE_BACKFILL_POD",
    "LANCE_BACKFILL_POOL",
    "RAY_ADDRESS",
    "RAY_AUTH_MODE",
    "RAY_AUTH_TOKEN",
    "RAY_CLOUD_INSTANCE_ID",
    "RAY_CLUSTER_NAME",
    "RAY_NODE_TYPE_NAME",
    "RAY_PORT",
];

/// What groups have that say nothing themselves.
pub(super) struct Defaults {
    image: Option<String>,
    service_account: Option<String>,
}

impl Defaults {
    pub(super) fn of(file: &File) -> Self {
        Self {
            image: file.image.clone(),
            service_account: file.service_account.clone(),
        }
    }
}

pub(super) fn pods(
    path: &str,
    group: &HeadGroup,
    defaults: &Defaults,
    problems: &mut Problems,
) -> Pods {
    let at = |field: &str| format!("{path}.{field}");
    let image = group.image.clone().or_else(|| defaults.image.clone());
    let image = problems.needed(&at("image"), image);
    if image.contains(char::is_whitespace) || image.contains("://") {
        problems.add(at("image"), format!("'{image}' is no name of an image"));
    }
    let service_account = group
        .service_account
        .clone()
        .or_else(|| defaults.service_account.clone());
    if let Some(name) = service_account
        .as_deref()
        .filter(|name| !is_subdomain(name))
    {
        problems.add(
            at("service_account"),
            format!("'{name}' is no name of a ServiceAccount"),
        );
    }
    if let Some(name) = group
        .priority_class
        .as_deref()
        .filter(|name| !is_subdomain(name))
    {
        problems.add(
            at("priority_class"),
            format!("'{name}' is no name of a PriorityClass"),
        );
    }
    check_pairs(&at("node_selector"), &group.node_selector, &[], problems);
    check_pairs(&at("labels"), &group.labels, &TAKEN_LABELS, problems);
    for key in group.annotations.keys().filter(|key| !is_qualified(key)) {
        problems.add(
            at("annotations"),
            format!("'{key}' is no key of an annotation"),
        );
    }
    for (place, toleration) in group.tolerations.iter().enumerate() {
        check_toleration(
            &format!("{path}.tolerations[{place}]"),
            toleration,
            problems,
        );
    }
    for name in group.env.keys().chain(group.secrets_env.keys()) {
        if !is_variable(name) {
            problems.add(at("env"), format!("'{name}' is no name of a variable"));
        } else if TAKEN_VARIABLES.contains(&name.as_str()) {
            problems.add(
                at("env"),
                format!("{name} is set by KubeRay or by the pool itself"),
            );
        }
    }
    for (name, from) in &group.secrets_env {
        if group.env.contains_key(name) {
            problems.add(at("secrets_env"), format!("{name} is in 'env' too"));
        }
        if !is_subdomain(&from.secret) || from.key.is_empty() {
            problems.add(
                at("secrets_env"),
                format!("{name} needs the name of a Secret, and a key in it"),
            );
        }
    }
    Pods {
        image,
        cpus: amount(&at("cpus"), group.cpus.as_ref(), "4", problems),
        memory: amount(&at("memory"), group.memory.as_ref(), "16Gi", problems),
        service_account,
        node_selector: group.node_selector.clone(),
        tolerations: group.tolerations.clone(),
        labels: group.labels.clone(),
        annotations: group.annotations.clone(),
        env: group.env.clone(),
        secrets_env: group.secrets_env.clone(),
        priority_class: group.priority_class.clone(),
    }
}

fn amount(path: &str, value: Option<&Scalar>, example: &str, problems: &mut Problems) -> String {
    let Some(value) = value.map(ToString::to_string) else {
        problems.add(path, format!("is missing, such as {example}"));
        return String::new();
    };
    if quantity(&value).is_none_or(|amount| amount <= 0.0) {
        problems.add(path, format!("'{value}' is no amount, such as {example}"));
    }
    value
}

fn check_pairs(
    path: &str,
    pairs: &BTreeMap<String, String>,
    taken: &[&str],
    problems: &mut Problems,
) {
    for (key, value) in pairs {
        if !is_qualified(key) {
            problems.add(path, format!("'{key}' is no key of a label"));
        } else if taken.iter().any(|taken| key.starts_with(taken)) {
            problems.add(
                path,
                format!("'{key}' is set by KubeRay or by the pool itself"),
            );
        }
        if !is_label_value(value) {
            problems.add(path, format!("'{value}' is no value of a label"));
        }
    }
}

fn check_toleration(path: &str, toleration: &Toleration, problems: &mut Problems) {
    let Toleration {
        key,
        operator,
        value,
        effect,
        toleration_seconds,
    } = toleration;
    let at = |field: &str| format!("{path}.{field}");
    if let Some(key) = key.as_deref().filter(|key| !is_qualified(key)) {
        problems.add(at("key"), format!("'{key}' is no key of a taint"));
    }
    match operator.as_deref() {
        Some("Exists") if value.is_some() => {
            problems.add(at("value"), "says nothing beside 'operator: Exists'")
        }
        Some("Exists") => {}
        None | Some("Equal") if key.is_none() => problems.add(
            at("key"),
            "is missing: without a key only 'operator: Exists' is possible",
        ),
        None | Some("Equal") => {}
        Some(other) => problems.add(
            at("operator"),
            format!("'{other}' is neither Exists nor Equal"),
        ),
    }
    match effect.as_deref() {
        None | Some("NoSchedule" | "PreferNoSchedule" | "NoExecute") => {}
        Some(other) => problems.add(
            at("effect"),
            format!("'{other}' is none of NoSchedule, PreferNoSchedule and NoExecute"),
        ),
    }
    if toleration_seconds.is_some() && effect.as_deref() != Some("NoExecute") {
        problems.add(at("toleration_seconds"), "needs 'effect: NoExecute'");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_a_variable_itself() {
        assert!(TAKEN_VARIABLES.iter().all(|name| is_variable(name)));
        assert!(TAKEN_VARIABLES.is_sorted());
    }
}
