//! How what is wanted differs from what runs.

use serde_json::{Map, Value};
use similar::TextDiff;

use crate::ray_cluster::RayCluster;
use crate::yaml::yaml;

/// Whether everything that is wanted is there.
pub(super) fn agrees(wanted: &Value, live: &Value) -> bool {
    match (wanted, live) {
        (Value::Object(wanted), Value::Object(live)) => {
            wanted.iter().all(|(key, wanted)| match live.get(key) {
                Some(live) => agrees(wanted, live),
                None => is_empty(wanted),
            })
        }
        (Value::Array(wanted), Value::Array(live)) => {
            wanted.len() == live.len()
                && wanted
                    .iter()
                    .zip(live)
                    .all(|(wanted, live)| agrees(wanted, live))
        }
        (wanted, live) => wanted == live,
    }
}

/// The difference as text, of those fields that are wanted; empty where there is none.
///
/// What the API server or KubeRay added is not the pool's, and would only hide what is.
pub fn diff(live: Option<&RayCluster>, wanted: &RayCluster) -> String {
    let wanted = value(wanted);
    let live = live.map(value).map(|live| like(&wanted, &live));
    let before = live.as_ref().map(yaml).unwrap_or_default();
    let after = yaml(&wanted);
    if before == after {
        return String::new();
    }
    TextDiff::from_lines(&before, &after)
        .unified_diff()
        .context_radius(3)
        .header("runs", "wanted")
        .to_string()
}

/// What a person compares: the pool's fields, without the digests of them.
fn value(cluster: &RayCluster) -> Value {
    let value = serde_json::to_value(&cluster.spec).unwrap_or(Value::Null);
    serde_json::json!({
        "metadata": {"name": cluster.metadata.name, "namespace": cluster.metadata.namespace, "labels": cluster.metadata.labels},
        "spec": value,
    })
}

/// Of `live` what has a counterpart in `wanted`, and whole entries of lists that have none.
fn like(wanted: &Value, live: &Value) -> Value {
    match (wanted, live) {
        (Value::Object(wanted), Value::Object(live)) => {
            let common = wanted.iter().filter_map(|(key, wanted)| {
                let live = live.get(key)?;
                Some((key.clone(), like(wanted, live)))
            });
            let mut common: Map<String, Value> = common.collect();
            for (key, value) in live.iter().filter(|(key, _)| is_pairs(key)) {
                common.entry(key.clone()).or_insert_with(|| value.clone());
            }
            Value::Object(common)
        }
        (Value::Array(wanted), Value::Array(live)) => {
            let both = live
                .iter()
                .enumerate()
                .map(|(place, live)| match wanted.get(place) {
                    Some(wanted) => like(wanted, live),
                    None => live.clone(),
                });
            Value::Array(both.collect())
        }
        (_, live) => live.clone(),
    }
}

/// Fields of pods that only the pool sets: where the file does not have them any more, they go.
fn is_pairs(key: &str) -> bool {
    [
        "nodeSelector",
        "tolerations",
        "env",
        "priorityClassName",
        "scaleStrategy",
    ]
    .contains(&key)
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(fields) => fields.values().all(is_empty),
        _ => false,
    }
}
