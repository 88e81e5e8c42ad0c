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
use lance_backfill_ports::table::{BatchStream, PublishNote, PublishOutcome, TableVersion};
use lance_backfill_ports::{Error, Result};

use super::disk::SharedDisk;
use super::manifest::{Manifest, column_of_file};
use super::publish::{self, fields_of};

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
        columns: &[String],
        file: &StagedColumnFile,
        rows: &RowSet,
        batch_rows: u32,
    ) -> Result<BatchStream> {
        let staged = fields_of(file)?;
        let disk = self.disk.lock();
        let mut read = vec![];
        for name in columns {
            let field = self.manifest.field(name)?;
            let place = staged.iter().position(|id| *id == field.id);
            let place = place.and_then(|place| i32::try_from(place).ok());
            let values = column_of_file(&disk.files, &file.name, place.unwrap_or(-1))?;
            read.push((self.manifest.arrow_field(field), values));
        }
        batches(file.physical_rows, read, rows, batch_rows)
    }

    async fn stage_columns(
        &self,
        fragment: FragmentId,
        columns: &[String],
        values: BatchStream,
    ) -> Result<StagedColumnFile> {
        let fragment = self.manifest.fragment(fragment)?;
        let doing = format!(
            "cannot stage '{}' of fragment {}",
            columns.join("', '"),
            fragment.id
        );
        let batches: Vec<RecordBatch> = values.try_collect().await?;
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        if u32::try_from(rows) != Ok(fragment.physical_rows) {
            return Err(Error::invalid(format!(
                "{doing}: {rows} values for {} rows",
                fragment.physical_rows
            )));
        }
        let (mut ids, mut staged) = (vec![], vec![]);
        for (place, name) in columns.iter().enumerate() {
            let field = self.manifest.field(name)?;
            let expected = self.manifest.types.get(&field.id);
            let arrays: Vec<&ArrayRef> = (batches.iter())
                .filter_map(|batch| batch.columns().get(place))
                .collect();
            let wrong = (arrays.iter()).find(|array| Some(array.data_type()) != expected);
            if let Some(wrong) = wrong {
                let found = wrong.data_type();
                return Err(Error::invalid(format!("{doing}: values are {found}")));
            }
            let borrowed: Vec<&dyn Array> = arrays.iter().map(|array| array.as_ref()).collect();
            let joined = concat(&borrowed)
                .map_err(|error| Error::invalid(doing.clone()).with_source(error))?;
            ids.push(field.id);
            staged.push(joined);
        }
        let size_bytes = staged.iter().map(size_of).sum();
        let file = self.disk.lock().write(&ids, staged);
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        Ok(StagedColumnFile {
            name: file.name,
            size_bytes,
            physical_rows: fragment.physical_rows,
            over: None,
            descriptor: ids.join(","),
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
        columns: &[String],
        files: &[(FragmentId, StagedColumnFile)],
        note: &PublishNote,
    ) -> Result<PublishOutcome> {
        publish::publish(&mut self.disk.lock(), &self.manifest, columns, files, note)
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
