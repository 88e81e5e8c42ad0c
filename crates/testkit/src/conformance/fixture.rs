//! What a suite needs of a table besides the port: to create it, and other programs that write to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, ensure};
use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use lance_backfill_core::checkpoint::StagedColumnFile;
use lance_backfill_core::ids::FragmentId;
use lance_backfill_core::rows::RowSet;
use lance_backfill_core::table::{FieldView, FragmentView};
use lance_backfill_ports::table::{
    Edit, EditOutcome, NewColumn, PublishNote, PublishOutcome, Table, TableVersion,
};

/// How a table starts.
#[derive(Debug, Clone)]
pub struct Start {
    /// One batch for each fragment, all of the same columns.
    pub fragments: Vec<RecordBatch>,
    /// Whether rows keep an id when they move.
    pub stable_row_ids: bool,
}

/// Creates tables of one kind.
#[async_trait]
pub trait TableFixture: Send + Sync {
    /// Creates an empty place with a table in it.
    async fn create(&self, start: Start) -> anyhow::Result<Arc<dyn Foreign>>;
}

/// Other programs that write to the table; rows are named by the values of its `Int64` column `id`.
#[async_trait]
pub trait Foreign: Send + Sync {
    /// The table as the port under test.
    fn table(&self) -> Arc<dyn Table>;
    /// Appends rows; columns may be left out.
    async fn append(&self, rows: RecordBatch) -> anyhow::Result<()>;
    /// Deletes rows.
    async fn delete(&self, ids: &[i64]) -> anyhow::Result<()>;
    /// Sets an `Int64` column of rows to one value; the rows move into a new fragment.
    async fn update(&self, ids: &[i64], column: &str, value: i64) -> anyhow::Result<()>;
    /// Sets an `Int64` column of rows to one value in place.
    async fn patch(&self, ids: &[i64], column: &str, value: i64) -> anyhow::Result<()>;
    /// Compacts the given fragments into one, and no others.
    async fn compact(&self, fragments: &[FragmentId]) -> anyhow::Result<()>;
    /// Renames a column.
    async fn rename(&self, from: &str, to: &str) -> anyhow::Result<()>;
    /// Removes all versions but the newest.
    async fn clean_up(&self) -> anyhow::Result<()>;
}

/// Rows with the ids of a range and `a` = 10 · id, `b` = id + 1.
pub(super) fn rows(ids: std::ops::Range<i64>) -> anyhow::Result<RecordBatch> {
    let nullable = |name: &str| Field::new(name, DataType::Int64, true);
    let schema = Schema::new(vec![nullable("id"), nullable("a"), nullable("b")]);
    let column = |value: fn(i64) -> i64| -> ArrayRef {
        Arc::new(ids.clone().map(value).collect::<Int64Array>())
    };
    let columns = vec![
        column(|id| id),
        column(|id| 10 * id),
        column(|id| id.saturating_add(1)),
    ];
    Ok(RecordBatch::try_new(Arc::new(schema), columns)?)
}

/// Rows of only an `id` and one other column, the same value in each.
pub fn id_and(ids: &[i64], column: &str, value: i64) -> anyhow::Result<RecordBatch> {
    let nullable = |name: &str| Field::new(name, DataType::Int64, true);
    let schema = Schema::new(vec![nullable("id"), nullable(column)]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(ids.to_vec())),
        Arc::new(Int64Array::from(vec![value; ids.len()])),
    ];
    Ok(RecordBatch::try_new(Arc::new(schema), columns)?)
}

/// A table of three fragments of ten rows, ids 0 to 29, and an added column `v` without values.
pub(super) async fn three_fragments(
    fixture: &dyn TableFixture,
    stable_row_ids: bool,
) -> anyhow::Result<Bench> {
    let fragments = vec![rows(0..10)?, rows(10..20)?, rows(20..30)?];
    let start = Start {
        fragments,
        stable_row_ids,
    };
    let foreign = fixture.create(start).await?;
    let bench = Bench {
        table: foreign.table(),
        foreign,
    };
    bench.add_column("v").await?;
    Ok(bench)
}

/// A table under test and those who write to it.
pub(super) struct Bench {
    pub(super) table: Arc<dyn Table>,
    pub(super) foreign: Arc<dyn Foreign>,
}

impl Bench {
    pub(super) async fn latest(&self) -> anyhow::Result<Arc<dyn TableVersion>> {
        Ok(self.table.latest().await?)
    }

    pub(super) async fn add_column(&self, name: &str) -> anyhow::Result<()> {
        let columns = vec![new_column(name)];
        self.edited(&Edit::AddColumns { columns }).await.map(drop)
    }

    /// An edit that must be done.
    pub(super) async fn edited(&self, edit: &Edit) -> anyhow::Result<u64> {
        match self.table.edit(edit).await? {
            EditOutcome::Done { version } => Ok(version),
            EditOutcome::Conflict { reason } => anyhow::bail!("the edit conflicts: {reason}"),
        }
    }

