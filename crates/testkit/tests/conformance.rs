//! The doubles do what the suites claim of the real ones.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use async_trait::async_trait;
use lance_backfill_core::ids::FragmentId;
use lance_backfill_ports::table::Table;
use lance_backfill_testkit::conformance::{self, Foreign, Start, TableFixture};
use lance_backfill_testkit::{Faults, Faulty, ManualClock, MemStateStore, MemTable, Selection};

struct Memory;

struct MemForeign {
    table: MemTable,
    under_test: Arc<dyn Table>,
}

#[async_trait]
impl TableFixture for Memory {
    async fn create(&self, start: Start) -> anyhow::Result<Arc<dyn Foreign>> {
        let Start {
            fragments,
            stable_row_ids,
        } = start;
        let table = MemTable::create("memory", 7, &fragments, stable_row_ids)?;
        let under_test = Arc::new(Faulty::new(table.clone(), Faults::none()));
        Ok(Arc::new(MemForeign { table, under_test }))
    }
}

fn repeated(value: i64, rows: &Selection) -> ArrayRef {
    let count: u64 = rows.values().map(|rows| rows.len()).sum();
    Arc::new((0..count).map(|_| value).collect::<Int64Array>())
}

#[async_trait]
impl Foreign for MemForeign {
    fn table(&self) -> Arc<dyn Table> {
        self.under_test.clone()
    }

    async fn append(&self, rows: RecordBatch) -> anyhow::Result<()> {
        self.table.append(&rows)?;
        Ok(())
    }

    async fn delete(&self, ids: &[i64]) -> anyhow::Result<()> {
        self.table.delete(&self.table.rows_where("id", ids)?)?;
        Ok(())
    }

    async fn update(&self, ids: &[i64], column: &str, value: i64) -> anyhow::Result<()> {
        let rows = self.table.rows_where("id", ids)?;
        self.table
            .update(&rows, &[(column, repeated(value, &rows))])?;
        Ok(())
    }

    async fn patch(&self, ids: &[i64], column: &str, value: i64) -> anyhow::Result<()> {
        let rows = self.table.rows_where("id", ids)?;
        self.table
            .patch(&rows, &[(column, repeated(value, &rows))])?;
        Ok(())
    }

    async fn compact(&self, fragments: &[FragmentId]) -> anyhow::Result<()> {
        self.table.compact(fragments)?;
        Ok(())
    }

    async fn rename(&self, from: &str, to: &str) -> anyhow::Result<()> {
        self.table.rename_column(from, to)?;
        Ok(())
    }

    async fn clean_up(&self) -> anyhow::Result<()> {
        Ok(self.table.clean_up()?)
    }
}

#[tokio::test]
async fn a_table_in_memory_does_what_tables_do() {
    if let Err(error) = conformance::table(&Memory).await {
        panic!("{error:#}");
    }
}

#[tokio::test]
async fn a_state_store_in_memory_does_what_state_stores_do() {
    let store = Faulty::new(MemStateStore::new(ManualClock::at(1)), Faults::none());
    if let Err(error) = conformance::state_store(&store).await {
        panic!("{error:#}");
    }
}
