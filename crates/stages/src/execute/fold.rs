//! Fold: finished parts of a fragment, laid over the old column, become one column file.

use std::ops::Range;

use arrow_array::{ArrayRef, RecordBatch, new_null_array};
use arrow_schema::DataType;
use arrow_select::interleave::interleave;
use futures::{StreamExt, stream};
use lance_backfill_core::batch::FoldSpec;
use lance_backfill_core::checkpoint::{SliceOutput, SliceResult};
use lance_backfill_core::journey::Journey;
use lance_backfill_core::rows::RowSet;
use lance_backfill_core::state::Inputs;
use lance_backfill_ports::table::TableVersion;
use lance_backfill_ports::width::bytes_of;
use lance_backfill_ports::{Error, ErrorKind, Result};

use super::chunks::{CHUNK_BYTES, CHUNK_ROWS, chunk_rows, single_column, small};
use super::feed::RowFeed;
use super::{SliceDone, values};
use crate::column::Column;
use crate::outputs::Outputs;

/// One source of values: the rows that it has, and those of them that count.
struct Part {
    feed: RowFeed,
    /// Rows in the feed, in order.
    stored: RowSet,
    /// Rows that have a result.
    results: RowSet,
}

/// Lays parts over the old column; of several results for a row the later part's counts.
pub(super) async fn fold(
    version: &dyn TableVersion,
    column: &Column,
    spec: &FoldSpec,
) -> Result<SliceDone> {
    let mut done = SliceDone::obsolete(spec.fragment, spec.in_id);
    let Some(view) = version.view().fragment(spec.fragment) else {
        return Ok(done);
    };
    let now = column.identify(view).0;
    if now.out != spec.out {
        return Ok(done);
    }
    let outputs = Outputs::of(column, &version.schema())?;
    let mut parts = vec![];
    for part in &spec.parts {
        let batch = &part.batch;
        let manifest = column.store.checkpoint(batch).await?.ok_or_else(|| {
            Error::new(
                ErrorKind::Corrupt,
                format!("the checkpoint manifest of batch {batch} is missing"),
            )
        })?;
        for slice in &manifest.slices {
            let Some(mut result) = part.result(slice, spec.fragment) else {
                continue;
            };
            if now.compare(Some(&manifest.generation), result.in_id) != Inputs::Same {
                // Whoever publishes the fold counts all of its parts: without one it is another fold.
                return Ok(SliceDone::obsolete(spec.fragment, spec.in_id));
            }
            // Rows that were corrected or computed again since are left out.
            result.keep(&spec.rows);
            add_result(&mut done.result, &result);
            parts.extend(
                read_part(version, column, &outputs, part.journey.as_ref(), &result).await?,
            );
        }
    }
    if parts.is_empty() {
        done.result.output = SliceOutput::Nothing;
        return Ok(done);
    }
    let old = match spec.out {
        Some(_) => {
            let all = RowSet::full(view.physical_rows);
            let batches = version.read(spec.fragment, outputs.names(), &all, CHUNK_ROWS);
            Some(RowFeed::new(outputs.joined(batches.await?), None))
        }
        None => None,
    };
    let folding = Folding {
        old,
        parts,
        output: outputs.value_type().clone(),
        next: 0,
        physical_rows: view.physical_rows,
    };
    let folded = stream::try_unfold(folding, |mut folding| async move {
        Ok(folding.next().await?.map(|values| (values, folding)))
    });
    let mut file = version
        .stage_columns(
            spec.fragment,
            outputs.names(),
            outputs.split(folded.boxed()),
        )
        .await?;
    file.over = spec.out;
    done.bytes_written = file.size_bytes;
    done.result.output = SliceOutput::ColumnFile(file);
    Ok(done)
}

/// Adds a later result: what it says of a row replaces what was said before.
fn add_result(sum: &mut SliceResult, later: &SliceResult) {
    let rows = later.done();
    sum.values.remove(&rows);
    sum.nulls.remove(&rows);
    for errors in &mut sum.failed {
        errors.rows.remove(&rows);
    }
    sum.failed.retain(|errors| !errors.rows.is_empty());
    sum.values.extend(&later.values);
    sum.nulls.extend(&later.nulls);
    sum.failed.extend(later.failed.iter().cloned());
}