    /// Stages and publishes a column of a fragment on the newest version.
    pub(super) async fn fill(
        &self,
        column: &str,
        fragment: FragmentId,
        base: i64,
    ) -> anyhow::Result<u64> {
        let version = self.latest().await?;
        let file = stage(version.as_ref(), fragment, column, base).await?;
        match publish(version.as_ref(), column, fragment, &file).await? {
            PublishOutcome::Published { version } => Ok(version),
            other => anyhow::bail!("publishing on the newest version: {other:?}"),
        }
    }

    /// Values of a column by id, over all live rows.
    pub(super) async fn values(&self, column: &str) -> anyhow::Result<BTreeMap<i64, Option<i64>>> {
        let version = self.latest().await?;
        let mut found = BTreeMap::new();
        for fragment in &version.view().fragments {
            let deleted = version.deleted_rows(fragment.id).await?;
            let live = RowSet::full(fragment.physical_rows).difference(&deleted);
            let ids = read(version.as_ref(), fragment.id, "id", &live).await?;
            let values = read(version.as_ref(), fragment.id, column, &live).await?;
            for (id, value) in ids.into_iter().zip(values) {
                let before = found.insert(id.context("a row without id")?, value);
                ensure!(before.is_none(), "row {id:?} is there twice");
            }
        }
        Ok(found)
    }

    /// The newest fragment.
    pub(super) async fn last_fragment(&self) -> anyhow::Result<FragmentView> {
        let version = self.latest().await?;
        let last = version.view().fragments.last().cloned();
        last.context("a table without fragments")
    }

    /// A field of the newest version.
    pub(super) async fn field(&self, name: &str) -> anyhow::Result<FieldView> {
        let version = self.latest().await?;
        let field = version.view().field(name).cloned();
        field.with_context(|| format!("no column '{name}'"))
    }
}

/// Reads rows of an `Int64` column.
pub(super) async fn read(
    version: &dyn TableVersion,
    fragment: FragmentId,
    column: &str,
    rows: &RowSet,
) -> anyhow::Result<Vec<Option<i64>>> {
    let columns = [column.to_owned()];
    let batches = version.read(fragment, &columns, rows, 1024).await?;
    let batches: Vec<RecordBatch> = batches.try_collect().await?;
    values_of(&batches, column)
}

/// Values of an `Int64` column of batches.
pub(super) fn values_of(batches: &[RecordBatch], column: &str) -> anyhow::Result<Vec<Option<i64>>> {
    let mut values = vec![];
    for batch in batches {
        let array = batch.column_by_name(column).context("column not read")?;
        let array = array
            .as_any()
            .downcast_ref::<Int64Array>()
            .context("column is not int64")?;
        values.extend(array.iter());
    }
    Ok(values)
}

/// An `Int64` column to add.
pub(super) fn new_column(name: &str) -> NewColumn {
    NewColumn {
        name: name.to_owned(),
        data_type: DataType::Int64,
        metadata: BTreeMap::from([("made.by".to_owned(), "us".to_owned())]),
    }
}

/// Stages `base`, `base` + 1, … for the physical rows of a fragment, in two batches.
pub(super) async fn stage(
    version: &dyn TableVersion,
    fragment: FragmentId,
    column: &str,
    base: i64,
) -> anyhow::Result<StagedColumnFile> {
    stage_group(version, fragment, &[(column, base)]).await
}

/// Stages several columns in one file: of each its base, base + 1, ….
pub(super) async fn stage_group(
    version: &dyn TableVersion,
    fragment: FragmentId,
    columns: &[(&str, i64)],
) -> anyhow::Result<StagedColumnFile> {
    let view = version.view().fragment(fragment).context("no fragment")?;
    let rows = i64::from(view.physical_rows);
    let halves = [0..rows / 2, rows / 2..rows];
    let batch = |half: std::ops::Range<i64>| {
        let column = |(name, base): &(&str, i64)| {
            let values: Int64Array = half.clone().map(|row| base + row).collect();
            ((*name).to_owned(), Arc::new(values) as ArrayRef)
        };
        RecordBatch::try_from_iter(columns.iter().map(column))
    };
    let halves = halves.into_iter().filter(|half| !half.is_empty());
    let batches = halves.map(batch).collect::<Result<Vec<_>, _>>()?;
    let names: Vec<String> = columns.iter().map(|(name, _)| (*name).to_owned()).collect();
    let stream = stream::iter(batches.into_iter().map(Ok)).boxed();
    Ok(version.stage_columns(fragment, &names, stream).await?)
}

/// Publishes one file without a word about its origin.
pub(super) async fn publish(
    version: &dyn TableVersion,
    column: &str,
    fragment: FragmentId,
    file: &StagedColumnFile,
) -> anyhow::Result<PublishOutcome> {
    publish_group(version, &[column], fragment, file).await
}

/// The same of a file of several columns.
pub(super) async fn publish_group(
    version: &dyn TableVersion,
    columns: &[&str],
    fragment: FragmentId,
    file: &StagedColumnFile,
) -> anyhow::Result<PublishOutcome> {
    let files = [(fragment, file.clone())];
    let names: Vec<String> = columns.iter().map(|name| (*name).to_owned()).collect();
    let note = PublishNote::default();
    Ok(version.publish(&names, &files, &note).await?)
}
