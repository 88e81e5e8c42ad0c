//! What an invocation did, in numbers: for its canonical line and its metrics.

use std::collections::BTreeSet;

/// Sums over the records of one invocation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Tables that the records were about.
    pub tables: BTreeSet<String>,
    /// Columns that something was done for.
    pub columns: BTreeSet<String>,
    /// Version that was looked at or published, of the last table.
    pub version: Option<u64>,
    /// Batches that a planner sent for the first time.
    pub batches: u64,
    /// Folds, the same.
    pub folds: u64,
    /// Batches and folds that it sent once more.
    pub again: u64,
    /// Rows that it sent, or that a committer published.
    pub rows: u64,
    /// Rows with a value or NULL.
    pub rows_computed: u64,
    /// Rows that failed.
    pub rows_failed: u64,
    /// Calls of functions.
    pub calls: u64,
    /// Batches that stopped before their end.
    pub faults: u64,
    /// Batches that died, and were written down as failed.
    pub quarantined: u64,
    /// Versions that were published.
    pub published: u64,
    /// Why nothing is handed out of some column.
    pub held: Option<String>,
    /// What the schedule found, if it was the reason.
    pub watched: Option<Watched>,
}

/// What a run of the schedule found in the tables that it looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Watched {
    /// Columns with rows in need.
    pub waiting: Vec<Waiting>,
    /// Finished batches that nobody publishes.
    pub stalled: u64,
    /// Columns that are held.
    pub held: u64,
    /// Tables that could not be looked at: of these nothing else is known.
    pub failed: u64,
}

/// A column with rows in need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// URI of the table.
    pub table: String,
    /// Name.
    pub column: String,
    /// How long the row has waited that has waited longest.
    pub oldest_ms: u64,
    /// Rows in need.
    pub rows: u64,
}

impl Watched {
    /// Milliseconds that the row has waited that has waited longest; 0 if none waits.
    pub fn oldest_ms(&self) -> u64 {
        let ages = self.waiting.iter().map(|waiting| waiting.oldest_ms);
        ages.max().unwrap_or_default()
    }

    /// The columns, those first whose rows have waited longest.
    pub fn oldest_first(&self) -> Vec<&Waiting> {
        let mut waiting: Vec<&Waiting> = self.waiting.iter().collect();
        waiting.sort_by_key(|waiting| std::cmp::Reverse(waiting.oldest_ms));
        waiting
    }
}

impl Tally {
    /// Adds what another record did.
    pub fn add(&mut self, more: Self) {
        let Self {
            tables,
            columns,
            version,
            batches,
            folds,
            again,
            rows,
            rows_computed,
            rows_failed,
            calls,
            faults,
            quarantined,
            published,
            held,
            watched,
        } = more;
        self.tables.extend(tables);
        self.columns.extend(columns);
        self.version = version.or(self.version);
        self.batches += batches;
        self.folds += folds;
        self.again += again;
        self.rows += rows;
        self.rows_computed += rows_computed;
        self.rows_failed += rows_failed;
        self.calls += calls;
        self.faults += faults;
        self.quarantined += quarantined;
        self.published += published;
        self.held = self.held.take().or(held);
        if let Some(more) = watched {
            let watched = self.watched.get_or_insert_default();
            watched.waiting.extend(more.waiting);
            watched.stalled += more.stalled;
            watched.held += more.held;
            watched.failed += more.failed;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_add_up_and_the_first_hold_stands() {
        let one = |table: &str, held: Option<&str>| Tally {
            tables: [table.to_owned()].into(),
            batches: 2,
            rows: 10,
            held: held.map(str::to_owned),
            ..Tally::default()
        };
        let mut sum = one("a", None);
        sum.add(one("b", Some("too many rows failed")));
        sum.add(one("a", Some("approval")));
        assert_eq!(sum.tables.len(), 2);
        assert_eq!((sum.batches, sum.rows), (6, 30));
        assert_eq!(sum.held.as_deref(), Some("too many rows failed"));
        assert_eq!(sum.watched, None);
    }

    #[test]
    fn the_oldest_row_of_all_columns_is_told() {
        let waiting = |column: &str, oldest_ms| Waiting {
            table: "t".to_owned(),
            column: column.to_owned(),
            oldest_ms,
            rows: 1,
        };
        let mut sum = Tally::default();
        for column in [waiting("a", 5), waiting("b", 9), waiting("c", 7)] {
            let watched = Some(Watched {
                waiting: vec![column],
                held: 1,
                ..Watched::default()
            });
            sum.add(Tally {
                watched,
                ..Tally::default()
            });
        }
        let watched = sum.watched.expect("the schedule was there");
        assert_eq!((watched.oldest_ms(), watched.held), (9, 3));
        let first = watched.oldest_first().first().map(|it| it.column.as_str());
        assert_eq!(first, Some("b"));
        assert_eq!(Watched::default().oldest_ms(), 0);
    }
}
