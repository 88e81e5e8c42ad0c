//! One version of a table in memory: reading and staging.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow_schema::{Field, Schema, SchemaRef};
use arrow_select::concat::concat;
use arrow_select::take::take;
use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use lance_backfill_core::checkpoint::StagedColumnFile;
use lance_backfill_core::ids::FragmentId;
use lance_backfill_core::rows::RowSet;
use lance_backfill_core::table::TableView;
use lance_backfill_ports::table::{
    ArrayStream, BatchStream, PublishNote, PublishOutcome, TableVersion,
};
use lance_backfill_ports::{Error, Result};

use super::disk::SharedDisk;
use super::manifest::{Manifest, column_of_file};
use super::publish;

/// A version and the place where its files are.
pub(super) struct MemVersion {
    manifest: Arc<Manifest>,
    schema: SchemaRef,
    disk: SharedDisk,
}

impl MemVersion {
    pub(super) fn new(manifest: Arc<Manifest>, disk: SharedDisk) -> Self {
        Self {
            schema: Arc::new(manifest.schema()),
            manifest,
            disk,
        }
    }
}

#[async_trait]
impl TableVersion for MemVersion {
    fn view(&self) -> &TableView {
        &self.manifest.view
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    async fn deleted_rows(&self, fragment: FragmentId) -> Result<RowSet> {
        self.manifest.fragment(fragment)?;
        Ok(self
            .manifest
            .deleted
            .get(&fragment)
            .cloned()
            .unwrap_or_default())
    }

    async fn row_ids(&self, fragment: FragmentId) -> Result<Option<Vec<u64>>> {
        self.manifest.fragment(fragment)?;
        Ok(self.manifest.row_ids.get(&fragment).cloned())
    }

    async fn read(
        &self,
        fragment: FragmentId,
        columns: &[String],
        rows: &RowSet,
        batch_rows: u32,
    ) -> Result<BatchStream> {
        let fragment = self.manifest.fragment(fragment)?;
        let disk = self.disk.lock();
        let mut read = vec![];
        for name in columns {
            let field = self.manifest.field(name)?;
            let values = self.manifest.column(&disk.files, fragment, field)?;
            read.push((self.manifest.arrow_field(field), values));
        }
        batches(fragment.physical_rows, read, rows, batch_rows)
    }

    async fn read_staged(
        &self,
        column: &str,
        file: &StagedColumnFile,
        rows: &RowSet,
        batch_rows: u32,
    ) -> Result<BatchStream> {
        let field = self.manifest.field(column)?;
        let values = column_of_file(&self.disk.lock().files, &file.name, 0)?;
        let read = vec![(self.manifest.arrow_field(field), values)];
        batches(file.physical_rows, read, rows, batch_rows)
    }

    async fn stage_column(
        &self,
        fragment: FragmentId,
        column: &str,
        values: ArrayStream,
    ) -> Result<StagedColumnFile> {
        let fragment = self.manifest.fragment(fragment)?;
        let field = self.manifest.field(column)?;
        let doing = format!("cannot stage column '{column}' of fragment {}", fragment.id);
        let arrays: Vec<ArrayRef> = values.try_collect().await?;
        let expected = self.manifest.types.get(&field.id);
        if let Some(wrong) = arrays
            .iter()
            .find(|array| Some(array.data_type()) != expected)
        {
            return Err(Error::invalid(format!(
                "{doing}: values are {}",
                wrong.data_type()
            )));
        }
        let borrowed: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
        let rows: usize = borrowed.iter().map(|array| array.len()).sum();
        if u32::try_from(rows) != Ok(fragment.physical_rows) {
            return Err(Error::invalid(format!(
                "{doing}: {rows} values for {} rows",
                fragment.physical_rows
            )));
        }
        let values = concat(&borrowed).map_err(|error| Error::invalid(doing).with_source(error))?;
        let size_bytes = size_of(&values);
        let file = self.disk.lock().write(&[field.id], vec![values]);
        Ok(StagedColumnFile {
            name: file.name,
            size_bytes,
            physical_rows: fragment.physical_rows,
            over: None,
            descriptor: field.id.to_string(),
        })
    }

    async fn staged_exists(&self, file: &StagedColumnFile) -> Result<bool> {
        Ok(self
            .disk
            .lock()
            .files
            .get(&file.name)
            .is_some_and(|columns| columns.iter().map(size_of).sum::<u64>() == file.size_bytes))
    }

    async fn publish(
        &self,
        column: &str,
        files: &[(FragmentId, StagedColumnFile)],
        note: &PublishNote,
    ) -> Result<PublishOutcome> {
        publish::publish(&mut self.disk.lock(), &self.manifest, column, files, note)
    }
}

/// As good a size as any: the same for the same values.
fn size_of(values: &ArrayRef) -> u64 {
    values.get_buffer_memory_size() as u64
}

/// The given rows of columns, cut into batches.
fn batches(
    physical_rows: u32,
    columns: Vec<(Field, ArrayRef)>,
    rows: &RowSet,
    batch_rows: u32,
) -> Result<BatchStream> {
    if rows.iter().last().is_some_and(|last| last >= physical_rows) {
        return Err(Error::invalid(format!(
            "there are {physical_rows} rows, others were asked for"
        )));
    }
    let fields: Vec<Field> = columns.iter().map(|(field, _)| field.clone()).collect();
    let schema = Arc::new(Schema::new(fields));
    let offsets: Vec<u32> = rows.iter().collect();
    let size = usize::try_from(batch_rows.max(1)).unwrap_or(usize::MAX);
    let mut cut = vec![];
    for chunk in offsets.chunks(size) {
        let chunk = UInt32Array::from(chunk.to_vec());
        let doing = || "cannot take rows".to_owned();
        let arrays = columns
            .iter()
            .map(|(_, values)| take(values, &chunk, None))
            .collect::<std::result::Result<Vec<_>, _>>()
            .map_err(|error| Error::internal(doing()).with_source(error))?;
        let options = RecordBatchOptions::new().with_row_count(Some(chunk.len()));
        let batch = RecordBatch::try_new_with_options(schema.clone(), arrays, &options)
            .map_err(|error| Error::internal(doing()).with_source(error))?;
        cut.push(Ok(batch));
    }
    Ok(stream::iter(cut).boxed())
}
