//! `column`: declare, show, change and drop computed columns.

use lance_backfill_core::definition::{Definition, ErrorPolicy, Function, OnError};
use lance_backfill_embedded::Engine;
use lance_backfill_embedded::catalog::{Catalog, Declared};
use lance_backfill_embedded::declare::{Change, Request};
use lance_backfill_embedded::jobs::Released;
use lance_backfill_ports::{Error, Result};
use serde::Serialize;

use crate::args::{
    AddArguments, AlterArguments, ColumnArguments, ColumnCommand, DropArguments, OnChangeArgument,
    OnErrorArgument, PolicyArguments, ProcessArguments, TableArguments,
};
use crate::exit::Exit;
use crate::output::{self, number};

pub(super) async fn run(
    command: &ColumnCommand,
    process: &ProcessArguments,
    json: bool,
) -> Result<Exit> {
    match command {
        ColumnCommand::Add(arguments) => add(arguments, process, json).await,
        ColumnCommand::List(arguments) => list(arguments, process, json).await,
        ColumnCommand::Show(arguments) => show(arguments, process, json).await,
        ColumnCommand::Alter(arguments) => alter(arguments, process, json).await,
        ColumnCommand::Pause(arguments) => set_auto(arguments, process, json, false).await,
        ColumnCommand::Resume(arguments) => set_auto(arguments, process, json, true).await,
        ColumnCommand::Drop(arguments) => drop_column(arguments, process, json).await,
    }
}

#[derive(Serialize)]
struct Shown {
    table: String,
    column: String,
    binding: String,
    generation: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    detached: Option<String>,
    definition: Definition,
}

fn shown(table: &str, declared: &Declared) -> Shown {
    Shown {
        table: table.to_owned(),
        column: declared.name().to_owned(),
        binding: declared.binding.to_string(),
        generation: declared.definition.generation().to_string(),
        detached: declared.bound.as_ref().err().map(ToString::to_string),
        definition: declared.definition.clone(),
    }
}

fn expression(definition: &Definition) -> &str {
    match &definition.function {
        Function::Sql { expression, .. } => expression,
        Function::Python { entrypoint, .. } => entrypoint,
    }
}

async fn add(arguments: &AddArguments, process: &ProcessArguments, json: bool) -> Result<Exit> {
    let engine = super::open(&arguments.target.table, process, None).await?;
    let request = Request {
        column: arguments.target.column.clone(),
        sql: arguments.sql.clone(),
        filter: arguments.filter.clone(),
        output_type: arguments.output_type.clone(),
        adopt: arguments.adopt,
        error_policy: policy(&arguments.policy, ErrorPolicy::default()),
        approve_above_rows: arguments.policy.approve_above_rows,
    };
    let declared = engine.declare(&request).await?;
    let document = shown(&arguments.target.table, &declared);
    Ok(output::result(json, &document, || {
        format!(
            "declared '{}' {} = {}\nnext: lance-backfill refresh {}",
            document.column,
            document.definition.output_types.join(", "),
            expression(&document.definition),
            document.table
        )
    }))
}

fn policy(arguments: &PolicyArguments, mut policy: ErrorPolicy) -> ErrorPolicy {
    if let Some(on_error) = arguments.on_error {
        policy.on_error = match on_error {
            OnErrorArgument::Skip => OnError::Skip,
            OnErrorArgument::Fail => OnError::Fail,
        };
    }
    policy.max_failed_rows = arguments.max_failed_rows.or(policy.max_failed_rows);
    policy.max_failed_fraction = arguments.max_failed_fraction.or(policy.max_failed_fraction);
    policy
}

#[derive(Serialize)]
struct List {
    table: String,
    columns: Vec<Shown>,
}

async fn list(arguments: &TableArguments, process: &ProcessArguments, json: bool) -> Result<Exit> {
    let engine = super::open_to_look(&arguments.table, process).await?;
    let catalog = Catalog::read(engine.latest().await?.view())?;
    let columns = catalog
        .declared
        .iter()
        .map(|declared| shown(&arguments.table, declared))
        .collect();
    let document = List {
        table: arguments.table.clone(),
        columns,
    };
    Ok(output::result(json, &document, || {
        if document.columns.is_empty() {
            return format!(
                "{} has no computed columns; declare one with 'column add'",
                document.table
            );
        }
        let rows: Vec<Vec<String>> = document
            .columns
            .iter()
            .map(|column| {
                vec![
                    column.column.clone(),
                    column.definition.output_types.join(", "),
                    expression(&column.definition).to_owned(),
                    column.definition.filter.clone().unwrap_or_default(),
                    column.detached.clone().unwrap_or_default(),
                ]
            })
            .collect();
        output::table(
            &["column", "type", "expression", "filter", "detached"],
            &rows,
        )
    }))
}

async fn show(arguments: &ColumnArguments, process: &ProcessArguments, json: bool) -> Result<Exit> {
    let engine = super::open_to_look(&arguments.table, process).await?;
    let catalog = Catalog::read(engine.latest().await?.view())?;
    let document = shown(&arguments.table, catalog.expect(&arguments.column)?);
    Ok(output::result(json, &document, || {
        serde_json::to_string_pretty(&document).unwrap_or_default()
    }))
}

#[derive(Serialize)]
pub(super) struct Altered {
    #[serde(flatten)]
    shown: Shown,
    /// Rows that the next refresh computes under each choice.
    rows_stale_if_only_new: u64,
    rows_stale_if_recompute_all: u64,
    on_change: &'static str,
}

