//! Reading physical rows of a fragment.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::{BooleanArray, RecordBatch};
use arrow_select::filter::filter_record_batch;
use futures::StreamExt;
use lance::Dataset;
use lance::dataset::fragment::{FileFragment, FragReadConfig};
use lance_backfill_core::rows::RowSet;
use lance_backfill_ports::table::BatchStream;
use lance_backfill_ports::{Error, Result};
use lance_core::datatypes::Schema;
use lance_table::format::Fragment;

use crate::blob;
use crate::error::from_lance;

mod windows;

use windows::{Read, Width, Windows};

/// Gaps up to this many rows are read through: cheaper than another request.
const READ_THROUGH_ROWS: u32 = 512;

/// Deleted rows of a fragment, as physical offsets.
pub(crate) async fn deleted_rows(dataset: &Arc<Dataset>, fragment: Fragment) -> Result<RowSet> {
    let id = fragment.id;
    let fragment = FileFragment::new(dataset.clone(), fragment);
    let deleted = fragment.get_deletion_vector().await.map_err(|error| {
        from_lance(
            error,
            &format!("cannot read the deleted rows of fragment {id}"),
        )
    })?;
    Ok(deleted
        .map(|deleted| deleted.iter().collect())
        .unwrap_or_default())
}

/// Streams exactly the given physical rows, in file order, deleted or not.
pub(crate) async fn physical_rows(
    dataset: &Arc<Dataset>,
    fragment: Fragment,
    columns: &[String],
    rows: &RowSet,
    batch_rows: u32,
) -> Result<BatchStream> {
    let doing = format!(
        "cannot read {} of fragment {}",
        columns.join(", "),
        fragment.id
    );
    let schema = dataset
        .schema()
        .project(columns)
        .map_err(|error| from_lance(error, &doing))?;
    if schema.fields.iter().any(|field| field.is_blob()) {
        return blob::physical_rows(dataset, fragment, &schema, rows, batch_rows).await;
    }
    let gaps = Gaps::ReadThrough;
    stored_rows(dataset, fragment, &schema, rows, batch_rows, gaps).await
}

/// What is done about rows between those that are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gaps {
    /// A few of them are read and dropped.
    ReadThrough,
    /// None of them is read: they may be large. The caller knows that the others fit into memory.
    Skip,
}

/// Streams exactly the given physical rows as they stand in the data files, in the types of `schema`.
pub(crate) async fn stored_rows(
    dataset: &Arc<Dataset>,
    fragment: Fragment,
    schema: &Schema,
    rows: &RowSet,
    batch_rows: u32,
    gaps: Gaps,
) -> Result<BatchStream> {
    let names: Vec<&str> = (schema.fields.iter())
        .map(|field| field.name.as_str())
        .collect();
    let doing = format!(
        "cannot read {} of fragment {}",
        names.join(", "),
        fragment.id
    );
    let ranges = match gaps {
        Gaps::ReadThrough => read_ranges(rows),
        Gaps::Skip => rows.ranges().collect(),
    };
    let failed = |error| from_lance(error, &doing);
    let width = match gaps {
        Gaps::ReadThrough => Some(
            Width::of(dataset, &fragment, schema)
                .await
                .map_err(failed)?,
        ),
        Gaps::Skip => None,
    };
    let reader = FileFragment::new(dataset.clone(), fragment)
        .open(
            schema,
            FragReadConfig::default().with_ignore_deletions(true),
        )
        .await
        .map_err(failed)?;
    let read = Read {
        reader,
        batch_rows,
        doing,
    };
    let batches = match width {
        Some(width) => Windows::new(read, ranges.clone(), width).batches(),
        None => read.at_once(&ranges, batch_rows).await?,
    };
    let exact = ranges.iter().map(Range::len).sum::<usize>() as u64 == rows.len();
    if exact {
        return Ok(batches.boxed());
    }
    let mut picker = Picker {
        rows: rows.clone(),
        ranges: ranges.into(),
        offset: None,
    };
    Ok(batches.map(move |batch| picker.pick(&batch?)).boxed())
}

/// The rows as ranges, small gaps read through.
fn read_ranges(rows: &RowSet) -> Vec<Range<u32>> {
    let mut ranges: Vec<Range<u32>> = vec![];
    for range in rows.ranges() {
        match ranges.last_mut() {
            Some(last) if range.start - last.end <= READ_THROUGH_ROWS => last.end = range.end,
            _ => ranges.push(range),
        }
    }
    ranges
}

/// Drops the rows that were only read through.
struct Picker {
    rows: RowSet,
    ranges: std::collections::VecDeque<Range<u32>>,
    offset: Option<u32>,
}

impl Picker {
    fn pick(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let mut keep = Vec::with_capacity(batch.num_rows());
        while keep.len() < batch.num_rows() {
            let range = self
                .ranges
                .front()
                .ok_or_else(|| Error::internal("more rows were read than asked for"))?;
            let offset = self.offset.unwrap_or(range.start);
            if offset == range.end {
                self.ranges.pop_front();
                self.offset = None;
                continue;
            }
            keep.push(self.rows.contains(offset));
            self.offset = Some(offset + 1);
        }
        filter_record_batch(batch, &BooleanArray::from(keep)).map_err(|error| {
            Error::internal("cannot drop rows that were read through").with_source(error)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_gaps_are_read_through_and_large_ones_are_not() {
        let mut rows = RowSet::range(0..10);
        rows.extend(&RowSet::range(20..30));
        rows.extend(&RowSet::range(5_000..5_001));
        assert_eq!(read_ranges(&rows), vec![0..30, 5_000..5_001]);
    }
}
