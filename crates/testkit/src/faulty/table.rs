//! A table that fails as planned, its versions included.

use std::sync::Arc;

use arrow_schema::SchemaRef;
use async_trait::async_trait;
use lance_backfill_core::checkpoint::StagedColumnFile;
use lance_backfill_core::history::Change;
use lance_backfill_core::ids::FragmentId;
use lance_backfill_core::rows::RowSet;
use lance_backfill_core::table::TableView;
use lance_backfill_ports::Result;
use lance_backfill_ports::table::{
    BatchStream, Edit, EditOutcome, PublishNote, PublishOutcome, Table, TableVersion,
};

use super::{Faults, Faulty, Verdict};

fn wrap(inner: Arc<dyn TableVersion>, faults: &Faults) -> Arc<dyn TableVersion> {
    Arc::new(Faulty::new(inner, faults.clone()))
}

#[async_trait]
impl<T: Table> Table for Faulty<T> {
    fn uri(&self) -> &str {
        self.inner.uri()
    }

    async fn latest(&self) -> Result<Arc<dyn TableVersion>> {
        let latest = self.faults.call("latest", self.inner.latest()).await?;
        Ok(wrap(latest, &self.faults))
    }

    async fn at(&self, version: u64) -> Result<Option<Arc<dyn TableVersion>>> {
        let found = self.faults.call("at", self.inner.at(version)).await?;
        Ok(found.map(|version| wrap(version, &self.faults)))
    }

    async fn changes(&self, after: u64, upto: u64) -> Result<Vec<Change>> {
        let call = self.inner.changes(after, upto);
        self.faults.call("changes", call).await
    }

    async fn edit(&self, edit: &Edit) -> Result<EditOutcome> {
        self.faults.call("edit", self.inner.edit(edit)).await
    }
}

#[async_trait]
impl TableVersion for Faulty<Arc<dyn TableVersion>> {
    fn view(&self) -> &TableView {
        self.inner.view()
    }

    fn schema(&self) -> SchemaRef {
        self.inner.schema()
    }

    async fn deleted_rows(&self, fragment: FragmentId) -> Result<RowSet> {
        let call = self.inner.deleted_rows(fragment);
        self.faults.call("deleted_rows", call).await
    }

    async fn row_ids(&self, fragment: FragmentId) -> Result<Option<Vec<u64>>> {
        let call = self.inner.row_ids(fragment);
        self.faults.call("row_ids", call).await
    }

    async fn read(
        &self,
        fragment: FragmentId,
        columns: &[String],
        rows: &RowSet,
        batch_rows: u32,
    ) -> Result<BatchStream> {
        let call = self.inner.read(fragment, columns, rows, batch_rows);
        self.faults.call("read", call).await
    }

    async fn read_staged(
        &self,
        columns: &[String],
        file: &StagedColumnFile,
        rows: &RowSet,
        batch_rows: u32,
    ) -> Result<BatchStream> {
        let call = self.inner.read_staged(columns, file, rows, batch_rows);
        self.faults.call("read_staged", call).await
    }

    async fn stage_columns(
        &self,
        fragment: FragmentId,
        columns: &[String],
        values: BatchStream,
    ) -> Result<StagedColumnFile> {
        let call = self.inner.stage_columns(fragment, columns, values);
        self.faults.call("stage_columns", call).await
    }

    async fn staged_exists(&self, file: &StagedColumnFile) -> Result<bool> {
        let call = self.inner.staged_exists(file);
        self.faults.call("staged_exists", call).await
    }

    async fn publish(
        &self,
        columns: &[String],
        files: &[(FragmentId, StagedColumnFile)],
        note: &PublishNote,
    ) -> Result<PublishOutcome> {
        let verdict = self.faults.before("publish").await?;
        let outcome = self.inner.publish(columns, files, note).await?;
        Ok(match verdict {
            Verdict::Works => outcome,
            Verdict::AnswerLost => PublishOutcome::MaybeLanded,
        })
    }
}
