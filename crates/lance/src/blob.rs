//! Reading blobs: their sizes first, then as many rows at once as the sizes allow.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow_array::builder::LargeBinaryBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::{UInt8Type, UInt64Type};
use arrow_array::{Array, ArrayRef, RecordBatch, new_empty_array};
use arrow_schema::{DataType, Field, Schema};
use arrow_select::concat::concat_batches;
use futures::{StreamExt, TryStreamExt, stream};
use lance::Dataset;
use lance_backfill_core::rows::RowSet;
use lance_backfill_ports::table::BatchStream;
use lance_backfill_ports::{Error, Result};
use lance_core::datatypes::{BlobKind, Field as LanceField, Schema as LanceSchema};
use lance_core::utils::address::RowAddress;
use lance_table::format::Fragment;

use crate::error::from_lance;
use crate::read::{Gaps, stored_rows};

/// Bytes of blobs in one batch. Twice as much doubles the memory of each slice at work; half as much
/// makes more and smaller requests. One blob that is larger is read alone.
const BATCH_BYTES: u64 = 32 << 20;
/// Rows whose sizes are read at once: a few hundred kilobytes of descriptors.
const DESCRIBED_ROWS: u64 = 16_384;

/// The columns of a table, as those who read them get them: blobs are their bytes.
pub(crate) fn schema_of_values(schema: &LanceSchema) -> Schema {
    let fields: Vec<Field> = (schema.fields.iter())
        .map(|field| match field.is_blob() {
            true => bytes_field(field),
            false => Field::from(field),
        })
        .collect();
    Schema::new_with_metadata(fields, schema.metadata.clone())
}

fn bytes_field(field: &LanceField) -> Field {
    Field::new(&field.name, DataType::LargeBinary, field.nullable)
}

/// Streams exactly the given physical rows of columns of which some are blobs.
pub(crate) async fn physical_rows(
    dataset: &Arc<Dataset>,
    fragment: Fragment,
    schema: &LanceSchema,
    rows: &RowSet,
    batch_rows: u32,
) -> Result<BatchStream> {
    let reading = Reading::new(dataset, fragment, schema, rows, batch_rows);
    let batches = stream::try_unfold(reading, |mut reading| async move {
        Ok(reading.next().await?.map(|batch| (batch, reading)))
    });
    Ok(batches.boxed())
}

struct Reading {
    dataset: Arc<Dataset>,
    fragment: Fragment,
    columns: Vec<LanceField>,
    /// Without deletions: Lance finds blobs by the address of a live row only.
    undeleted: Arc<Dataset>,
    batch_rows: u64,
    /// Rows whose sizes are not known yet.
    ahead: RowSet,
    /// Rows to read at once, in order.
    pieces: VecDeque<RowSet>,
    doing: String,
}

