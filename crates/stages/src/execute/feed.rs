//! Rows of a stream, handed out in the numbers that the consumer wants.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::{Schema, SchemaRef};
use arrow_select::concat::concat_batches;
use futures::TryStreamExt;
use lance_backfill_ports::table::BatchStream;
use lance_backfill_ports::{Error, Result};

/// A stream of rows that can be taken in any number.
pub(super) struct RowFeed {
    source: Source,
}

enum Source {
    Stream {
        batches: BatchStream,
        pending: VecDeque<RecordBatch>,
        schema: Option<SchemaRef>,
    },
    /// Rows without columns: a function without inputs still wants to know how many.
    Empty,
}

impl RowFeed {
    /// Rows of a stream; with a schema, columns get its names.
    pub(super) fn new(batches: BatchStream, schema: Option<SchemaRef>) -> Self {
        Self {
            source: Source::Stream {
                batches,
                pending: VecDeque::new(),
                schema,
            },
        }
    }

    /// Rows without columns.
    pub(super) fn empty() -> Self {
        Self {
            source: Source::Empty,
        }
    }

    /// The next `rows` rows, exactly.
    pub(super) async fn take(&mut self, rows: usize) -> Result<RecordBatch> {
        let Source::Stream {
            batches,
            pending,
            schema,
        } = &mut self.source
        else {
            let options = RecordBatchOptions::new().with_row_count(Some(rows));
            return RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options)
                .map_err(|error| {
                    Error::internal("cannot make rows without columns").with_source(error)
                });
        };
        let mut taken = vec![];
        let mut missing = rows;
        while missing > 0 {
            let next = match pending.pop_front() {
                Some(batch) => batch,
                None => {
                    let batch = batches.try_next().await?.ok_or_else(|| {
                        Error::internal(format!("a read ended {missing} rows before its end"))
                    })?;
                    match schema {
                        Some(schema) => rename(&batch, schema)?,
                        None => batch,
                    }
                }
            };
            if next.num_rows() > missing {
                pending.push_front(next.slice(missing, next.num_rows() - missing));
                taken.push(next.slice(0, missing));
                missing = 0;
            } else {
                missing -= next.num_rows();
                taken.push(next);
            }
        }
        match (taken.len(), taken.pop()) {
            (1, Some(only)) => Ok(only),
            (_, Some(last)) => {
                let schema = last.schema();
                taken.push(last);
                concat_batches(&schema, &taken)
                    .map_err(|error| Error::internal("cannot join rows").with_source(error))
            }
            (_, None) => Err(Error::internal("no rows were asked for")),
        }
    }
}

fn rename(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), batch.columns().to_vec(), &options).map_err(
        |error| {
            Error::internal("input columns do not have the types of their fields")
                .with_source(error)
        },
    )
}
