//! Reading rows in windows: as many at once as their bytes allow.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::RecordBatch;
use futures::{StreamExt, TryStreamExt, stream};
use lance::Dataset;
use lance::dataset::fragment::FragmentReader;
use lance_backfill_ports::Result;
use lance_backfill_ports::table::BatchStream;
use lance_backfill_ports::width::{bytes_of, fixed_width, rows_within};
use lance_core::datatypes::Schema;
use lance_file::reader::FileReader;
use lance_io::scheduler::{ScanScheduler, SchedulerConfig};
use lance_table::format::{DataFile, Fragment};

use crate::error::from_lance;

/// Batches decoded ahead of the consumer: one while it works on another. More only costs memory, and
/// the time to touch it.
const DECODE_AHEAD: usize = 2;

/// Bytes of a decoded batch that we aim at. Twice as much doubles what is decoded ahead; half as much
/// makes more calls where rows are wide.
const BATCH_BYTES: u64 = 8 << 20;
/// Bytes of rows that are read at once: a page may be as large as the fragment, and a read takes all
/// of its rows in a page together. Twice as much doubles the memory of each slice at work; half as
/// much makes more requests.
const WINDOW_BYTES: u64 = 32 << 20;
/// Rows of the first window where the types do not tell how wide a row is. More costs memory if they
/// are wide after all; fewer costs requests if they are not.
const FIRST_ROWS: u32 = 4_096;
/// A window has at most so many times the rows of the one before: rows may get wider.
const GROWTH: u32 = 8;

/// A fragment that is open for reading.
pub(super) struct Read {
    pub(super) reader: FragmentReader,
    /// Rows of a batch at most.
    pub(super) batch_rows: u32,
    pub(super) doing: String,
}

impl Read {
    pub(super) async fn at_once(
        &self,
        ranges: &[Range<u32>],
        batch_rows: u32,
    ) -> Result<BatchStream> {
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

/// How wide the rows of some columns are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    /// Bytes of each row.
    Fixed(u64),
    /// Only the values tell; those of a row take so many bytes in the files, on average.
    Varies(Option<u64>),
}

impl Width {
    pub(super) async fn of(
        dataset: &Arc<Dataset>,
        fragment: &Fragment,
        schema: &Schema,
    ) -> lance::Result<Self> {
        Ok(match fixed_row_width(schema) {
            Some(bytes) => Self::Fixed(bytes),
            None => Self::Varies(stored_width(dataset, fragment, schema).await?),
        })
    }

    const fn first_window(self) -> u32 {
        match self {
            Self::Fixed(bytes) => rows_within(WINDOW_BYTES, bytes),
            Self::Varies(stored) => {
                let rows = match stored {
                    Some(bytes) => rows_within(BATCH_BYTES, bytes),
                    None => 1,
                };
                if rows < FIRST_ROWS { rows } else { FIRST_ROWS }
            }
        }
    }

