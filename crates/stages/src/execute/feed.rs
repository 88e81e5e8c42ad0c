//! Rows of a stream, handed out in the numbers that the consumer wants.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::{Schema, SchemaRef};
use arrow_select::concat::concat_batches;
use futures::TryStreamExt;
use lance_backfill_ports::table::BatchStream;
use lance_backfill_ports::width::bytes_of;
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

    /// Gives rows back that were taken last.
    pub(super) fn put_back(&mut self, rows: RecordBatch) {
        if let Source::Stream { pending, .. } = &mut self.source
            && rows.num_rows() > 0
        {
            pending.push_front(rows);
        }
    }

    /// The next rows, `rows` at most, at least one, and no further batch that would exceed `bytes`.
    pub(super) async fn take_within(&mut self, rows: usize, bytes: usize) -> Result<RecordBatch> {
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
        let mut taken_bytes = 0_usize;
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
            if bytes < usize::MAX {
                taken_bytes = taken_bytes.saturating_add(bytes_of(&next));
                if taken_bytes > bytes && missing < rows {
                    pending.push_front(next);
                    break;
                }
            }
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

#[cfg(test)]
mod tests {
    use arrow_array::{ArrayRef, LargeBinaryArray};
    use futures::StreamExt;
    use futures::stream;

    use super::*;

    /// Batches of two blobs of a thousand bytes each.
    fn blobs(batches: usize) -> RowFeed {
        let batch = || {
            let values: ArrayRef = Arc::new(LargeBinaryArray::from_vec(vec![&[7; 1_000]; 2]));
            RecordBatch::try_from_iter([("blob", values)]).expect("a batch")
        };
        let batches: Vec<_> = (0..batches).map(|_| Ok(batch())).collect();
        RowFeed::new(stream::iter(batches).boxed(), None)
    }

    #[tokio::test]
    async fn rows_are_taken_up_to_a_number_of_bytes_and_at_least_a_batch() {
        let mut feed = blobs(5);
        let mut rows = vec![];
        for (most, bytes) in [(8, 5_000), (6, 10), (4, usize::MAX)] {
            let taken = feed.take_within(most, bytes).await.expect("rows are left");
            rows.push(taken.num_rows());
        }
        // A pending batch is not lost, and none is split for its bytes.
        assert_eq!(rows, [4, 2, 4]);
    }

    #[tokio::test]
    async fn a_batch_in_pieces_counts_only_the_piece() {
        let mut feed = blobs(2);
        assert_eq!(
            feed.take_within(1, usize::MAX)
                .await
                .expect("a row")
                .num_rows(),
            1
        );
        let rest = feed.take_within(3, 3_500).await.expect("rows are left");
        assert_eq!(rest.num_rows(), 3);
    }
}
