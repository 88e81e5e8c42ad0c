//! Things as YAML, for people.

use serde::Serialize;

/// A thing as YAML; as JSON, which is YAML too, where the writer cannot.
pub fn yaml(value: &impl Serialize) -> String {
    serde_saphyr::to_string(value)
        .or_else(|_| serde_json::to_string_pretty(value))
        .unwrap_or_default()
}
