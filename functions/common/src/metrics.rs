//! The service's metrics: what the alarms and the dashboard of `infra/modules/monitoring` look at.

use std::collections::BTreeMap;
use std::io::Write;

use serde_json::{Value, json};

use crate::emf::{Document, Metric, Unit};
use crate::tally::{Tally, Watched};

/// Namespace of all of them.
const NAMESPACE: &str = "LanceBackfill";
/// Columns that a line names: a log event has its limits.
const MOST_COLUMNS: usize = 50;

/// How the metrics of this process are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metrics {
    /// Value of the dimension `Service`.
    pub service: String,
    /// Whether columns have a metric of their own, which CloudWatch charges for one by one.
    pub by_column: bool,
}

impl Metrics {
    /// As the environment has it; a service without a name is named by where it keeps what is its own.
    pub fn from_environment(environment: &BTreeMap<String, String>) -> Self {
        let names = ["LANCE_BACKFILL_NAME", "LANCE_BACKFILL_SERVICE"];
        let mut names = names.iter().filter_map(|name| environment.get(*name));
        let by_column = environment.get("LANCE_BACKFILL_COLUMN_METRICS");
        Self {
            service: (names.find(|name| !name.is_empty()).cloned()).unwrap_or_default(),
            by_column: by_column.is_some_and(|value| value == "1"),
        }
    }

    /// Writes what an invocation did to the standard output; nothing if there is nothing to say.
    ///
    /// A metric that cannot be written stops no work.
    pub fn write(&self, function: &'static str, request: &str, now_ms: u64, tally: &Tally) {
        let mut output = std::io::stdout().lock();
        for document in self.documents(function, request, now_ms, tally) {
            if let Ok(line) = document.line() {
                let _ = writeln!(output, "{line}");
            }
        }
    }

    /// The lines, as values.
    fn documents(
        &self,
        function: &'static str,
        request: &str,
        now_ms: u64,
        tally: &Tally,
    ) -> Vec<Document> {
        let mut metrics = counted(function, tally);
        let mut properties = vec![("function", json!(function)), ("request", json!(request))];
        if let Some(watched) = &tally.watched {
            metrics.extend(of_schedule(watched));
            properties.push(("columns", columns(watched)));
        }
        if metrics.is_empty() {
            return vec![];
        }
        let mut documents = vec![Document {
            namespace: NAMESPACE,
            timestamp_ms: now_ms,
            dimensions: vec![("Service", self.service.clone())],
            metrics,
            properties,
        }];
        if let (Some(watched), true) = (&tally.watched, self.by_column) {
            documents.extend(watched.waiting.iter().map(|waiting| Document {
                namespace: NAMESPACE,
                timestamp_ms: now_ms,
                dimensions: vec![
                    ("Service", self.service.clone()),
                    ("Table", waiting.table.clone()),
                    ("Column", waiting.column.clone()),
                ],
                metrics: vec![oldest(waiting.oldest_ms)],
                properties: vec![],
            }));
        }
        documents
    }
}

/// What is only written where there is some: a metric without values costs nothing.
fn counted(function: &str, tally: &Tally) -> Vec<Metric> {
    let published = if function == "committer" {
        tally.rows
    } else {
        0
    };
    let counts = [
        ("BatchesSent", tally.batches + tally.folds),
        ("RowsComputed", tally.rows_computed),
        ("RowsFailed", tally.rows_failed),
        ("Faults", tally.faults),
        ("BatchesQuarantined", tally.quarantined),
        ("RowsPublished", published),
    ];
    let some = counts.into_iter().filter(|(_, number)| *number > 0);
    some.map(|(name, number)| count(name, number)).collect()
}

/// What the alarms need at each run of the schedule, at 0 too.
fn of_schedule(watched: &Watched) -> [Metric; 4] {
    [
        oldest(watched.oldest_ms()),
        count("CommitsStalled", watched.stalled),
        count("ColumnsHeld", watched.held),
        count("PlansFailed", watched.failed),
    ]
}

#[expect(
    clippy::cast_precision_loss,
    reason = "CloudWatch keeps metrics as such numbers"
)]
fn oldest(oldest_ms: u64) -> Metric {
    Metric {
        name: "OldestRowInNeedSeconds",
        unit: Unit::Seconds,
        value: oldest_ms as f64 / 1_000.0,
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "CloudWatch keeps metrics as such numbers"
)]
fn count(name: &'static str, number: u64) -> Metric {
    Metric {
        name,
        unit: Unit::Count,
        value: number as f64,
    }
}

