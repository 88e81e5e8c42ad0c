//! A table of versions: read, stage, publish, declare.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, SchemaRef};
use async_trait::async_trait;
use futures::stream::BoxStream;
use lance_backfill_core::checkpoint::StagedColumnFile;
use lance_backfill_core::history::Change;
use lance_backfill_core::ids::FragmentId;
use lance_backfill_core::rows::RowSet;
use lance_backfill_core::table::{SeenVersion, TableView};

use crate::Result;

/// Batches of physical rows, in file order.
pub type BatchStream = BoxStream<'static, Result<RecordBatch>>;

/// A table that other programs read and write at the same time.
#[async_trait]
pub trait Table: Send + Sync {
    /// Where it is, as the user named it.
    fn uri(&self) -> &str;

    /// The newest version.
    async fn latest(&self) -> Result<Arc<dyn TableVersion>>;

    /// An older version, or `None` if it was cleaned up.
    async fn at(&self, version: u64) -> Result<Option<Arc<dyn TableVersion>>>;

    /// A version that somebody saw, or `None` if it is not there; there may be newer ones.
    async fn seen(&self, seen: &SeenVersion) -> Result<Option<Arc<dyn TableVersion>>> {
        self.at(seen.version).await
    }

    /// What the versions after `after` up to `upto` did, oldest first; a version that is gone is `Lost`.
    async fn changes(&self, after: u64, upto: u64) -> Result<Vec<Change>>;

    /// Applies a change of schema or metadata to the newest version; retries lost races itself.
    ///
    /// `Conflict` when what the change expects does not hold any more; nothing was changed then.
    async fn edit(&self, edit: &Edit) -> Result<EditOutcome>;
}

/// A change of schema or metadata.
#[derive(Debug, Clone)]
pub enum Edit {
    /// Adds nullable columns without values, all or none.
    AddColumns {
        /// The columns, in order.
        columns: Vec<NewColumn>,
    },
    /// Removes columns and their values, all or none.
    DropColumns {
        /// Names.
        names: Vec<String>,
    },
    /// Sets or removes (`None`) field metadata, the same of each column, all or none.
    FieldMetadata {
        /// Columns.
        names: Vec<String>,
        /// Entries.
        entries: BTreeMap<String, Option<String>>,
    },
    /// Sets or removes (`None`) table metadata if the present values are the expected ones.
    TableMetadata {
        /// New values.
        entries: BTreeMap<String, Option<String>>,
        /// Values that must still stand.
        expected: BTreeMap<String, Option<String>>,
    },
}

/// A column to add.
#[derive(Debug, Clone, PartialEq)]
pub struct NewColumn {
    /// Name.
    pub name: String,
    /// Type.
    pub data_type: DataType,
    /// Field metadata.
    pub metadata: BTreeMap<String, String>,
}

/// How an edit ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum EditOutcome {
    /// Done, in this version.
    Done {
        /// Version that has it.
        version: u64,
    },
    /// What it expects does not hold; nothing was changed.
    Conflict {
        /// One line for a person.
        reason: String,
    },
}

/// One version of a table; its bytes never change.
#[async_trait]
pub trait TableVersion: Send + Sync {
    /// Schema, fragments and metadata.
    fn view(&self) -> &TableView;

    /// Where it is, for others who then need not look for it; `None` where that would not help them.
    fn where_seen(&self) -> Option<SeenVersion> {
        None
    }

    /// Columns with the Arrow types that reading them gives: blobs are `LargeBinary`, whatever is stored.
    fn schema(&self) -> SchemaRef;

    /// Deleted rows of a fragment.
    async fn deleted_rows(&self, fragment: FragmentId) -> Result<RowSet>;

    /// Stable ids of a fragment's physical rows, in order; `None` if the table has none.
    async fn row_ids(&self, fragment: FragmentId) -> Result<Option<Vec<u64>>>;

    /// Reads columns of the given physical rows of a fragment, deleted ones included.
    ///
    /// A batch has at most `batch_rows` rows, and fewer where wide rows would fill the memory.
    async fn read(
        &self,
        fragment: FragmentId,
        columns: &[String],
        rows: &RowSet,
        batch_rows: u32,
    ) -> Result<BatchStream>;

    /// Reads the given physical rows of columns from a staged file; its fragment may be gone.
    async fn read_staged(
        &self,
        columns: &[String],
        file: &StagedColumnFile,
        rows: &RowSet,
        batch_rows: u32,
    ) -> Result<BatchStream>;

    /// Writes one file of columns for all physical rows of a fragment; no reader sees it before it is
    /// published.
    ///
    /// Each batch has exactly these columns, in this order. The file is durable when this returns.
    /// `over` of the result is left empty for the caller.
    async fn stage_columns(
        &self,
        fragment: FragmentId,
        columns: &[String],
        values: BatchStream,
    ) -> Result<StagedColumnFile>;

    /// Whether a staged file is there with its size.
    async fn staged_exists(&self, file: &StagedColumnFile) -> Result<bool>;

    /// Publishes staged files of the same columns on this version, which must be freshly loaded.
    ///
    /// Conditional: lands only if no newer version touched one of the columns in the same fragments.
    async fn publish(
        &self,
        columns: &[String],
        files: &[(FragmentId, StagedColumnFile)],
        note: &PublishNote,
    ) -> Result<PublishOutcome>;
}

/// What a published version says of its origin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PublishNote {
    /// Transaction properties.
    pub properties: BTreeMap<String, String>,
}

/// How a publication ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum PublishOutcome {
    /// Readers see it.
    Published {
        /// Version that has it.
        version: u64,
    },
    /// Something else touched the same place; nothing was published.
    Conflict {
        /// One line for a person.
        reason: String,
    },
    /// The answer was lost: load the newest version and look for the files.
    MaybeLanded,
}