    /// Rows of the window after one of `last` rows, of which `seen` had so many bytes.
    fn next_window(self, last: u32, seen: u64, bytes: u64) -> u32 {
        match self {
            Self::Fixed(_) => last,
            Self::Varies(stored) => {
                let fitting = rows_within(WINDOW_BYTES, bytes.div_ceil(seen.max(1)));
                // Many NULLs in a row do not mean that the rest is narrow, too.
                let usual = rows_within(2 * WINDOW_BYTES, stored.unwrap_or(0));
                fitting.min(usual).min(last.saturating_mul(GROWTH))
            }
        }
    }
}

/// Bytes of a row of these columns, if all of them have a fixed width.
fn fixed_row_width(schema: &Schema) -> Option<u64> {
    (schema.fields.iter())
        .map(|field| fixed_width(&field.data_type()))
        .try_fold(0_u64, |sum, width| Some(sum.saturating_add(width?)))
}

/// Bytes that a row of these columns takes in the files of a fragment, on average, if it can be told.
async fn stored_width(
    dataset: &Arc<Dataset>,
    fragment: &Fragment,
    schema: &Schema,
) -> lance::Result<Option<u64>> {
    let rows = fragment.physical_rows.unwrap_or_default().max(1) as u64;
    let wanted: Vec<i32> = schema.fields_pre_order().map(|field| field.id).collect();
    let mut bytes = 0_u64;
    for file in &fragment.files {
        if !file.fields.iter().any(|id| wanted.contains(id)) {
            continue;
        }
        let Some(whole) = file.file_size_bytes.get() else {
            return Ok(None);
        };
        let whole = whole.get();
        // Narrow even with all other columns: no need to look closer.
        let narrow = rows_within(BATCH_BYTES, whole / rows) >= FIRST_ROWS;
        bytes = bytes.saturating_add(match narrow || file.base_id.is_some() {
            true => whole,
            false => bytes_of_columns(dataset, file, &wanted).await?,
        });
    }
    Ok(Some(bytes / rows))
}

/// Bytes that some columns take in a file, as its footer says.
async fn bytes_of_columns(
    dataset: &Arc<Dataset>,
    file: &DataFile,
    wanted: &[i32],
) -> lance::Result<u64> {
    let store = dataset.object_store(None).await?;
    let scheduler = ScanScheduler::new(store, SchedulerConfig::new(WINDOW_BYTES));
    let path = dataset.data_dir().join(file.path.as_str());
    let opened = scheduler.open_file(&path, &file.file_size_bytes).await?;
    let columns = FileReader::read_all_metadata(&opened)
        .await?
        .column_metadatas;
    let indices = file.fields.iter().zip(file.column_indices.iter());
    let wanted = indices.filter(|(id, _)| wanted.contains(id));
    Ok(wanted
        .filter_map(|(_, index)| columns.get(usize::try_from(*index).ok()?))
        .flat_map(|column| {
            let pages = column.pages.iter().flat_map(|page| &page.buffer_sizes);
            pages.chain(&column.buffer_sizes)
        })
        .sum())
}

/// Reads rows a window after the other, as many at once as the widths of those before allow.
pub(super) struct Windows {
    read: Read,
    width: Width,
    /// What is not asked for yet.
    rest: Vec<Range<u32>>,
    rows: u32,
    current: BatchStream,
    /// Rows of the current window that came, and their bytes.
    seen: (u64, u64),
}

impl Windows {
    pub(super) fn new(read: Read, ranges: Vec<Range<u32>>, width: Width) -> Self {
        Self {
            read,
            width,
            rest: ranges,
            rows: width.first_window(),
            current: stream::empty().boxed(),
            seen: (0, 0),
        }
    }

    pub(super) fn batches(self) -> BatchStream {
        stream::try_unfold(self, |mut windows| async move {
            Ok(windows.next().await?.map(|batch| (batch, windows)))
        })
        .boxed()
    }

    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(batch) = self.current.try_next().await? {
                self.seen.0 += batch.num_rows() as u64;
                self.seen.1 += bytes_of(&batch) as u64;
                return Ok(Some(batch));
            }
            if self.rest.is_empty() {
                return Ok(None);
            }
            let (seen, bytes) = std::mem::take(&mut self.seen);
            if seen > 0 {
                self.rows = self.width.next_window(self.rows, seen, bytes);
            }
            let (window, rest) = split(&self.rest, self.rows);
            self.rest = rest;
            // Windows and batches keep their proportion, whatever a row takes.
            let batch_rows = (self.rows / (WINDOW_BYTES / BATCH_BYTES) as u32).max(1);
            let batch_rows = self.read.batch_rows.min(batch_rows);
            self.current = self.read.at_once(&window, batch_rows).await?;
        }
    }
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
    }

    #[test]
    fn windows_of_rows_of_any_width_grow_slowly_and_shrink_at_once() {
        let wide = Width::Varies(Some(1_000_000));
        assert_eq!(wide.first_window(), 8);
        // NULLs first: the next window is a little larger, and no more.
        assert_eq!(wide.next_window(8, 8, 64), 64);
        assert_eq!(wide.next_window(64, 64, 512), 67);
        assert_eq!(wide.next_window(67, 67, 67_000_000), 33);
        assert_eq!(wide.next_window(33, 33, 33 * WINDOW_BYTES * 2), 1);
        let narrow = Width::Varies(Some(20));
        assert_eq!(narrow.first_window(), FIRST_ROWS);
        assert_eq!(
            narrow.next_window(FIRST_ROWS, 4_096, 80_000),
            8 * FIRST_ROWS
        );
        assert_eq!(Width::Varies(None).first_window(), 1);
        let fixed = Width::Fixed(16);
        assert_eq!(fixed.first_window(), 2 << 20);
        assert_eq!(fixed.next_window(7, 7, u64::MAX), 7);
    }
}
