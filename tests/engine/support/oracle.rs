//! The oracle: what each row must hold, recomputed from its inputs.

use std::collections::BTreeMap;

use arrow_array::RecordBatch;
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use futures::TryStreamExt;

use super::table::Table;

/// A live row, its values as text; NULL is no entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) fragment: u64,
    pub(crate) offset: u32,
    values: BTreeMap<String, String>,
}

impl Row {
    /// The value as text, or none for NULL.
    pub(crate) fn text(&self, column: &str) -> Option<&str> {
        self.values.get(column).map(String::as_str)
    }

    /// The value as an integer, or none for NULL.
    pub(crate) fn int(&self, column: &str) -> Option<i64> {
        let text = self.text(column)?;
        Some(text.parse().expect("an integer column"))
    }

    pub(crate) fn id(&self) -> i64 {
        self.int("id").expect("each row has an id")
    }
}

/// `a * b` of a standard row.
pub(crate) fn product(row: &Row) -> Option<i64> {
    Some(row.int("a")? * row.int("b")?)
}

impl Table {
    /// All live rows, by a full scan.
    pub(crate) async fn rows(&self) -> Vec<Row> {
        let dataset = self.open().await;
        let mut scanner = dataset.scan();
        scanner.with_row_address();
        let batches: Vec<RecordBatch> = scanner
            .try_into_stream()
            .await
            .expect("scans")
            .try_collect()
            .await
            .expect("scans");
        batches.iter().flat_map(rows_of).collect()
    }

    /// Compares a column with what the inputs give, row by row; the table must be sound too.
    pub(crate) async fn check(
        &self,
        column: &str,
        expected: impl Fn(&Row) -> Option<String>,
    ) -> usize {
        self.open().await.validate().await.expect("a sound table");
        let rows = self.rows().await;
        let wrong: Vec<String> = rows
            .iter()
            .filter(|row| row.text(column) != expected(row).as_deref())
            .map(|row| format!("expected {:?}, found {row:?}", expected(row)))
            .collect();
        let shown = wrong.iter().take(5).cloned().collect::<Vec<_>>().join("\n");
        assert!(
            wrong.is_empty(),
            "{} of {} rows of '{column}' are wrong:\n{shown}",
            wrong.len(),
            rows.len()
        );
        rows.len()
    }

    /// The same for a column of integers.
    pub(crate) async fn check_int(
        &self,
        column: &str,
        expected: impl Fn(&Row) -> Option<i64>,
    ) -> usize {
        self.check(column, |row| expected(row).map(|value| value.to_string()))
            .await
    }
}

fn rows_of(batch: &RecordBatch) -> Vec<Row> {
    let options = FormatOptions::default();
    let schema = batch.schema();
    let columns: Vec<_> = schema
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(field, values)| {
            let formatter = ArrayFormatter::try_new(values, &options).expect("a printable type");
            (field.name().clone(), values, formatter)
        })
        .collect();
    (0..batch.num_rows())
        .map(|place| {
            let mut values: BTreeMap<String, String> = columns
                .iter()
                .filter(|(_, values, _)| values.is_valid(place))
                .map(|(name, _, formatter)| (name.clone(), formatter.value(place).to_string()))
                .collect();
            let address: u64 = values
                .remove("_rowaddr")
                .and_then(|text| text.parse().ok())
                .expect("an address");
            Row {
                fragment: address >> 32,
                offset: u32::try_from(address & u64::from(u32::MAX)).expect("32 bits"),
                values,
            }
        })
        .collect()
}
