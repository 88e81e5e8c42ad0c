//! Why pods do not take part.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt;

use super::{Cause, age, age_ms, is_leaving, is_ready};

/// Names of pods that a cause lists.
const MOST_NAMES: usize = 3;

/// Each cause once, with the pods that it holds up. `too_large` are the devices that a pod asks for, and
/// those of the largest node.
pub(super) fn causes(
    about: &str,
    pods: &[&Pod],
    patience: Duration,
    too_large: Option<(u32, u32)>,
    now_ms: u64,
) -> Vec<Cause> {
    let mut found: BTreeMap<(&'static str, bool), (Cause, u64, Vec<String>)> = BTreeMap::new();
    for pod in pods.iter().filter(|pod| !is_ready(pod) && !is_leaving(pod)) {
        let waited = age_ms(pod.metadata.creation_timestamp.as_ref(), now_ms);
        let Some(cause) = cause(about, pod, waited, patience, too_large) else {
            continue;
        };
        let (known, longest, names) = found
            .entry((cause.reason, cause.is_error))
            .or_insert_with(|| (cause.clone(), waited, vec![]));
        // Who waits longest speaks for all.
        if waited > *longest {
            (*known, *longest) = (cause, waited);
        }
        names.push(pod.name_any());
    }
    let named = |(mut cause, _, mut names): (Cause, u64, Vec<String>)| {
        let all = names.len();
        names.sort();
        names.truncate(MOST_NAMES);
        let more = match all.saturating_sub(MOST_NAMES) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        cause.text = format!("{} ({}{more})", cause.text, names.join(", "));
        cause
    };
    found.into_values().map(named).collect()
}

fn cause(
    about: &str,
    pod: &Pod,
    waited_ms: u64,
    patience: Duration,
    too_large: Option<(u32, u32)>,
) -> Option<Cause> {
    let status = pod.status.as_ref()?;
    let conditions = status.conditions.iter().flatten();
    let unscheduled = (conditions.into_iter())
        .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False");
    if let Some(condition) = unscheduled {
        let told = condition
            .message
            .as_deref()
            .or(condition.reason.as_deref())
            .unwrap_or("no reason given");
        let for_long = age(waited_ms);
        if u128::from(waited_ms) < patience.as_millis() {
            return Some(Cause::waiting(
                about,
                "WaitingForNode",
                format!("waiting for a node for {for_long}: {told}"),
            ));
        }
        return Some(match too_large {
            Some((asked, most)) => Cause::error(
                about,
                "GpuTooLarge",
                format!(
                    "a pod asks for {asked} GPUs, and the largest node has {most}: ask for fewer 'gpus', or add nodes that have {asked}; no node came in {for_long}: {told}"
                ),
            ),
            None => Cause::error(
                about,
                "NoNode",
                format!(
                    "no node came in {for_long} ('waiting_for_node' allows {}): {told}",
                    age(u64::try_from(patience.as_millis()).unwrap_or(u64::MAX))
                ),
            ),
        });
    }
    let containers = status
        .init_container_statuses
        .iter()
        .chain(&status.container_statuses)
        .flatten();
    let of_container = containers
        .into_iter()
        .find_map(|container| of_container(about, container));
    of_container.or_else(|| match status.phase.as_deref() {
        Some("Failed") => {
            let why = status
                .message
                .as_deref()
                .or(status.reason.as_deref())
                .unwrap_or("no reason given");
            Some(Cause::error(
                about,
                "PodFailed",
                format!("a pod failed: {why}"),
            ))
        }
        _ => Some(Cause::waiting(
            about,
            "Starting",
            format!("starting for {}", age(waited_ms)),
        )),
    })
}

fn of_container(about: &str, container: &ContainerStatus) -> Option<Cause> {
    let state = container.state.as_ref();
    let waiting = state.and_then(|state| state.waiting.as_ref());
    let said = waiting
        .and_then(|waiting| waiting.message.as_deref())
        .unwrap_or_default();
    let image = &container.image;
    match waiting.and_then(|waiting| waiting.reason.as_deref()) {
        Some("ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull") => {
            Some(Cause::error(
                about,
                "ImagePull",
                format!("the image '{image}' cannot be pulled: {said}"),
            ))
        }
        Some("CreateContainerConfigError" | "CreateContainerError") => Some(Cause::error(
            about,
            "ContainerConfig",
            format!("the container cannot be made: {said}"),
        )),
        Some("CrashLoopBackOff") => {
            let last = container
                .last_state
                .as_ref()
                .and_then(|state| state.terminated.as_ref());
            let why = last.map_or_else(String::new, |last| {
                let reason = last.reason.as_deref().unwrap_or("it ended");
                let message = last.message.as_deref().unwrap_or_default();
                format!(": {reason}, exit code {} {message}", last.exit_code)
            });
            Some(Cause::error(
                about,
                "Crashes",
                format!(
                    "the container ended {} times{why}; 'kubectl logs --previous' has what it said",
                    container.restart_count
                ),
            ))
        }
        _ => None,
    }
}
