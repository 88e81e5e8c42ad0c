//! The column that the simulation keeps: `p = a * b`, with a filter on some seeds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::Context;
use arrow_array::{Array, BooleanArray, Int64Array, RecordBatch};
use async_trait::async_trait;
use lance_backfill_core::calls::End;
use lance_backfill_core::checkpoint::{Fault, FaultKind};
use lance_backfill_core::definition::{Definition, Input, bind};
use lance_backfill_core::table::TableView;
use lance_backfill_ports::compute::{
    Answer, Call, CallError, CompiledFilter, Compute, Filters, RowFilter,
};
use lance_backfill_ports::state_store::StateStore;
use lance_backfill_stages::column::Column;
use lance_backfill_stages::column_store::ColumnStore;

/// What the field says of its definition.
pub(crate) const BINDING: &str = "b-1";

/// Multiplies, and counts the rows that it was called with.
#[derive(Default)]
pub(crate) struct Product {
    rows: AtomicU64,
    /// Whether it cannot be called: a fault of whole batches.
    is_down: AtomicBool,
}

impl Product {
    pub(crate) fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    pub(crate) fn is_down(&self) -> bool {
        self.is_down.load(Ordering::Relaxed)
    }

    pub(crate) fn set_down(&self, down: bool) {
        self.is_down.store(down, Ordering::Relaxed);
    }
}

pub(crate) fn ints(batch: &RecordBatch, name: &str) -> Option<Int64Array> {
    let column = batch.column_by_name(name)?;
    column.as_any().downcast_ref::<Int64Array>().cloned()
}

fn fault(message: &str) -> CallError {
    CallError::Fault {
        message: message.to_owned(),
    }
}

#[async_trait]
impl Compute for Product {
    async fn call(&self, call: Call<'_>) -> Result<Answer, Fault> {
        if self.is_down() {
            return Err(Fault {
                kind: FaultKind::Function,
                message: "nobody answers".to_owned(),
                traceback: None,
            });
        }
        let missing = |name: &str| Fault {
            kind: FaultKind::Schema,
            message: format!("no {name}"),
            traceback: None,
        };
        let left = ints(&call.rows, "a").ok_or_else(|| missing("a"))?;
        let right = ints(&call.rows, "b").ok_or_else(|| missing("b"))?;
        self.rows
            .fetch_add(call.rows.num_rows() as u64, Ordering::Relaxed);
        let pairs = left.iter().zip(right.iter());
        let product: Int64Array = pairs.map(|(left, right)| Some(left? * right?)).collect();
        Ok(Answer {
            values: vec![Arc::new(product)],
            failed: vec![],
            end: End::Complete,
            busy: None,
        })
    }
}

/// Selects rows whose `b` is odd.
struct Odd;

impl RowFilter for Odd {
    fn select(&self, batch: &RecordBatch) -> Result<BooleanArray, CallError> {
        let column = ints(batch, "b").ok_or_else(|| fault("no b"))?;
        Ok(column.iter().map(|b| Some(b? % 2 != 0)).collect())
    }
}

/// There are no jobs in the simulation yet.
struct NoFilters;

impl Filters for NoFilters {
    fn compile(&self, filter: &str) -> lance_backfill_ports::Result<CompiledFilter> {
        Err(lance_backfill_ports::Error::invalid(filter))
    }
}

/// The column as it is bound in a version.
pub(crate) fn bound(
    view: &TableView,
    filtered: bool,
    function: &Arc<Product>,
    store: &Arc<dyn StateStore>,
    cached: Option<&Arc<ColumnStore>>,
) -> anyhow::Result<Column> {
    let input = |name: &str| {
        let field = view.field(name).context("an input is gone")?;
        anyhow::Ok(Input {
            id: field.id,
            name: name.to_owned(),
        })
    };
    let inputs = vec![input("a")?, input("b")?];
    let mut definition = Definition::sql("p", "int64", "a * b", "a * b", inputs);
    if filtered {
        definition.filter = Some("b % 2 <> 0".to_owned());
        definition.filter_inputs = vec![input("b")?];
    }
    let bound = bind(&BINDING.parse()?, definition, view)
        .map_err(|detached| anyhow::anyhow!("{detached:?}"))?;
    let filter = filtered.then(|| -> Arc<dyn RowFilter> { Arc::new(Odd) });
    Ok(Column {
        bound,
        store: cached
            .cloned()
            .unwrap_or_else(|| Arc::new(ColumnStore::new(store.clone()))),
        function: function.clone(),
        has_dependents: false,
        filter,
        filters: Arc::new(NoFilters),
    })
}
