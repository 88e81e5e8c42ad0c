//! The rows of the demo: real flights, one delivery a month.

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_ipc::reader::FileReader;
use lance_backfill_ports::{Error, Result};

/// `data/README.md` says where they come from and under which licence.
const FLIGHTS: &[u8] = include_bytes!("../../../../../data/flights.arrow");

/// The flights of a month, as they are appended together.
pub(super) struct Month {
    pub(super) name: &'static str,
    pub(super) rows: Vec<RecordBatch>,
}

impl Month {
    pub(super) fn len(&self) -> u64 {
        self.rows.iter().map(|batch| batch.num_rows() as u64).sum()
    }
}

/// All months, in the order of the calendar.
pub(super) fn months() -> Result<Vec<Month>> {
    let damaged =
        |error| Error::internal("the flights in this program are damaged").with_source(error);
    let reader = FileReader::try_new(std::io::Cursor::new(FLIGHTS), None).map_err(damaged)?;
    let mut months: Vec<Month> = vec![];
    for batch in reader {
        let batch = batch.map_err(damaged)?;
        for (name, part) in by_month(&batch)? {
            match months.last_mut().filter(|month| month.name == name) {
                Some(month) => month.rows.push(part),
                None => months.push(Month {
                    name,
                    rows: vec![part],
                }),
            }
        }
    }
    Ok(months)
}

/// Cuts a batch, whose rows are in the order of the calendar, where the month changes.
fn by_month(batch: &RecordBatch) -> Result<Vec<(&'static str, RecordBatch)>> {
    let month = batch
        .column_by_name("month")
        .and_then(|column| column.as_primitive_opt::<Int32Type>())
        .ok_or_else(|| Error::internal("the flights in this program have no month"))?;
    let mut parts = vec![];
    let mut start = 0;
    for row in 1..=month.len() {
        if row == month.len() || month.value(row) != month.value(start) {
            parts.push((name(month.value(start)), batch.slice(start, row - start)));
            start = row;
        }
    }
    Ok(parts)
}

fn name(month: i32) -> &'static str {
    match month {
        1 => "January",
        2 => "February",
        3 => "March",
        _ => "later",
    }
}

#[cfg(test)]
mod tests {
    use super::months;

    #[test]
    fn months_are_whole_and_in_order() {
        let months = months().expect("readable");
        let found: Vec<_> = months
            .iter()
            .map(|month| (month.name, month.len()))
            .collect();
        let rows: u64 = found.iter().map(|(_, rows)| rows).sum();
        assert_eq!(rows, 67_692);
        let names: Vec<_> = found.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["January", "February", "March"]);
    }
}
