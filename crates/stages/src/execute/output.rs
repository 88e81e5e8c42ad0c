//! Where the results of a slice go: a column file or a values file.

use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::{Array, new_null_array};
use arrow_schema::DataType;
use futures::{StreamExt, stream};
use lance_backfill_core::checkpoint::{SliceOutput, SliceResult, ValuesFile};
use lance_backfill_core::rows::RowSet;
use lance_backfill_ports::Result;
use lance_backfill_ports::width::bytes_of_values;

use super::chunks::{CHUNK_ROWS, Chunks, Layout, Tally, chunk_rows, input_schema};
use super::feed::RowFeed;
use super::{SliceDone, SliceTask, values};
use crate::outputs::{ArrayStream, Outputs};

/// Bytes of values of one file, which is held in memory until it is written and when it is read.
const MOST_VALUES_BYTES: usize = 512 << 20;

/// Computes a slice straight into a column file, laid over what stands in the column.
pub(super) async fn column_file(task: &SliceTask, rows: RowSet) -> Result<SliceDone> {
    let SliceTask {
        version,
        column,
        slice,
        ..
    } = task;
    let view = version.view().fragment(slice.fragment);
    let out = view.and_then(|view| column.identify(view).0.out);
    let physical_rows = view.map_or(0, |view| view.physical_rows);
    let outputs = Outputs::of(column, &version.schema())?;
    let old = match out {
        Some(_) => {
            let all = RowSet::full(physical_rows);
            let names = outputs.names();
            let batches = version.read(slice.fragment, names, &all, CHUNK_ROWS);
            Some(RowFeed::new(outputs.joined(batches.await?), None))
        }
        None => None,
    };
    let tally = Arc::new(Mutex::new(Tally::default()));
    let mut chunks = chunks(task, rows, physical_rows, Layout::Physical { old }, &tally).await?;
    let output = outputs.value_type();
    // NULL over NULL needs no file: hold back until a value turns up.
    let mut held_back = 0;
    let first = loop {
        match chunks.next().await? {
            Some(values) if out.is_none() && values.logical_null_count() == values.len() => {
                held_back += values.len()
            }
            other => break other,
        }
    };
    let file = match first {
        None => None,
        Some(first) => {
            let nulls = null_arrays(held_back, output);
            let rest = stream::try_unfold(chunks, |mut chunks| async move {
                Ok(chunks.next().await?.map(|values| (values, chunks)))
            });
            let values: ArrayStream = nulls.chain(stream::iter([Ok(first)])).chain(rest).boxed();
            let mut file = version
                .stage_columns(slice.fragment, outputs.names(), outputs.split(values))
                .await?;
            file.over = out;
            Some(file)
        }
    };
    let mut done = SliceDone::obsolete(slice.fragment, slice.in_id);
    settle(&mut done, &tally);
    let changed = !done.result.values.is_empty() || !done.result.nulls.is_empty();
    done.result.output = match file {
        Some(file) if changed => {
            done.bytes_written = file.size_bytes;
            SliceOutput::ColumnFile(file)
        }
        _ => SliceOutput::Nothing,
    };
    Ok(done)
}

/// Computes a slice into a values file of the state store.
pub(super) async fn values_file(task: &SliceTask, rows: RowSet) -> Result<SliceDone> {
    let SliceTask {
        version,
        column,
        slice,
        ..
    } = task;
    let physical_rows = version
        .view()
        .fragment(slice.fragment)
        .map_or(0, |view| view.physical_rows);
    let tally = Arc::new(Mutex::new(Tally::default()));
    let mut chunks = chunks(task, rows, physical_rows, Layout::RowsOnly, &tally).await?;
    let mut writer = values::Writer::new(chunks.outputs.value_type())?;
    let mut bytes = 0;
    while let Some(computed) = chunks.next().await? {
        bytes += bytes_of_values(computed.as_ref());
        writer.write(computed)?;
        if bytes >= MOST_VALUES_BYTES {
            // The rest is for another batch.
            break;
        }
    }
    let mut done = SliceDone::obsolete(slice.fragment, slice.in_id);
    settle(&mut done, &tally);
    // Failed rows have a NULL in the file; `finished` says which rows it speaks of, in order.
    let finished = done.result.done();
    done.result.output = if done.result.values.is_empty() && done.result.nulls.is_empty() {
        SliceOutput::Nothing
    } else {
        let bytes = writer.finish()?;
        let size_bytes = bytes.len() as u64;
        column.store.create_values(&task.values_path, bytes).await?;
        done.bytes_written = size_bytes;
        SliceOutput::Values(ValuesFile {
            path: task.values_path.clone(),
            rows: finished,
            size_bytes,
        })
    };
    Ok(done)
}

async fn chunks(
    task: &SliceTask,
    rows: RowSet,
    physical_rows: u32,
    layout: Layout,
    tally: &Arc<Mutex<Tally>>,
) -> Result<Chunks> {
    let SliceTask {
        version,
        column,
        slice,
        budget,
        ..
    } = task;
    let schema = version.schema();
    let names = column.input_names();
    let inputs = match names.is_empty() {
        true => RowFeed::empty(),
        false => {
            let batches = version
                .read(slice.fragment, &names, &rows, CHUNK_ROWS)
                .await?;
            RowFeed::new(batches, Some(input_schema(column, &schema)?))
        }
    };
    Ok(Chunks {
        rows,
        physical_rows,
        inputs,
        layout,
        function: column.function.clone(),
        outputs: Outputs::of(column, &schema)?,
        budget: budget.clone(),
        batch: task.batch.clone(),
        tally: tally.clone(),
        next: 0,
    })
}

fn null_arrays(rows: usize, output: &DataType) -> ArrayStream {
    let step = chunk_rows(output) as usize;
    let lengths: Vec<usize> = (0..rows)
        .step_by(step)
        .map(|start| step.min(rows - start))
        .collect();
    let output = output.clone();
    stream::iter(
        lengths
            .into_iter()
            .map(move |length| Ok(new_null_array(&output, length))),
    )
    .boxed()
}

fn settle(done: &mut SliceDone, tally: &Mutex<Tally>) {
    let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
    let result: &mut SliceResult = &mut done.result;
    tally.fill(result);
    done.calls = tally.calls;
    done.in_function = tally.busy;
    done.fault = tally.fault.take();
}
