//! A table together with the commands that keep it up to date.

use std::collections::BTreeMap;
use std::ops::Deref;

use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;

use super::program::{Outcome, run};
use super::table::{Shape, Table};

/// What `refresh` and `status` say.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Report {
    #[serde(default)]
    pub(crate) published_version: Option<u64>,
    pub(crate) columns: Vec<ColumnReport>,
}

/// What they say of one column.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ColumnReport {
    pub(crate) column: String,
    #[serde(default)]
    pub(crate) state: String,
    pub(crate) rows_total: u64,
    pub(crate) rows_filtered: u64,
    pub(crate) rows_eligible: u64,
    pub(crate) rows_current: u64,
    pub(crate) rows_failed: u64,
    pub(crate) rows_blocked: u64,
    pub(crate) rows_unknown: u64,
    pub(crate) rows_remaining: u64,
    #[serde(default)]
    pub(crate) rows_assigned: u64,
    #[serde(default)]
    pub(crate) batches: u64,
    #[serde(default)]
    pub(crate) bytes_written: u64,
    #[serde(default)]
    pub(crate) stopped: Option<String>,
    #[serde(default)]
    pub(crate) generations: BTreeMap<String, u64>,
}

impl Report {
    /// Reads a report; the counts of each column must add up.
    pub(crate) fn read(document: Value) -> Self {
        let report: Self = serde_json::from_value(document).expect("a report");
        for column in &report.columns {
            let known = column.rows_current
                + column.rows_failed
                + column.rows_blocked
                + column.rows_unknown
                + column.rows_remaining;
            assert_eq!(column.rows_eligible, known, "counts add up: {column:#?}");
            let all = column.rows_eligible + column.rows_filtered;
            assert_eq!(column.rows_total, all, "counts add up: {column:#?}");
        }
        report
    }

    pub(crate) fn column(&self, name: &str) -> &ColumnReport {
        self.columns
            .iter()
            .find(|column| column.column == name)
            .unwrap_or_else(|| panic!("no column '{name}' in {self:#?}"))
    }

    pub(crate) fn assigned(&self, name: &str) -> u64 {
        self.column(name).rows_assigned
    }
}

/// A row that could not be computed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(crate) struct Failure {
    pub(crate) fragment: u64,
    pub(crate) offset: u32,
    pub(crate) kind: String,
    pub(crate) message: String,
}

/// A table with computed columns, and a cache folder of its own.
pub(crate) struct Scenario {
    pub(crate) table: Table,
    cache: TempDir,
    /// Options of the table's object store, as the command line takes them.
    storage: Vec<String>,
}

impl Deref for Scenario {
    type Target = Table;

    fn deref(&self) -> &Table {
        &self.table
    }
}

impl Scenario {
    /// A table of standard rows, see `table::standard`.
    pub(crate) async fn standard(shape: Shape, rows: i64) -> Self {
        Self::on(Table::standard(shape, rows).await)
    }

    /// The same with a column `p` = `a * b`, filled.
    pub(crate) async fn filled(shape: Shape, rows: i64) -> Self {
        let scenario = Self::standard(shape, rows).await;
        scenario.add("p", "a * b", &[]);
        let report = scenario.refresh();
        assert_eq!(report.assigned("p"), u64::try_from(rows).expect("rows"));
        scenario
    }

    pub(crate) fn on(table: Table) -> Self {
        let storage = (table.storage.iter()).map(|(key, value)| format!("{key}={value}"));
        Self {
            storage: storage.collect(),
            table,
            cache: tempfile::tempdir().expect("a temporary folder"),
        }
    }

    /// The folder of session locks.
    pub(crate) fn cache(&self) -> &std::path::Path {
        self.cache.path()
    }

    /// Runs a command on the table: `words` and then, after the table, `options`.
    pub(crate) fn run(&self, words: &[&str], options: &[&str]) -> Outcome {
        run(&self.arguments(words, options))
    }

