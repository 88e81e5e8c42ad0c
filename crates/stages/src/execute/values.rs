//! Values files: an Arrow IPC file with one column.

use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, RecordBatch};
use arrow_ipc::reader::FileReader;
use arrow_ipc::writer::FileWriter;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use arrow_select::filter::filter_record_batch;
use bytes::Bytes;
use lance_backfill_core::rows::RowSet;
use lance_backfill_ports::{Error, ErrorKind, Result};

/// Writes one.
pub(super) struct Writer {
    schema: SchemaRef,
    writer: FileWriter<Vec<u8>>,
}

impl Writer {
    pub(super) fn new(output: &DataType) -> Result<Self> {
        let schema = Arc::new(Schema::new(vec![Field::new("value", output.clone(), true)]));
        let writer = FileWriter::try_new(vec![], &schema).map_err(failed)?;
        Ok(Self { schema, writer })
    }

    pub(super) fn write(&mut self, values: ArrayRef) -> Result<()> {
        let batch = RecordBatch::try_new(self.schema.clone(), vec![values]).map_err(failed)?;
        self.writer.write(&batch).map_err(failed)
    }

    pub(super) fn finish(mut self) -> Result<Bytes> {
        self.writer.finish().map_err(failed)?;
        self.writer.into_inner().map(Bytes::from).map_err(failed)
    }
}

fn failed(error: arrow_schema::ArrowError) -> Error {
    Error::internal("cannot write values").with_source(error)
}

/// Reads one.
pub(super) fn read(path: &str, bytes: &Bytes) -> Result<Vec<RecordBatch>> {
    let damaged = |error: arrow_schema::ArrowError| {
        Error::new(
            ErrorKind::Corrupt,
            format!("values file '{path}' is damaged"),
        )
        .with_source(error)
    };
    let reader = FileReader::try_new(std::io::Cursor::new(bytes), None).map_err(damaged)?;
    reader
        .collect::<std::result::Result<Vec<_>, _>>()
        .map_err(damaged)
}

/// Values of some of the rows that a file speaks of, in order.
pub(super) fn pick(
    batches: Vec<RecordBatch>,
    stored: &RowSet,
    wanted: &RowSet,
) -> Result<Vec<RecordBatch>> {
    let mut offsets = stored.iter();
    let mut picked = vec![];
    for batch in batches {
        let keep: BooleanArray = (offsets.by_ref().take(batch.num_rows()))
            .map(|offset| Some(wanted.contains(offset)))
            .collect();
        let batch = filter_record_batch(&batch, &keep)
            .map_err(|error| Error::internal("cannot pick values").with_source(error))?;
        picked.push(batch);
    }
    Ok(picked)
}
