//! Lance does what the suites claim, and so the doubles that pass them do what Lance does.

use std::sync::Arc;

use arrow_array::RecordBatch;
use async_trait::async_trait;
use lance::Dataset;
use lance::dataset::cleanup::{CleanupPolicy, cleanup_old_versions};
use lance::dataset::optimize::{CompactionOptions, compact_files};
use lance::dataset::{
    ColumnAlteration, InsertBuilder, MergeInsertBuilder, MergeInsertWriteMode, UpdateBuilder,
    WhenMatched, WhenNotMatched, WriteMode, WriteParams,
};
use lance_backfill_core::ids::FragmentId;
use lance_backfill_lance::{LanceTable, OpenOptions};
use lance_backfill_ports::table::Table;
use lance_backfill_testkit::conformance::{self, Foreign, Start, TableFixture};
use tempfile::TempDir;

struct Lance;

/// A table in a folder of its own; each write opens it anew, as another program would.
struct LanceForeign {
    folder: TempDir,
    table: Arc<LanceTable>,
}

impl LanceForeign {
    fn uri(&self) -> String {
        uri(&self.folder)
    }

    async fn open(&self) -> anyhow::Result<Dataset> {
        Ok(Dataset::open(&self.uri()).await?)
    }
}

fn uri(folder: &TempDir) -> String {
    folder.path().join("table").display().to_string()
}

fn with_ids(ids: &[i64]) -> String {
    let ids: Vec<String> = ids.iter().map(i64::to_string).collect();
    format!("id IN ({})", ids.join(", "))
}

#[async_trait]
impl TableFixture for Lance {
    async fn create(&self, start: Start) -> anyhow::Result<Arc<dyn Foreign>> {
        let folder = TempDir::new()?;
        let uri = uri(&folder);
        let Start {
            fragments,
            stable_row_ids,
        } = start;
        for (place, rows) in fragments.into_iter().enumerate() {
            let params = WriteParams {
                mode: match place {
                    0 => WriteMode::Create,
                    _ => WriteMode::Append,
                },
                enable_stable_row_ids: stable_row_ids,
                ..WriteParams::default()
            };
            let insert = InsertBuilder::new(uri.as_str());
            insert.with_params(&params).execute(vec![rows]).await?;
        }
        let table = LanceTable::open(&uri, &OpenOptions::default()).await?;
        let table = Arc::new(table);
        Ok(Arc::new(LanceForeign { folder, table }))
    }
}

#[async_trait]
impl Foreign for LanceForeign {
    fn table(&self) -> Arc<dyn Table> {
        self.table.clone()
    }

    async fn append(&self, rows: RecordBatch) -> anyhow::Result<()> {
        let params = WriteParams {
            mode: WriteMode::Append,
            ..WriteParams::default()
        };
        let insert = InsertBuilder::new(Arc::new(self.open().await?));
        insert.with_params(&params).execute(vec![rows]).await?;
        Ok(())
    }

    async fn delete(&self, ids: &[i64]) -> anyhow::Result<()> {
        self.open().await?.delete(&with_ids(ids)).await?;
        Ok(())
    }

    async fn update(&self, ids: &[i64], column: &str, value: i64) -> anyhow::Result<()> {
        let update = UpdateBuilder::new(Arc::new(self.open().await?))
            .update_where(&with_ids(ids))?
            .set(column, &value.to_string())?
            .build()?;
        update.execute().await?;
        Ok(())
    }

    async fn patch(&self, ids: &[i64], column: &str, value: i64) -> anyhow::Result<()> {
        let rows = conformance::id_and(ids, column, value)?;
        let dataset = Arc::new(self.open().await?);
        let patch = MergeInsertBuilder::try_new(dataset, vec!["id".to_owned()])?
            .when_matched(WhenMatched::UpdateAll)
            .when_not_matched(WhenNotMatched::DoNothing)
            .write_mode(MergeInsertWriteMode::RewriteColumns)
            .try_build()?;
        Box::pin(patch.execute_batches(vec![rows])).await?;
        Ok(())
    }

    async fn compact(&self, fragments: &[FragmentId]) -> anyhow::Result<()> {
        let mut dataset = self.open().await?;
        let excluded_fragment_ids = dataset
            .get_fragments()
            .iter()
            .filter(|fragment| !fragments.contains(&fragment.metadata().id))
            .map(|fragment| u32::try_from(fragment.id()))
            .collect::<Result<_, _>>()?;
        let options = CompactionOptions {
            excluded_fragment_ids,
            materialize_deletions_threshold: 0.0,
            ..CompactionOptions::default()
        };
        Box::pin(compact_files(&mut dataset, options, None)).await?;
        Ok(())
    }

    async fn rename(&self, from: &str, to: &str) -> anyhow::Result<()> {
        let alteration = ColumnAlteration::new(from.to_owned()).rename(to.to_owned());
        self.open().await?.alter_columns(&[alteration]).await?;
        Ok(())
    }

    async fn clean_up(&self) -> anyhow::Result<()> {
        let dataset = self.open().await?;
        let policy = CleanupPolicy {
            before_version: Some(dataset.version_id()),
            ..CleanupPolicy::default()
        };
        cleanup_old_versions(&dataset, policy).await?;
        Ok(())
    }
}

#[tokio::test]
async fn a_lance_table_does_what_tables_do() {
    if let Err(error) = Box::pin(conformance::table(&Lance)).await {
        panic!("{error:#}");
    }
}

#[tokio::test]
async fn a_state_store_beside_a_table_does_what_state_stores_do() {
    let start = Start {
        fragments: vec![conformance::id_and(&[1], "a", 1).expect("a batch")],
        stable_row_ids: false,
    };
    let folder = TempDir::new().expect("a folder");
    let uri = uri(&folder);
    let table = LanceTable::create(&uri, start.fragments, &OpenOptions::default())
        .await
        .expect("creates");
    let store = table.state_store("_backfill").await.expect("a store");
    let checked = conformance::state_store(&store.folder("binding")).await;
    if let Err(error) = checked {
        panic!("{error:#}");
    }
}