    /// Arguments of a command on the table, with the cache folder of this scenario.
    pub(crate) fn arguments<'a>(&'a self, words: &[&'a str], options: &[&'a str]) -> Vec<&'a str> {
        let cache = self.cache.path().to_str().expect("a path in UTF-8");
        let mut arguments = words.to_vec();
        arguments.push(&self.table.uri);
        arguments.extend(self.storage_arguments());
        arguments.extend_from_slice(options);
        arguments.extend_from_slice(&["--cache", cache]);
        arguments
    }

    /// What tells a command how to reach the table's object store; nothing on disk.
    pub(crate) fn storage_arguments(&self) -> Vec<&str> {
        let options = self.storage.iter();
        let arguments = options.flat_map(|option| ["--storage-option", option]);
        arguments.collect()
    }

    /// Declares a column.
    pub(crate) fn add(&self, column: &str, sql: &str, options: &[&str]) -> Value {
        self.try_add(column, sql, options).expect_code(0).json()
    }

    pub(crate) fn try_add(&self, column: &str, sql: &str, options: &[&str]) -> Outcome {
        let mut all = vec![column, "--sql", sql];
        all.extend_from_slice(options);
        self.run(&["column", "add"], &all)
    }

    pub(crate) fn alter(&self, column: &str, options: &[&str]) -> Value {
        let mut all = vec![column];
        all.extend_from_slice(options);
        self.run(&["column", "alter"], &all).expect_code(0).json()
    }

    /// Refreshes to the end.
    pub(crate) fn refresh(&self) -> Report {
        self.refresh_with(&[])
    }

    pub(crate) fn refresh_with(&self, options: &[&str]) -> Report {
        let outcome = self.run(&["refresh"], options).expect_code(0);
        Report::read(outcome.json())
    }

    pub(crate) fn status(&self) -> Report {
        let outcome = self.run(&["status"], &[]).expect_code(0);
        Report::read(outcome.json())
    }

    /// What `plan` says of a column.
    pub(crate) fn plan(&self, column: &str) -> Value {
        let document = self.run(&["plan"], &["--column", column]).expect_code(0);
        let document = document.json();
        let columns = document["columns"].as_array().expect("columns").clone();
        let found = columns.into_iter().find(|found| found["column"] == column);
        found.expect("the column")
    }

    pub(crate) fn failures(&self, column: &str) -> Vec<Failure> {
        let document = self.run(&["failures"], &[column]).expect_code(0).json();
        let mut failures: Vec<Failure> =
            serde_json::from_value(document["failures"].clone()).expect("failures");
        assert_eq!(document["rows_failed"], failures.len());
        failures.sort();
        failures
    }

    /// A refresh finds nothing to compute; it may still tidy up.
    pub(crate) async fn expect_rest_of_columns(&self) -> Report {
        let version = self.table.version().await;
        let report = self.refresh();
        for column in &report.columns {
            assert_eq!(column.rows_assigned, 0, "nothing to compute: {column:#?}");
            assert_eq!(column.batches, 0, "no batch: {column:#?}");
        }
        assert_eq!(
            self.table.version().await,
            version,
            "the table is untouched"
        );
        report
    }

    /// A refresh calls no function for any column.
    pub(crate) fn expect_computed_nothing(&self) {
        for column in &self.refresh().columns {
            assert_eq!(column.rows_assigned, 0, "nothing to compute: {column:#?}");
        }
    }

    /// A refresh finds nothing to do and leaves no trace.
    pub(crate) async fn expect_rest(&self) -> Report {
        let version = self.table.version().await;
        let files = self.table.state_files();
        let report = self.refresh();
        for column in &report.columns {
            assert_eq!(column.rows_assigned, 0, "nothing to compute: {column:#?}");
            assert_eq!(column.batches, 0, "no batch: {column:#?}");
            assert_eq!(column.rows_remaining, 0, "nothing remains: {column:#?}");
        }
        assert_eq!(report.published_version, None);
        assert_eq!(
            self.table.version().await,
            version,
            "the table is untouched"
        );
        let now = self.table.state_files();
        let new: Vec<_> = now
            .keys()
            .filter(|path| !files.contains_key(*path))
            .collect();
        assert!(new.is_empty(), "no file is written: {new:#?}");
        assert_eq!(now, files, "no file is changed or deleted");
        report
    }
}
