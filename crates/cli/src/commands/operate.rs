//! `approve` and `reconcile`: what an operator decides and tidies up.

use lance_backfill_embedded::catalog::Catalog;
use lance_backfill_embedded::jobs::Released;
use lance_backfill_ports::Result;
use serde::Serialize;

use crate::args::{ApproveArguments, ProcessArguments, ReconcileArguments};
use crate::exit::Exit;
use crate::output::{self, number};
use crate::service::Through;

#[derive(Serialize)]
struct Approved {
    table: String,
    column: String,
    /// Whether something waited for approval.
    was_held: bool,
    rows_approved: u64,
}

pub(super) async fn approve(
    arguments: &ApproveArguments,
    process: &ProcessArguments,
    json: bool,
) -> Result<Exit> {
    let target = &arguments.target;
    let through = Through::to_write(&target.table, process).await?;
    let engine = super::open(&target.table, process, None).await?;
    let catalog = Catalog::read(engine.latest().await?.view())?;
    let column = catalog.expect(&target.column)?.name();
    let (released, rows) = engine.approve(column, arguments.up_to).await?;
    if let Some(through) = &through {
        through.wake().await?;
    }
    let report = Approved {
        table: target.table.clone(),
        column: column.to_owned(),
        was_held: released != Released::NothingHeld,
        rows_approved: rows,
    };
    Ok(output::result(json, &report, || match report.was_held {
        true => format!(
            "approved {} rows of '{}'; they are computed unattended, or by 'refresh'",
            number(rows),
            report.column
        ),
        false => format!("nothing of '{}' waits for approval", report.column),
    }))
}

#[derive(Serialize)]
struct Reconciled {
    table: String,
    columns: Vec<ReconciledColumn>,
}

#[derive(Serialize)]
struct ReconciledColumn {
    column: String,
    objects_deleted: usize,
}

pub(super) async fn reconcile(
    arguments: &ReconcileArguments,
    process: &ProcessArguments,
    json: bool,
) -> Result<Exit> {
    let engine = super::open(&arguments.table, process, None).await?;
    let catalog = Catalog::read(engine.latest().await?.view())?;
    let mut columns = vec![];
    for bound in catalog.acting() {
        columns.push(ReconciledColumn {
            column: bound.name.clone(),
            objects_deleted: engine.reconcile(&bound.name, arguments.no_grace).await?,
        });
    }
    let report = Reconciled {
        table: arguments.table.clone(),
        columns,
    };
    Ok(output::result(json, &report, || {
        let rows: Vec<Vec<String>> = (report.columns.iter())
            .map(|column| vec![column.column.clone(), column.objects_deleted.to_string()])
            .collect();
        output::table(&["column", "objects deleted"], &rows)
    }))
}
