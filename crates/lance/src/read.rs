//! Reading physical rows of a fragment.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::{BooleanArray, RecordBatch};
use arrow_select::filter::filter_record_batch;
use futures::{StreamExt, TryStreamExt, stream};
use lance::Dataset;
use lance::dataset::fragment::{FileFragment, FragReadConfig, FragmentReader};
use lance_backfill_core::rows::RowSet;
use lance_backfill_ports::table::BatchStream;
use lance_backfill_ports::width::{bytes_of, fixed_width, rows_within};
use lance_backfill_ports::{Error, Result};
use lance_core::datatypes::Schema;
use lance_file::reader::FileReaderOptions;
use lance_file::version::ConcreteFileVersion;
use lance_io::scheduler::{ScanScheduler, SchedulerConfig};
use lance_table::format::{DataFile, Fragment};

use crate::blob;
use crate::error::from_lance;

/// Gaps up to this many rows are read through: cheaper than another request.
const READ_THROUGH_ROWS: u32 = 512;
/// Batches decoded ahead of the consumer; more costs memory and wins nothing on two cores.
const DECODE_AHEAD: usize = 4;

/// Bytes of a decoded batch that we aim at; some of them are there at once for each slice at work.
const BATCH_BYTES: u64 = 8 << 20;
/// Bytes of a fragment that are read at once: a page may be as large as the fragment, and a read takes
/// all of its rows in a page together.
const WINDOW_BYTES: u64 = 32 << 20;
/// Rows that show how wide a row is where its type does not tell.
const PROBE_ROWS: u32 = 16;

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
    /// None of them is read: they may be large.
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
    let heavy = file_bytes(&fragment, schema).is_none_or(|bytes| bytes > BATCH_BYTES);
    let store = dataset.object_store(None).await;
    let store = store.map_err(|error| from_lance(error, &doing))?;
    let config = FragReadConfig::default()
        .with_ignore_deletions(true)
        .with_scan_scheduler(ScanScheduler::new(
            store,
            SchedulerConfig::new(WINDOW_BYTES),
        ))
        .with_file_reader_options(reader_options(dataset));
    let reader = FileFragment::new(dataset.clone(), fragment)
        .open(schema, config)
        .await
        .map_err(|error| from_lance(error, &doing))?;
    let read = Arc::new(Read {
        reader,
        batch_rows,
        doing,
    });
    let batches = match row_bytes(schema) {
        Some(bytes) => read.of_width(&ranges, bytes),
        None if heavy => {
            let (probe, rest) = split(&ranges, PROBE_ROWS);
            let probe: Vec<RecordBatch> = read
                .at_once(&probe, PROBE_ROWS)
                .await?
                .try_collect()
                .await?;
            let bytes: usize = probe.iter().map(bytes_of).sum();
            let seen: usize = probe.iter().map(RecordBatch::num_rows).sum();
            let rest = read.of_width(&rest, (bytes / seen.max(1)) as u64);
            stream::iter(probe.into_iter().map(Ok)).chain(rest).boxed()
        }
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

/// A fragment that is open for reading.
struct Read {
    reader: FragmentReader,
    /// Rows of a batch at most.
    batch_rows: u32,
    doing: String,
}

impl Read {
    /// Reads rows of about so many bytes each, a window after the other.
    fn of_width(self: Arc<Self>, ranges: &[Range<u32>], row_bytes: u64) -> BatchStream {
        let batch_rows = self.batch_rows.min(rows_within(BATCH_BYTES, row_bytes));
        let windows = windows(ranges, rows_within(WINDOW_BYTES, row_bytes));
        stream::iter(windows)
            .then(move |window| {
                let read = self.clone();
                async move { read.at_once(&window, batch_rows).await }
            })
            .try_flatten()
            .boxed()
    }

    async fn at_once(&self, ranges: &[Range<u32>], batch_rows: u32) -> Result<BatchStream> {
        let wide: Arc<[Range<u64>]> = ranges
            .iter()
            .map(|range| u64::from(range.start)..u64::from(range.end))
            .collect();
        let batches = self
            .reader
            .read_ranges(wide, batch_rows)
            .await
            .map_err(|error| from_lance(error, &self.doing))?;
        let doing = self.doing.clone();
        Ok(batches
            .map(|batch| async move {
                // Decoding is CPU work: off to the pool, so that batches decode side by side.
                match tokio::spawn(batch).await {
                    Ok(batch) => batch,
                    Err(error) => Err(lance::Error::internal(format!("decoding stopped: {error}"))),
                }
            })
            .buffered(DECODE_AHEAD)
            .map_err(move |error| from_lance(error, &doing))
            .boxed())
    }
}

/// Rows get wider within a file: Lance learns from each batch how many fit into the next.
fn reader_options(dataset: &Dataset) -> FileReaderOptions {
    let learns =
        dataset.manifest.data_storage_format.lance_file_format() != ConcreteFileVersion::V2_0;
    FileReaderOptions {
        batch_size_bytes: learns.then_some(BATCH_BYTES),
        ..FileReaderOptions::default()
    }
}

/// Bytes of a row of these columns, if all of them have a fixed width.
fn row_bytes(schema: &Schema) -> Option<u64> {
    schema
        .fields
        .iter()
        .map(|field| fixed_width(&field.data_type()))
        .try_fold(0_u64, |sum, width| Some(sum.saturating_add(width?)))
}

/// Bytes of the files of a fragment that hold one of these columns, if all of them are known.
fn file_bytes(fragment: &Fragment, schema: &Schema) -> Option<u64> {
    let wanted: Vec<i32> = schema.fields_pre_order().map(|field| field.id).collect();
    let holds = |file: &&DataFile| file.fields.iter().any(|id| wanted.contains(id));
    let files = fragment.files.iter().filter(holds);
    files
        .map(|file| file.file_size_bytes.get().map(std::num::NonZeroU64::get))
        .try_fold(0_u64, |sum, bytes| Some(sum.saturating_add(bytes?)))
}

/// The first rows of some ranges, and the others.
fn split(ranges: &[Range<u32>], first: u32) -> (Vec<Range<u32>>, Vec<Range<u32>>) {
    let (mut head, mut tail) = (vec![], vec![]);
    let mut left = first;
    for range in ranges {
        let cut = range.start + left.min(range.end - range.start);
        left -= cut - range.start;
        head.extend((range.start < cut).then_some(range.start..cut));
        tail.extend((cut < range.end).then_some(cut..range.end));
    }
    (head, tail)
}

/// Ranges in pieces of so many rows.
fn windows(ranges: &[Range<u32>], rows: u32) -> Vec<Vec<Range<u32>>> {
    let mut windows = vec![];
    let mut rest = ranges.to_vec();
    while !rest.is_empty() {
        let (window, after) = split(&rest, rows);
        windows.push(window);
        rest = after;
    }
    windows
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
    fn ranges_are_split_after_the_first_rows() {
        let ranges = [0..10, 20..30, 40..41];
        for first in [0, 1, 10, 16, 21, 99] {
            let (head, tail) = split(&ranges, first);
            let rows = |of: &[Range<u32>]| of.iter().cloned().flatten().collect::<Vec<u32>>();
            let (mut all, tail) = (rows(&head), rows(&tail));
            assert_eq!(all.len(), (first as usize).min(21));
            all.extend(tail);
            assert_eq!(all, rows(&ranges));
        }
        let sizes = |window: &Vec<Range<u32>>| window.iter().map(Range::len).sum::<usize>();
        let sizes: Vec<usize> = windows(&ranges, 8).iter().map(sizes).collect();
        assert_eq!(sizes, [8, 8, 5]);
        assert!(windows(&[], 8).is_empty());
    }

    #[test]
    fn small_gaps_are_read_through_and_large_ones_are_not() {
        let mut rows = RowSet::range(0..10);
        rows.extend(&RowSet::range(20..30));
        rows.extend(&RowSet::range(5_000..5_001));
        assert_eq!(read_ranges(&rows), vec![0..30, 5_000..5_001]);
    }
}