/// Opens what a result stored; its rows may have had other offsets then, in the same order.
async fn read_part(
    version: &dyn TableVersion,
    column: &Column,
    outputs: &Outputs,
    journey: Option<&Journey>,
    result: &SliceResult,
) -> Result<Option<Part>> {
    let results = result.values.union(&result.nulls);
    match &result.output {
        SliceOutput::Values(file) => {
            let batches = values::read(&file.path, &column.store.values(&file.path).await?)?;
            let (batches, stored) = match journey {
                None => (batches, file.rows.clone()),
                Some(journey) => (
                    values::pick(batches, &file.rows, &journey.old)?,
                    journey.rows(&file.rows),
                ),
            };
            let feed = RowFeed::new(stream::iter(batches.into_iter().map(Ok)).boxed(), None);
            Ok(Some(Part {
                feed,
                stored,
                results,
            }))
        }
        SliceOutput::ColumnFile(file) => {
            let rows = match journey {
                None => results.clone(),
                Some(journey) => journey.back(&results),
            };
            let batches = version
                .read_staged(outputs.names(), file, &rows, CHUNK_ROWS)
                .await?;
            Ok(Some(Part {
                feed: RowFeed::new(outputs.joined(batches), None),
                stored: results.clone(),
                results,
            }))
        }
        SliceOutput::Nothing | SliceOutput::Obsolete => Ok(None),
    }
}

/// Leaves so many of the rows that were taken.
fn give_back(feed: &mut RowFeed, taken: &mut RecordBatch, wanted: usize) {
    let wanted = wanted.min(taken.num_rows());
    feed.put_back(taken.slice(wanted, taken.num_rows() - wanted));
    *taken = taken.slice(0, wanted);
}

struct Folding {
    old: Option<RowFeed>,
    parts: Vec<Part>,
    output: DataType,
    next: u32,
    physical_rows: u32,
}

impl Folding {
    async fn next(&mut self) -> Result<Option<ArrayRef>> {
        if self.next >= self.physical_rows {
            return Ok(None);
        }
        let chunk = self.next
            ..self
                .physical_rows
                .min(self.next.saturating_add(chunk_rows(&self.output)));
        let (chunk, old, taken) = self.take(chunk).await?;
        self.next = chunk.end;
        let mut sources = vec![match old {
            Some(old) => single_column(old)?,
            None => new_null_array(&self.output, chunk.len()),
        }];
        let mut picks: Vec<(usize, usize)> = (0..chunk.len()).map(|place| (0, place)).collect();
        for (part, rows) in self.parts.iter().zip(taken) {
            let Some(rows) = rows else { continue };
            let source = sources.len();
            sources.push(single_column(rows)?);
            let stored = part.stored.within(chunk.clone());
            for (place, offset) in stored.enumerate() {
                let counts = part.results.contains(chunk.start + offset);
                if let (true, Some(pick)) = (counts, picks.get_mut(offset as usize)) {
                    *pick = (source, place);
                }
            }
        }
        let sources: Vec<_> = sources.iter().map(AsRef::as_ref).collect();
        interleave(&sources, &picks)
            .map(Some)
            .map_err(|error| Error::internal("cannot fold parts").with_source(error))
    }

    /// Old values and those of the parts, of as many rows of the chunk as their bytes allow.
    async fn take(
        &mut self,
        mut chunk: Range<u32>,
    ) -> Result<(Range<u32>, Option<RecordBatch>, Vec<Option<RecordBatch>>)> {
        let mut bytes = 0;
        let mut old = None;
        if let Some(feed) = &mut self.old {
            let rows = feed.take_within(chunk.len(), CHUNK_BYTES).await?;
            chunk.end = chunk.start + small(rows.num_rows());
            bytes += bytes_of(&rows);
            old = Some(rows);
        }
        let mut taken = vec![];
        for part in &mut self.parts {
            let stored: Vec<u32> = part.stored.within(chunk.clone()).collect();
            match stored.first() {
                Some(first) if *first > 0 && bytes >= CHUNK_BYTES => {
                    // Beyond what was taken already it is for the next chunk.
                    chunk.end = chunk.start + first;
                    taken.push(None);
                    continue;
                }
                Some(_) => {}
                None => {
                    taken.push(None);
                    continue;
                }
            }
            let left = CHUNK_BYTES.saturating_sub(bytes).max(1);
            let rows = part.feed.take_within(stored.len(), left).await?;
            bytes += bytes_of(&rows);
            if let Some(next) = stored.get(rows.num_rows()) {
                chunk.end = chunk.start + next;
            }
            taken.push(Some(rows));
        }
        // Later parts may have ended the chunk earlier.
        if let (Some(feed), Some(rows)) = (&mut self.old, &mut old) {
            give_back(feed, rows, chunk.len());
        }
        for (part, rows) in self.parts.iter_mut().zip(&mut taken) {
            let Some(found) = rows else { continue };
            let within = part.stored.count_within(chunk.clone());
            give_back(
                &mut part.feed,
                found,
                usize::try_from(within).unwrap_or(usize::MAX),
            );
            if found.num_rows() == 0 {
                *rows = None;
            }
        }
        Ok((chunk, old, taken))
    }
}
