//! Writing rows as any other program does: for the demo, benchmarks and tests, never for a stage.

use std::sync::Arc;

use arrow_array::RecordBatch;
use lance::Dataset;
use lance::dataset::{InsertBuilder, WriteMode, WriteParams};
use lance_backfill_ports::Result;
use lance_io::object_store::{ObjectStoreParams, StorageOptionsAccessor};

use crate::error::from_lance;
use crate::table::{LanceTable, OpenOptions};

impl LanceTable {
    /// Creates a table from rows; `Invalid` if there is one.
    pub async fn create(uri: &str, rows: Vec<RecordBatch>, options: &OpenOptions) -> Result<Self> {
        let params = WriteParams {
            mode: WriteMode::Create,
            store_params: Some(store_params(options)),
            ..WriteParams::default()
        };
        InsertBuilder::new(uri)
            .with_params(&params)
            .execute(rows)
            .await
            .map_err(|error| from_lance(error, &format!("cannot create table '{uri}'")))?;
        Self::open(uri, options).await
    }

    /// Appends rows; columns that they leave out are NULL. Returns the version that has them.
    pub async fn append(&self, rows: Vec<RecordBatch>) -> Result<u64> {
        let doing = "cannot append rows";
        let params = WriteParams {
            mode: WriteMode::Append,
            ..WriteParams::default()
        };
        let dataset = InsertBuilder::new(self.newest_dataset(doing).await?)
            .with_params(&params)
            .execute(rows)
            .await
            .map_err(|error| from_lance(error, doing))?;
        Ok(self.remember(dataset))
    }

    /// Deletes the rows that a SQL predicate selects; returns how many.
    pub async fn delete(&self, predicate: &str) -> Result<u64> {
        let doing = "cannot delete rows";
        let mut dataset = Dataset::clone(&*self.newest_dataset(doing).await?);
        let deleted = dataset
            .delete(predicate)
            .await
            .map_err(|error| from_lance(error, doing))?;
        self.remember(dataset);
        Ok(deleted.num_deleted_rows)
    }
}

/// Lance's form of our options.
pub(crate) fn store_params(options: &OpenOptions) -> ObjectStoreParams {
    let accessor = StorageOptionsAccessor::with_static_options(options.storage_options.clone());
    ObjectStoreParams {
        storage_options_accessor: Some(Arc::new(accessor)),
        ..ObjectStoreParams::default()
    }
}