async fn alter(arguments: &AlterArguments, process: &ProcessArguments, json: bool) -> Result<Exit> {
    let engine = super::open(&arguments.target.table, process, None).await?;
    let document = change(&engine, arguments).await?;
    Ok(output::result(json, &document, || altered_text(&document)))
}

/// What a change makes stale, for a person.
pub(super) fn altered_text(document: &Altered) -> String {
    format!(
        "changed '{}'\nrows that become stale: only_new {}, recompute_all {}; chosen: {}",
        document.shown.column,
        number(document.rows_stale_if_only_new),
        number(document.rows_stale_if_recompute_all),
        document.on_change
    )
}

/// Stores a changed definition; nothing is computed.
pub(super) async fn change(engine: &Engine, arguments: &AlterArguments) -> Result<Altered> {
    let AlterArguments {
        target,
        sql,
        output_type,
        filter,
        no_filter,
        on_change,
        policy: policy_arguments,
    } = arguments;
    let version = engine.latest().await?;
    let catalog = Catalog::read(version.view())?;
    let declared = catalog.expect(&target.column)?;
    let filter = if *no_filter {
        Some(None)
    } else {
        filter.as_ref().map(|filter| Some(filter.as_str()))
    };
    let mut edited = engine.check_edit(
        declared,
        Change {
            sql: sql.as_deref(),
            output_type: output_type.as_deref(),
            filter,
        },
        &catalog,
        version.view(),
        &version.schema(),
    )?;
    edited.error_policy = policy(policy_arguments, edited.error_policy);
    edited.approve_above_rows = policy_arguments
        .approve_above_rows
        .or(edited.approve_above_rows);
    if edited == declared.definition {
        return Err(Error::invalid(
            "nothing to change: give --sql, --where, --no-filter or a policy option",
        ));
    }
    let (current, failed) = computed_rows(engine, &catalog, &target.column).await?;
    let old = declared.definition.generation();
    let changed = edited.generation() != old;
    let reads = |definition: &Definition| -> Vec<i32> {
        definition.inputs.iter().map(|input| input.id).collect()
    };
    let reads_others = reads(&edited) != reads(&declared.definition);
    if *on_change == OnChangeArgument::OnlyNew && reads_others && current > 0 {
        return Err(Error::invalid(format!(
            "the new expression reads other columns, and whether older values are still of their inputs could not be told any more: give --on-change recompute_all to compute {} rows again, or keep them as they are with 'column drop' and 'column add --adopt'",
            number(current)
        )));
    }
    match on_change {
        OnChangeArgument::OnlyNew if changed => {
            edited.accepted_generations.insert(old);
        }
        OnChangeArgument::OnlyNew => {}
        OnChangeArgument::RecomputeAll => edited.accepted_generations.clear(),
    }
    let own = edited.generation();
    edited.accepted_generations.remove(&own);
    engine.redefine(declared, &edited, version.view()).await?;
    let catalog = Catalog::read(engine.latest().await?.view())?;
    Ok(Altered {
        shown: shown(&target.table, catalog.expect(&target.column)?),
        rows_stale_if_only_new: if changed { failed } else { 0 },
        rows_stale_if_recompute_all: if changed { current + failed } else { 0 },
        on_change: match on_change {
            OnChangeArgument::OnlyNew => "only_new",
            OnChangeArgument::RecomputeAll => "recompute_all",
        },
    })
}

/// Rows that have a computed value now, and rows that failed: these get another try in any case.
async fn computed_rows(engine: &Engine, catalog: &Catalog, column: &str) -> Result<(u64, u64)> {
    let version = engine.latest().await?;
    let found = super::status::survey_numbers(engine, &version, catalog, &|bound| {
        bound.output.name == column
    })
    .await?;
    Ok(found.get(column).map_or((0, 0), |found| {
        (found.generations.values().sum(), found.numbers.rows_failed)
    }))
}

async fn set_auto(
    arguments: &ColumnArguments,
    process: &ProcessArguments,
    json: bool,
    auto: bool,
) -> Result<Exit> {
    let engine = super::open(&arguments.table, process, None).await?;
    let version = engine.latest().await?;
    let catalog = Catalog::read(version.view())?;
    let declared = catalog.expect(&arguments.column)?;
    let mut edited = declared.definition.clone();
    edited.auto = auto;
    if edited != declared.definition {
        engine.redefine(declared, &edited, version.view()).await?;
    }
    if auto && catalog.expect_acting(&arguments.column).is_ok() {
        let _: Released = engine.end_holds(&arguments.column).await?;
    }
    let catalog = Catalog::read(engine.latest().await?.view())?;
    let document = shown(&arguments.table, catalog.expect(&arguments.column)?);
    let word = if auto { "resumed" } else { "paused" };
    Ok(output::result(json, &document, || {
        format!("{word} '{}'", document.column)
    }))
}

#[derive(Serialize)]
struct Dropped {
    table: String,
    column: String,
    values_dropped: bool,
}

async fn drop_column(
    arguments: &DropArguments,
    process: &ProcessArguments,
    json: bool,
) -> Result<Exit> {
    let engine = super::open(&arguments.target.table, process, None).await?;
    let version = engine.latest().await?;
    let catalog = Catalog::read(version.view())?;
    let declared = catalog.expect(&arguments.target.column)?;
    engine
        .undeclare(declared, version.view(), arguments.drop_values)
        .await?;
    let document = Dropped {
        table: arguments.target.table.clone(),
        column: arguments.target.column.clone(),
        values_dropped: arguments.drop_values,
    };
    Ok(output::result(json, &document, || {
        let values = if document.values_dropped {
            "its values are gone"
        } else {
            "its values stay"
        };
        format!("'{}' is not computed any more; {values}", document.column)
    }))
}
