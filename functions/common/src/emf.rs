//! CloudWatch's embedded metric format: a line of the log that CloudWatch also reads as metrics.
//!
//! A document names its metrics and dimensions under `_aws`; their values, and whatever else is to be
//! found in the log, are members beside it.

use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Unit of a metric, as CloudWatch names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Unit {
    /// A number of things.
    Count,
    /// A time.
    Seconds,
}

/// One metric with one value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Metric {
    /// Name.
    pub name: &'static str,
    /// Unit.
    pub unit: Unit,
    /// Value.
    pub value: f64,
}

/// One line: metrics that have the same dimensions and time.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Document {
    /// Namespace.
    pub namespace: &'static str,
    /// Milliseconds since the epoch.
    pub timestamp_ms: u64,
    /// Names and values, which together are one set of dimensions.
    pub dimensions: Vec<(&'static str, String)>,
    /// The metrics; CloudWatch takes up to a hundred.
    pub metrics: Vec<Metric>,
    /// What the log has beside them.
    pub properties: Vec<(&'static str, Value)>,
}

/// CloudWatch drops a dimension that is longer.
const LONGEST_DIMENSION: usize = 1024;

impl Document {
    /// The line, without its end.
    pub(crate) fn line(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }
}

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_map(None)?;
        members.serialize_entry("_aws", &Head::of(self))?;
        for (name, value) in &self.dimensions {
            // Only ASCII is allowed, and no dimension may be empty.
            let value: String = (value.chars().take(LONGEST_DIMENSION))
                .map(|character| match character {
                    ' '..='~' => character,
                    _ => '?',
                })
                .collect();
            let value = if value.trim().is_empty() { "?" } else { &value };
            members.serialize_entry(name, value)?;
        }
        for metric in &self.metrics {
            members.serialize_entry(metric.name, &Number(metric.value))?;
        }
        for (name, value) in &self.properties {
            members.serialize_entry(name, value)?;
        }
        members.end()
    }
}

/// A number without a fraction is written without one.
struct Number(f64);

impl Serialize for Number {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it has no fraction and fits"
    )]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(value) = *self;
        if value.fract() == 0.0 && (0.0..9e15).contains(&value) {
            return serializer.serialize_u64(value as u64);
        }
        serializer.serialize_f64(value)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Head<'a> {
    timestamp: u64,
    cloud_watch_metrics: [Directive<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Directive<'a> {
    namespace: &'a str,
    dimensions: [Vec<&'a str>; 1],
    metrics: Vec<Definition<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Definition<'a> {
    name: &'a str,
    unit: Unit,
}

impl<'a> Head<'a> {
    fn of(document: &'a Document) -> Self {
        let metrics = document.metrics.iter();
        Self {
            timestamp: document.timestamp_ms,
            cloud_watch_metrics: [Directive {
                namespace: document.namespace,
                dimensions: [document.dimensions.iter().map(|(name, _)| *name).collect()],
                metrics: metrics
                    .map(|metric| Definition {
                        name: metric.name,
                        unit: metric.unit,
                    })
                    .collect(),
            }],
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document() -> Document {
        Document {
            namespace: "LanceBackfill",
            timestamp_ms: 1_764_368_000_123,
            dimensions: vec![("Service", "s3://state/lance-backfill".to_owned())],
            metrics: vec![
                Metric {
                    name: "OldestRowInNeedSeconds",
                    unit: Unit::Seconds,
                    value: 12.5,
                },
                Metric {
                    name: "CommitsStalled",
                    unit: Unit::Count,
                    value: 0.0,
                },
            ],
            properties: vec![("request", json!("4f\n2e"))],
        }
    }

    #[test]
    fn a_line_is_what_cloudwatch_reads_byte_for_byte() {
        let line = document().line().expect("it is JSON");
        assert_eq!(
            line,
            concat!(
                r#"{"_aws":{"Timestamp":1764368000123,"CloudWatchMetrics":[{"Namespace":"LanceBackfill","#,
                r#""Dimensions":[["Service"]],"Metrics":[{"Name":"OldestRowInNeedSeconds","Unit":"Seconds"},"#,
                r#"{"Name":"CommitsStalled","Unit":"Count"}]}]},"Service":"s3://state/lance-backfill","#,
                r#""OldestRowInNeedSeconds":12.5,"CommitsStalled":0,"request":"4f\n2e"}"#,
            )
        );
    }

    /// The rules of the format: each target is a member of the root, a dimension is a string of ASCII
    /// that is not empty, and a metric a number.
    #[test]
    fn whatever_is_named_is_there() {
        let document = Document {
            dimensions: vec![
                ("Service", "s".repeat(2_000)),
                ("Table", "s3://lake/t\u{e4}ble\u{0}".to_owned()),
                ("Column", String::new()),
            ],
            ..document()
        };
        let line = document.line().expect("it is JSON");
        let root: Value = serde_json::from_str(&line).expect("it is JSON");
        let directive = &root["_aws"]["CloudWatchMetrics"][0];
        let dimensions = directive["Dimensions"][0].as_array().expect("names");
        assert_eq!(dimensions.len(), 3);
        for name in dimensions {
            let value = root[name.as_str().expect("a name")].as_str();
            let value = value.expect("a dimension is a string");
            assert!((1..=1024).contains(&value.len()), "{value}");
            assert!(value.chars().all(|it| (' '..='~').contains(&it)), "{value}");
        }
        assert_eq!(root["Table"], "s3://lake/t?ble?");
        for metric in directive["Metrics"].as_array().expect("definitions") {
            let name = metric["Name"].as_str().expect("a name");
            assert!(root[name].is_number(), "{name}");
        }
        assert!(!line.contains('\n'), "a line of the log is one event");
    }
}
