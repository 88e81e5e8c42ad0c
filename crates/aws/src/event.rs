//! What a message on the events queue says: a new version of a table, a plan, or nothing of ours.

use lance_backfill_core::format::decode;
use lance_backfill_core::message::PlanMessage;
use lance_backfill_core::table::SeenVersion;
use serde::Deserialize;

mod key;

pub use key::{Manifest, NotAManifest, manifest_of};

/// What a message on the events queue asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Intake {
    /// Tables have new versions; events that are nobody's are told with the reason.
    Events {
        /// Versions of tables.
        written: Vec<Written>,
        /// Why other events in the message are ignored.
        ignored: Vec<String>,
    },
    /// The service itself, its schedule or a person asks for a plan.
    Plan(PlanMessage),
    /// It is time to reconcile all tables.
    Reconcile,
}

/// A version of a table that was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Written {
    /// URI of the table.
    pub table: String,
    /// The version; there is at least this one.
    pub version: u64,
    /// Where its manifest is, if the event says so.
    pub seen: Option<SeenVersion>,
}

/// A message that nobody can read: it belongs in the dead-letter queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// One line for a person.
    pub reason: String,
}

/// Only as much of a message as tells what kind it is.
#[derive(Deserialize)]
struct Kind {
    #[serde(rename = "Records")]
    records: Option<Vec<S3Record>>,
    #[serde(rename = "Event")]
    event: Option<String>,
    #[serde(rename = "detail-type")]
    detail_type: Option<String>,
    detail: Option<serde_json::Value>,
    source: Option<String>,
    table: Option<serde_json::Value>,
}

/// A record of an S3 notification; what it does not name here is ignored.
#[derive(Deserialize)]
struct S3Record {
    #[serde(rename = "eventName")]
    event_name: String,
    s3: S3Entity,
}

#[derive(Deserialize)]
struct S3Entity {
    bucket: Named,
    object: Keyed,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct Keyed {
    key: String,
    size: Option<u64>,
    #[serde(rename = "eTag", alias = "etag")]
    tag: Option<String>,
}

/// `detail` of an `Object Created` event.
#[derive(Deserialize)]
struct ObjectCreated {
    bucket: Named,
    object: Keyed,
}

/// Reads a message of the events queue.
pub fn read(body: &str) -> Result<Intake, Unreadable> {
    let unreadable = |reason: String| Unreadable { reason };
    let kind: Kind = serde_json::from_str(body)
        .map_err(|error| unreadable(format!("it is not a message that we know: {error}")))?;
    if let Some(records) = kind.records {
        let events = records.into_iter().map(|record| {
            let S3Record { event_name, s3 } = record;
            if !event_name
                .trim_start_matches("s3:")
                .starts_with("ObjectCreated:")
            {
                return Err(format!("{event_name} is no new object"));
            }
            let key = form_decoded(&s3.object.key);
            written(&s3.bucket.name, &key, &s3.object)
        });
        return Ok(events_of(events));
    }
    if kind.event.as_deref() == Some("s3:TestEvent") {
        let reason = "S3 tests whether it may send here".to_owned();
        return Ok(events_of([Err(reason)].into_iter()));
    }
    match (kind.detail_type.as_deref(), kind.source.as_deref()) {
        (Some("Object Created"), _) => {
            let detail = kind.detail.unwrap_or_default();
            let ObjectCreated { bucket, object } = serde_json::from_value(detail)
                .map_err(|error| unreadable(format!("an 'Object Created' event: {error}")))?;
            // EventBridge gives keys as they are.
            Ok(events_of(
                [written(&bucket.name, &object.key, &object)].into_iter(),
            ))
        }
        (Some("Scheduled Event"), Some("aws.events")) => Ok(Intake::Reconcile),
        (Some(other), _) => Ok(events_of(
            [Err(format!("'{other}' is not ours"))].into_iter(),
        )),
        (None, _) if kind.table.is_some() => decode(body.as_bytes())
            .map(Intake::Plan)
            .map_err(|error| unreadable(error.to_string())),
        (None, _) => Err(unreadable(
            "it is neither an event nor a plan message".to_owned(),
        )),
    }
}

fn events_of(events: impl Iterator<Item = Result<Written, String>>) -> Intake {
    let (mut written, mut ignored) = (vec![], vec![]);
    for event in events {
        match event {
            Ok(version) => written.push(version),
            Err(reason) => ignored.push(reason),
        }
    }
    Intake::Events { written, ignored }
}

fn written(bucket: &str, key: &str, object: &Keyed) -> Result<Written, String> {
    match manifest_of(key) {
        Ok(Manifest { root, version }) => Ok(Written {
            table: format!("s3://{bucket}/{root}"),
            version,
            seen: object.size.map(|size_bytes| SeenVersion {
                version,
                size_bytes,
                // Everywhere else S3 puts it in quotes.
                tag: object.tag.as_ref().map(|tag| format!("\"{tag}\"")),
            }),
        }),
        Err(reason) => Err(format!("'{key}' {reason}")),
    }
}

/// S3 encodes keys in its notifications as forms do: a space is a plus.
fn form_decoded(key: &str) -> String {
    let spaces = key.replace('+', " ");
    percent_encoding::percent_decode_str(&spaces)
        .decode_utf8_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests;
