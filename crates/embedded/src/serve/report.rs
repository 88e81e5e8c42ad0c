//! What serving tells while it runs, and what it says at the end.

use std::collections::BTreeMap;

use serde::Serialize;

/// Something worth a line.
#[derive(Debug, Clone, PartialEq)]
pub enum Happening<'a> {
    /// The first look around is done.
    Started {
        /// Tables found so far.
        tables: usize,
    },
    /// A table is watched from now on.
    Found {
        /// Its path or URI.
        table: &'a str,
    },
    /// A table is not there any more.
    Gone {
        /// Its path or URI.
        table: &'a str,
    },
    /// Values were published.
    Converged {
        /// Its path or URI.
        table: &'a str,
        /// Column that was brought up to date.
        column: &'a str,
        /// Rows that got a value or NULL.
        rows: u64,
        /// Version that was found.
        from_version: u64,
        /// Version that has the values.
        to_version: u64,
        /// From the first look to the end.
        seconds: f64,
    },
    /// Something cannot be done; it is tried again, and told once.
    Trouble {
        /// Its path or URI.
        table: &'a str,
        /// Column, if it is not the table as a whole.
        column: Option<&'a str>,
        /// One line for a person.
        cause: &'a str,
    },
    /// A job cannot be done any more; told once.
    BrokenJob {
        /// Its path or URI.
        table: &'a str,
        /// Column that the job is about.
        column: &'a str,
        /// One line for a person.
        cause: &'a str,
    },
    /// What was in trouble works again.
    Recovered {
        /// Its path or URI.
        table: &'a str,
        /// Column, if it was not the table as a whole.
        column: Option<&'a str>,
    },
    /// There are no file events: tables are polled.
    NoEvents {
        /// One line for a person.
        cause: &'a str,
    },
}

/// Is told what happens.
pub trait Observer: Send + Sync {
    /// Something happened.
    fn happened(&self, what: &Happening<'_>);
}

/// What serving did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Served {
    /// Whether the system told of changed files.
    pub file_events: bool,
    /// How long it served.
    pub seconds: f64,
    /// Tables that were there at the end, sorted.
    pub tables: Vec<ServedTable>,
}

/// What serving did to one table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ServedTable {
    /// Its path or URI.
    pub table: String,
    /// Newest version that was seen.
    pub version: Option<u64>,
    /// Looks at the table that found something new, or were the first.
    pub rounds: u64,
    /// What is wrong with it as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// Columns that were worked on, sorted.
    pub columns: Vec<ServedColumn>,
}

/// What serving did to one column.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ServedColumn {
    /// Its name.
    pub column: String,
    /// Values and NULLs computed and committed.
    pub rows_assigned: u64,
    /// Batches done.
    pub batches: u64,
    /// Bytes of staged and values files written.
    pub bytes_written: u64,
    /// Newest version that published something of it.
    pub published_version: Option<u64>,
    /// Why it is not up to date.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// What is counted of a table while it is served.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) version: Option<u64>,
    pub(super) rounds: u64,
    pub(super) trouble: Option<String>,
    pub(super) columns: BTreeMap<String, ServedColumn>,
}

impl Tally {
    pub(super) fn column(&mut self, name: &str) -> &mut ServedColumn {
        self.columns
            .entry(name.to_owned())
            .or_insert_with(|| ServedColumn {
                column: name.to_owned(),
                ..ServedColumn::default()
            })
    }

    pub(super) fn served(&self, table: &str) -> ServedTable {
        ServedTable {
            table: table.to_owned(),
            version: self.version,
            rounds: self.rounds,
            trouble: self.trouble.clone(),
            columns: self.columns.values().cloned().collect(),
        }
    }
}