impl Reading {
    fn new(
        dataset: &Arc<Dataset>,
        fragment: Fragment,
        schema: &LanceSchema,
        rows: &RowSet,
        batch_rows: u32,
    ) -> Self {
        let mut whole = fragment.clone();
        whole.deletion_file = None;
        let mut manifest = dataset.manifest.as_ref().clone();
        manifest.fragments = Arc::new(vec![whole]);
        let mut undeleted = dataset.as_ref().clone();
        undeleted.manifest = Arc::new(manifest);
        let names: Vec<&str> = (schema.fields.iter())
            .map(|field| field.name.as_str())
            .collect();
        Self {
            dataset: dataset.clone(),
            doing: format!(
                "cannot read {} of fragment {}",
                names.join(", "),
                fragment.id
            ),
            fragment,
            columns: schema.fields.clone(),
            undeleted: Arc::new(undeleted),
            batch_rows: u64::from(batch_rows.max(1)),
            ahead: rows.clone(),
            pieces: VecDeque::new(),
        }
    }

    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        if self.pieces.is_empty() {
            let described = self.ahead.first(DESCRIBED_ROWS);
            if described.is_empty() {
                return Ok(None);
            }
            self.ahead.remove(&described);
            let sizes = self.sizes(&described).await?;
            self.pieces = pieces(&described, &sizes, self.batch_rows);
        }
        match self.pieces.pop_front() {
            Some(piece) => self.values(&piece).await.map(Some),
            None => Ok(None),
        }
    }

    /// How many bytes the blobs of each row have together.
    async fn sizes(&self, rows: &RowSet) -> Result<Vec<u64>> {
        let blobs = self.columns.iter().filter(|field| field.is_blob());
        let described: Vec<LanceField> = blobs
            .cloned()
            .map(|mut field| {
                field.unloaded_mut();
                field
            })
            .collect();
        let batch = self.stored(described, rows, Gaps::ReadThrough).await?;
        let mut sizes = vec![0_u64; batch.num_rows()];
        for descriptors in batch.columns() {
            for (sum, size) in sizes.iter_mut().zip(self.described_sizes(descriptors)?) {
                *sum = sum.saturating_add(size);
            }
        }
        Ok(sizes)
    }

    fn described_sizes(&self, descriptors: &ArrayRef) -> Result<Vec<u64>> {
        let descriptors = descriptors.as_struct_opt();
        let sizes = descriptors
            .and_then(|blobs| blobs.column_by_name("size"))
            .and_then(|sizes| sizes.as_primitive_opt::<UInt64Type>());
        let (Some(descriptors), Some(sizes)) = (descriptors, sizes) else {
            return Err(Error::internal(format!(
                "{}: a blob column has no sizes",
                self.doing
            )));
        };
        let kinds = descriptors
            .column_by_name("kind")
            .and_then(|kinds| kinds.as_primitive_opt::<UInt8Type>());
        Ok((0..sizes.len())
            .map(|place| {
                let size = sizes.is_valid(place).then(|| sizes.value(place));
                let outside = descriptors.is_valid(place)
                    && kinds.is_some_and(|kinds| kinds.value(place) == BlobKind::External as u8);
                match size.unwrap_or_default() {
                    // Nobody wrote down the size of this object outside of the table: read it alone.
                    0 if outside => BATCH_BYTES,
                    size => size,
                }
            })
            .collect())
    }

    async fn values(&self, rows: &RowSet) -> Result<RecordBatch> {
        // Blobs of the second kind may lie in files of their own; all else is in the data file.
        let in_file = self.columns.iter().filter(|field| !field.is_blob_v2());
        let in_file: Vec<LanceField> = in_file.cloned().collect();
        let stored = match in_file.is_empty() {
            true => None,
            false => Some(self.stored(in_file, rows, Gaps::Skip).await?),
        };
        let mut fields = vec![];
        let mut columns = vec![];
        for field in &self.columns {
            let values = match field.is_blob_v2() {
                true => self.payloads(&field.name, rows).await?,
                false => stored
                    .as_ref()
                    .and_then(|batch| batch.column_by_name(&field.name))
                    .cloned()
                    .ok_or_else(|| {
                        Error::internal(format!("{}: a column is missing", self.doing))
                    })?,
            };
            fields.push(Field::new(&field.name, values.data_type().clone(), true));
            columns.push(values);
        }
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
            .map_err(|error| Error::internal(&self.doing).with_source(error))
    }

    /// Columns of a data file in one batch; blobs of the first kind as the fields say.
    async fn stored(
        &self,
        fields: Vec<LanceField>,
        rows: &RowSet,
        gaps: Gaps,
    ) -> Result<RecordBatch> {
        let schema = LanceSchema {
            fields,
            metadata: Default::default(),
        };
        let batch_rows = u32::try_from(rows.len()).unwrap_or(u32::MAX);
        let fragment = self.fragment.clone();
        let batches = stored_rows(&self.dataset, fragment, &schema, rows, batch_rows, gaps).await?;
        let batches: Vec<RecordBatch> = batches.try_collect().await?;
        let batch = match batches.as_slice() {
            [batch] => batch.clone(),
            [] => {
                let schema = Arc::new(Schema::from(&schema));
                let columns = (schema.fields().iter())
                    .map(|field| new_empty_array(field.data_type()))
                    .collect();
                RecordBatch::try_new(schema, columns)
                    .map_err(|error| Error::internal(&self.doing).with_source(error))?
            }
            [first, ..] => concat_batches(&first.schema(), &batches)
                .map_err(|error| Error::internal(&self.doing).with_source(error))?,
        };
        match batch.num_rows() as u64 == rows.len() {
            true => Ok(batch),
            false => Err(Error::internal(format!(
                "{}: {} rows came for {}",
                self.doing,
                batch.num_rows(),
                rows.len()
            ))),
        }
    }

    /// The bytes of a column of blobs of the second kind.
    async fn payloads(&self, column: &str, rows: &RowSet) -> Result<ArrayRef> {
        let fragment = u32::try_from(self.fragment.id)
            .map_err(|error| Error::internal(&self.doing).with_source(error))?;
        let addresses: Vec<u64> = (rows.iter())
            .map(|offset| RowAddress::new_from_parts(fragment, offset).into())
            .collect();
        let wanted = addresses.len();
        let blobs = match self.undeleted.read_blobs(column) {
            Ok(reader) => {
                let reader = reader.with_row_addresses(addresses).preserve_order(true);
                reader.execute().await
            }
            Err(error) => Err(error),
        };
        let blobs = blobs.map_err(|error| from_lance(error, &self.doing))?;
        if blobs.len() != wanted {
            return Err(Error::internal(format!(
                "{}: {} blobs came for {wanted} rows",
                self.doing,
                blobs.len()
            )));
        }
        let bytes = blobs.iter().filter_map(|blob| blob.data.as_ref());
        let bytes = bytes.map(|data| data.len()).sum();
        let mut values = LargeBinaryBuilder::with_capacity(wanted, bytes);
        for blob in blobs {
            values.append_option(blob.data);
        }
        Ok(Arc::new(values.finish()))
    }
}

/// The rows in pieces that can be held in memory; `sizes` has one entry a row.
fn pieces(rows: &RowSet, sizes: &[u64], most_rows: u64) -> VecDeque<RowSet> {
    let mut pieces = VecDeque::new();
    let mut piece = RowSet::new();
    let mut bytes = 0_u64;
    for (row, size) in rows.iter().zip(sizes) {
        let full = bytes.saturating_add(*size) > BATCH_BYTES || piece.len() == most_rows;
        if full && !piece.is_empty() {
            pieces.push_back(std::mem::take(&mut piece));
            bytes = 0;
        }
        piece.insert(row);
        bytes = bytes.saturating_add(*size);
    }
    if !piece.is_empty() {
        pieces.push_back(piece);
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_bounded_by_bytes_and_by_rows_and_a_large_blob_stands_alone() {
        let rows: RowSet = [1, 2, 5, 6, 7, 9].into_iter().collect();
        let sizes = [1, BATCH_BYTES, BATCH_BYTES - 2, 1, 1, 1];
        let found: Vec<Vec<u32>> = (pieces(&rows, &sizes, 3).iter())
            .map(|piece| piece.iter().collect())
            .collect();
        assert_eq!(found, [vec![1], vec![2], vec![5, 6, 7], vec![9]]);
    }
}