/// Columns with rows in need, those first whose rows have waited longest.
fn columns(watched: &Watched) -> Value {
    let oldest = watched.oldest_first();
    let told = oldest.iter().take(MOST_COLUMNS).map(|waiting| {
        json!({
            "table": waiting.table,
            "column": waiting.column,
            "oldest_s": waiting.oldest_ms / 1_000,
            "rows_waiting": waiting.rows,
        })
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::Waiting;

    /// Dimensions, and the metrics with their values.
    type Told = (Vec<String>, Vec<(&'static str, f64)>);

    fn values(documents: &[Document]) -> Vec<Told> {
        let of_one = |document: &Document| {
            let dimensions = document.dimensions.iter();
            let metrics = document.metrics.iter();
            (
                dimensions
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect(),
                metrics.map(|metric| (metric.name, metric.value)).collect(),
            )
        };
        documents.iter().map(of_one).collect()
    }

    fn written(by_column: bool, function: &'static str, tally: &Tally) -> Vec<Document> {
        let metrics = Metrics {
            service: "s".to_owned(),
            by_column,
        };
        metrics.documents(function, "r", 1_000, tally)
    }

    #[test]
    fn the_schedule_writes_what_the_alarms_need_at_zero_too() {
        let tally = Tally {
            watched: Some(Watched::default()),
            ..Tally::default()
        };
        let of_schedule = vec![
            ("OldestRowInNeedSeconds", 0.0),
            ("CommitsStalled", 0.0),
            ("ColumnsHeld", 0.0),
            ("PlansFailed", 0.0),
        ];
        assert_eq!(
            values(&written(true, "planner", &tally)),
            [(vec!["Service=s".to_owned()], of_schedule)]
        );
    }

    #[test]
    fn what_did_nothing_writes_nothing() {
        assert_eq!(written(true, "worker", &Tally::default()), []);
        let looked = Tally {
            tables: ["t".to_owned()].into(),
            ..Tally::default()
        };
        assert_eq!(written(true, "planner", &looked), []);
    }

    #[test]
    fn work_is_counted_by_who_did_it() {
        let sent = Tally {
            batches: 2,
            folds: 1,
            rows: 30,
            ..Tally::default()
        };
        let metrics = |function, tally| values(&written(false, function, tally)).remove(0).1;
        assert_eq!(metrics("planner", &sent), [("BatchesSent", 3.0)]);
        let published = Tally {
            rows: 30,
            published: 1,
            ..Tally::default()
        };
        assert_eq!(metrics("committer", &published), [("RowsPublished", 30.0)]);
        let computed = Tally {
            rows_computed: 9,
            rows_failed: 1,
            faults: 1,
            ..Tally::default()
        };
        assert_eq!(
            metrics("worker", &computed),
            [("RowsComputed", 9.0), ("RowsFailed", 1.0), ("Faults", 1.0)]
        );
    }

    #[test]
    fn a_service_has_a_name_by_all_means() {
        let of = |variables: &[(&str, &str)]| {
            let variables = variables.iter();
            let variables =
                variables.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            let metrics = Metrics::from_environment(&variables.collect());
            (metrics.service, metrics.by_column)
        };
        let service = ("LANCE_BACKFILL_SERVICE", "s3://b/p");
        assert_eq!(of(&[service]), ("s3://b/p".to_owned(), false));
        let by_column = ("LANCE_BACKFILL_COLUMN_METRICS", "1");
        let named = of(&[service, ("LANCE_BACKFILL_NAME", "n"), by_column]);
        assert_eq!(named, ("n".to_owned(), true));
        let unnamed = of(&[service, ("LANCE_BACKFILL_NAME", "")]);
        assert_eq!(unnamed.0, "s3://b/p");
    }

    #[test]
    fn columns_have_metrics_of_their_own_only_by_wish() {
        let waiting = |column: &str, oldest_ms| Waiting {
            table: "s3://lake/t".to_owned(),
            column: column.to_owned(),
            oldest_ms,
            rows: 4,
        };
        let tally = Tally {
            watched: Some(Watched {
                waiting: vec![waiting("a", 1_500), waiting("b", 61_000)],
                ..Watched::default()
            }),
            ..Tally::default()
        };
        let plain = written(false, "planner", &tally);
        assert_eq!(plain.len(), 1);
        let (_, columns) = plain[0].properties.last().expect("the columns");
        assert_eq!(
            columns[0],
            json!({"table": "s3://lake/t", "column": "b", "oldest_s": 61, "rows_waiting": 4})
        );
        let by_column = values(&written(true, "planner", &tally));
        assert_eq!(by_column.len(), 3);
        let (dimensions, metrics) = &by_column[1];
        assert_eq!(dimensions, &["Service=s", "Table=s3://lake/t", "Column=a"]);
        assert_eq!(metrics, &[("OldestRowInNeedSeconds", 1.5)]);
    }
}
