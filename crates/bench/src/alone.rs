//! What Lance alone takes, each in a process of its own, without a line of lance-backfill.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow_arith::numeric::mul;
use arrow_array::{ArrayRef, Float64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use clap::Subcommand;
use futures::{StreamExt, TryStreamExt, stream};
use lance::Dataset;
use lance::dataset::fragment::FileFragment;
use lance::dataset::transaction::{DataReplacementGroup, Operation, TransactionBuilder};
use lance::dataset::{CommitBuilder, NewColumnTransform};
use serde_json::json;

use crate::child::now;

/// Rows of one batch, as many as lance-backfill takes.
const BATCH_ROWS: usize = 65_536;

/// Something that Lance does alone; prints the seconds that it took as JSON.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Alone {
    /// Scans a and b, multiplies, writes the column files of p, and commits once.
    BareLoop { table: PathBuf },
    /// Lance's own add_columns with the expression a * b.
    AddColumns { table: PathBuf },
    /// Opens the newest version, and commits a column file of the newest fragment to it.
    OpenAndCommit { table: PathBuf, column: String },
    /// Opens the newest version.
    Open { table: PathBuf },
}

impl Alone {
    /// The call of this program that does it.
    pub(crate) fn command(&self) -> Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("alone");
        match self {
            Self::BareLoop { table } => command.arg("bare-loop").arg(table),
            Self::AddColumns { table } => command.arg("add-columns").arg(table),
            Self::OpenAndCommit { table, column } => {
                command.arg("open-and-commit").arg(table).arg(column)
            }
            Self::Open { table } => command.arg("open").arg(table),
        };
        Ok(command)
    }

    /// Does it, and says how long it took: from opening the table to the last commit.
    pub(crate) async fn run(&self) -> Result<serde_json::Value> {
        let started = now();
        Ok(match self {
            Self::BareLoop { table } => {
                bare_loop(open(table).await?).await?;
                json!({"seconds": started.elapsed().as_secs_f64()})
            }
            Self::AddColumns { table } => {
                let product = vec![("p".to_owned(), "a * b".to_owned())];
                let columns = NewColumnTransform::SqlExpressions(product);
                open(table).await?.add_columns(columns, None, None).await?;
                json!({"seconds": started.elapsed().as_secs_f64()})
            }
            Self::OpenAndCommit { table, column } => {
                let dataset = open(table).await?;
                let opened = started.elapsed();
                let group = constant_column(&dataset, column).await?;
                let staged = now();
                commit(Arc::new(dataset), vec![group]).await?;
                let committed = staged.elapsed();
                json!({"open_seconds": opened.as_secs_f64(), "commit_seconds": committed.as_secs_f64()})
            }
            Self::Open { table } => {
                open(table).await?;
                json!({"seconds": started.elapsed().as_secs_f64()})
            }
        })
    }
}

async fn open(table: &Path) -> Result<Dataset> {
    Ok(Dataset::open(&table.display().to_string()).await?)
}

/// The least that filling a column takes: as many fragments at a time as there are cores.
async fn bare_loop(dataset: Dataset) -> Result<()> {
    let dataset = Arc::new(dataset);
    let at_once = std::thread::available_parallelism().map_or(1, usize::from);
    let groups = stream::iter(dataset.get_fragments())
        .map(|fragment| {
            let dataset = dataset.clone();
            async move { tokio::spawn(multiply(dataset, fragment)).await? }
        })
        .buffer_unordered(at_once)
        .try_collect()
        .await?;
    commit(dataset, groups).await
}

async fn multiply(dataset: Arc<Dataset>, fragment: FileFragment) -> Result<DataReplacementGroup> {
    let schema = dataset.schema().project(&["p"])?;
    let mut scan = dataset.scan();
    scan.with_fragments(vec![fragment.metadata().clone()])
        .project(&["a", "b"])?
        .batch_size(BATCH_ROWS)
        .scan_in_order(true);
    let products = (scan.try_into_stream().await?).map(|batch| {
        let batch = batch?;
        one_column("p", mul(batch.column(0), batch.column(1))?)
    });
    Ok(fragment.write_columns(products, &schema).await?)
}

/// A column file for the newest fragment: the smallest commit that a computed column can need.
async fn constant_column(dataset: &Dataset, column: &str) -> Result<DataReplacementGroup> {
    let schema = dataset.schema().project(&[column])?;
    let fragment = dataset.get_fragments().pop().context("a fragment")?;
    let rows = fragment.physical_rows().await?;
    let values = Float64Array::from_iter_values((0..rows).map(|row| row as f64));
    let batch = one_column(column, Arc::new(values));
    Ok(fragment
        .write_columns(stream::iter([batch]), &schema)
        .await?)
}

fn one_column(name: &str, values: ArrayRef) -> lance::Result<RecordBatch> {
    let schema = Schema::new(vec![Field::new(name, DataType::Float64, true)]);
    Ok(RecordBatch::try_new(Arc::new(schema), vec![values])?)
}

async fn commit(dataset: Arc<Dataset>, replacements: Vec<DataReplacementGroup>) -> Result<()> {
    let operation = Operation::DataReplacement { replacements };
    let transaction = TransactionBuilder::new(dataset.version_id(), operation).build();
    CommitBuilder::new(dataset)
        .with_skip_auto_cleanup(true)
        .execute(transaction)
        .await?;
    Ok(())
}
