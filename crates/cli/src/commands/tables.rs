//! `tables`: which tables a service keeps up to date.

use lance_backfill_core::deployment::Needs;
use lance_backfill_embedded::catalog::Catalog;
use lance_backfill_ports::{Error, Result};
use lance_backfill_service::Admission;
use serde::Serialize;

use crate::args::{ProcessArguments, TableArguments, TablesCommand};
use crate::exit::Exit;
use crate::output;
use crate::service::needed;

pub(super) async fn run(
    command: &TablesCommand,
    process: &ProcessArguments,
    json: bool,
) -> Result<Exit> {
    match command {
        TablesCommand::Add(arguments) => add(arguments, process, json).await,
        TablesCommand::List => list(process, json).await,
        TablesCommand::Remove(arguments) => remove(arguments, process, json).await,
    }
}

#[derive(Serialize)]
struct Added {
    service: String,
    table: String,
    /// Whether it was registered before.
    was_registered: bool,
    /// Computed columns that it has.
    columns: Vec<String>,
    /// Columns that the service cannot compute, and why.
    cannot_run: Vec<CannotRun>,
}

#[derive(Serialize)]
struct CannotRun {
    column: String,
    reason: String,
}

async fn add(arguments: &TableArguments, process: &ProcessArguments, json: bool) -> Result<Exit> {
    let remote = needed(process).await?;
    let table = remote.table_name(&arguments.table)?;
    let engine = super::open(&arguments.table, process, None).await?;
    if let Some(note) = engine.copy_note() {
        return Err(Error::invalid(note));
    }
    let catalog = Catalog::read(engine.latest().await?.view())?;
    let mut added = Added {
        service: remote.prefix().to_owned(),
        table: table.clone(),
        was_registered: false,
        columns: vec![],
        cannot_run: vec![],
    };
    for bound in catalog.acting() {
        added.columns.push(bound.name.clone());
        if let Err(error) = remote.check(&Needs::of(&bound.definition)) {
            added.cannot_run.push(CannotRun {
                column: bound.name.clone(),
                reason: error.one_line(),
            });
        }
    }
    added.was_registered = remote.take_in(&table).await? == Admission::Kept;
    for CannotRun { column, reason } in &added.cannot_run {
        output::note(&format!("column '{column}': {reason}"));
    }
    Ok(output::result(json, &added, || {
        let verb = match added.was_registered {
            true => "was registered already, and is looked at",
            false => "is kept up to date by",
        };
        let next = match added.columns.is_empty() {
            true => {
                format!("\nit has no computed columns yet: lance-backfill column add {table} …")
            }
            false => format!("\nnext: lance-backfill status {table}"),
        };
        match added.was_registered {
            true => format!("{table} {verb}{next}"),
            false => format!(
                "{table} {verb} service '{}'{next}",
                remote.deployment().name
            ),
        }
    }))
}

#[derive(Serialize)]
struct Listed {
    service: String,
    tables: Vec<String>,
}

async fn list(process: &ProcessArguments, json: bool) -> Result<Exit> {
    let remote = needed(process).await?;
    let listed = Listed {
        service: remote.prefix().to_owned(),
        tables: remote.tables().await?,
    };
    Ok(output::result(json, &listed, || {
        match listed.tables.is_empty() {
            true => format!(
                "service '{}' has no tables yet; 'tables add' or 'column add' registers one",
                remote.deployment().name
            ),
            false => listed.tables.join("\n"),
        }
    }))
}

#[derive(Serialize)]
struct Removed {
    service: String,
    table: String,
    /// Whether anything was changed.
    removed: bool,
}

async fn remove(
    arguments: &TableArguments,
    process: &ProcessArguments,
    json: bool,
) -> Result<Exit> {
    let remote = needed(process).await?;
    let table = remote.table_name(&arguments.table)?;
    let removed = match remote.take_out(&table).await? {
        Admission::Kept => true,
        Admission::Removed => false,
        Admission::Unknown => {
            return Err(Error::invalid(format!(
                "service '{}' does not know '{table}'; 'tables list' shows those that it keeps up to date",
                remote.deployment().name
            )));
        }
    };
    let document = Removed {
        service: remote.prefix().to_owned(),
        table,
        removed,
    };
    Ok(output::result(json, &document, || {
        let table = &document.table;
        match removed {
            true => format!(
                "{table} is left alone within a minute; what is handed out already is still done\n'tables add' takes it in again"
            ),
            false => format!("{table} was left alone already"),
        }
    }))
}
