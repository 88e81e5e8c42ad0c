//! `column`: declare, show, change and drop computed columns.

use std::collections::BTreeMap;

use lance_backfill_core::definition::{
    BoundColumn, Definition, Function, OnChange, OnError, OnUnknown, Pool,
};
use lance_backfill_core::deployment::Needs;
use lance_backfill_embedded::Engine;
use lance_backfill_embedded::catalog::{Catalog, Declared};
use lance_backfill_embedded::declare::{Change, FunctionRequest, Policy, Request};
use lance_backfill_embedded::jobs::Released;
use lance_backfill_ports::{Error, ErrorKind, Result};
use serde::Serialize;

use super::status::distrusted;
use crate::args::{
    AddArguments, AlterArguments, ColumnArguments, ColumnCommand, DropArguments, OnChangeArgument,
    OnErrorArgument, OnUnknownArgument, PolicyArguments, PoolArgument, ProcessArguments,
    TableArguments,
};
use crate::exit::Exit;
use crate::output::{self, number};
use crate::service::Through;

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
        ColumnCommand::Canary(arguments) => super::canary::run(arguments, process, json).await,
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
    let through = Through::to_take_in(&arguments.target.table, process).await?;
    let engine = super::open_through(&arguments.target.table, process, through.as_ref()).await?;
    let policy = policy(&arguments.policy);
    let function = super::function::request(&engine, &arguments.function, through.as_ref()).await?;
    let function = function.ok_or_else(|| {
        Error::invalid("say what computes the column: give --sql, --udf with --from, or --function")
    })?;
    refuse_type(Some(&function), arguments.output_type.as_deref())?;
    super::function::check_new(&function, &policy, through.as_ref())?;
    let request = Request {
        columns: names(&arguments.target.column),
        function,
        filter: arguments.filter.clone(),
        output_type: arguments.output_type.clone(),
        adopt: arguments.adopt,
        policy,
        approve_above_rows: arguments.policy.approve_above_rows,
        on_unknown: on_unknown(&arguments.policy).unwrap_or_default(),
    };
    let declared = engine.declare(&request).await?;
    if let Some(through) = &through {
        through.take_in().await?;
    }
    let document = shown(&arguments.target.table, &declared);
    Ok(output::result(json, &document, || {
        format!(
            "declared '{}' {} = {}\n{}",
            document.column,
            document.definition.output_types.join(", "),
            expression(&document.definition),
            match &through {
                Some(Through { remote, .. }) => format!(
                    "service '{}' fills it: lance-backfill status {}",
                    remote.deployment().name,
                    document.table
                ),
                None => format!("next: lance-backfill refresh {}", document.table),
            }
        )
    }))
}

/// Only values of an expression are cast.
fn refuse_type(function: Option<&FunctionRequest>, output_type: Option<&str>) -> Result<()> {
    match (function, output_type) {
        (_, None) | (Some(FunctionRequest::Sql(_)), _) => Ok(()),
        (Some(FunctionRequest::Python(_)), Some(_)) => Err(Error::invalid(
            "--type casts values of --sql: a Python function says its type itself, with data_type= or a return type",
        )),
        (None, Some(_)) => Err(Error::invalid("--type goes with --sql")),
    }
}

/// The columns that a declaration names: one, or several by commas.
fn names(column: &str) -> Vec<String> {
    match column.contains(',') {
        true => column.split(',').map(|it| it.trim().to_owned()).collect(),
        false => vec![column.to_owned()],
    }
}

fn policy(arguments: &PolicyArguments) -> Policy {
    Policy {
        on_error: arguments.on_error.map(|on_error| match on_error {
            OnErrorArgument::Skip => OnError::Skip,
            OnErrorArgument::Fail => OnError::Fail,
        }),
        max_failed_rows: arguments.max_failed_rows,
        max_failed_fraction: arguments.max_failed_fraction,
        max_attempts: arguments.max_attempts,
        row_timeout_s: arguments.row_timeout,
        batch_size: arguments.batch_size,
        pool: arguments.pool.map(|pool| match pool {
            PoolArgument::Cpu => Pool::Cpu,
            PoolArgument::Gpu => Pool::Gpu,
            PoolArgument::RayCpu => Pool::RayCpu,
        }),
        gpu_class: arguments.gpu_class.clone(),
    }
}

fn on_unknown(arguments: &PolicyArguments) -> Option<OnUnknown> {
    arguments.on_unknown.map(|on_unknown| match on_unknown {
        OnUnknownArgument::Trust => OnUnknown::Trust,
        OnUnknownArgument::Recompute => OnUnknown::Recompute,
    })
}

#[derive(Serialize)]
struct List {
    table: String,
    columns: Vec<Shown>,
}

async fn list(arguments: &TableArguments, process: &ProcessArguments, json: bool) -> Result<Exit> {
    Through::to_look(&arguments.table, process).await?;
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
    Through::to_look(&arguments.table, process).await?;
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
    /// Rows that the next refresh computes under each choice; none where nobody can tell, because the
    /// column could not be looked at under its old definition.
    rows_stale_if_only_new: Option<u64>,
    rows_stale_if_recompute_all: Option<u64>,
    on_change: &'static str,
}

async fn alter(arguments: &AlterArguments, process: &ProcessArguments, json: bool) -> Result<Exit> {
    let through = Through::to_write(&arguments.target.table, process).await?;
    let engine = super::open_through(&arguments.target.table, process, through.as_ref()).await?;
    let document = change(&engine, arguments, through.as_ref()).await?;
    if let Some(through) = &through {
        through.wake().await?;
    }
    Ok(output::result(json, &document, || altered_text(&document)))
}

/// What a change makes stale, for a person.
pub(super) fn altered_text(document: &Altered) -> String {
    let rows = |rows: Option<u64>| rows.map_or("unknown".to_owned(), number);
    format!(
        "changed '{}'\nrows that become stale: only_new {}, recompute_all {}; chosen: {}",
        document.shown.column,
        rows(document.rows_stale_if_only_new),
        rows(document.rows_stale_if_recompute_all),
        document.on_change
    )
}

/// Stores a changed definition; nothing is computed.
pub(super) async fn change(
    engine: &Engine,
    arguments: &AlterArguments,
    through: Option<&Through>,
) -> Result<Altered> {
    let AlterArguments {
        target,
        function,
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
    let function = super::function::request(engine, function, through).await?;
    refuse_type(function.as_ref(), output_type.as_deref())?;
    let mut edited = engine.check_edit(
        declared,
        Change {
            function: function.as_ref(),
            output_type: output_type.as_deref(),
            filter,
        },
        &catalog,
        version.view(),
        &version.schema(),
    )?;
    policy(policy_arguments).apply(&mut edited);
    let before = &declared.definition;
    let is_moved = (edited.pool, &edited.resources) != (before.pool, &before.resources);
    if function.is_some() || is_moved {
        super::function::check_needs(&Needs::of(&edited), through)?;
    }
    edited.approve_above_rows = policy_arguments
        .approve_above_rows
        .or(edited.approve_above_rows);
    edited.on_unknown = on_unknown(policy_arguments).unwrap_or(edited.on_unknown);
    let on_change = match on_change {
        OnChangeArgument::OnlyNew => OnChange::OnlyNew,
        OnChangeArgument::RecomputeAll => OnChange::RecomputeAll,
    };
    // Without another expression it still says what becomes of the values of earlier ones.
    let drops_earlier =
        on_change == OnChange::RecomputeAll && !edited.accepted_generations.is_empty();
    if edited == declared.definition && !drops_earlier {
        return Err(Error::invalid(
            "nothing to change: give --sql, --udf, --where, --no-filter, --pool or a policy option; 'backfill --recompute' computes current rows again",
        ));
    }
    let made = computed_rows(engine, &catalog, declared).await?;
    let own = edited.generation();
    let of_own =
        (made.as_ref()).map(|made| made.rows.get(own.as_str()).copied().unwrap_or_default());
    let replaced = edited.replaces_inputs_of(&declared.definition);
    if on_change == OnChange::OnlyNew && replaced && of_own != Some(0) {
        let rows = of_own.map_or("all".to_owned(), number);
        return Err(Error::invalid(format!(
            "the expression reads other columns of the same names, and its older values could not be told from new ones: give --on-change recompute_all to compute {rows} rows again, or keep them as they are with 'column drop' and 'column add --adopt'"
        )));
    }
    edited.succeed(&declared.definition, on_change);
    let changed = own != declared.definition.generation();
    let stale = made.map(|made| {
        let failed = if changed { made.failed } else { 0 };
        let kept = if replaced {
            0
        } else {
            of_own.unwrap_or_default()
        };
        let before = distrusted(&declared.definition, made.unknown);
        let new = failed + distrusted(&edited, made.unknown).saturating_sub(before);
        (new, made.rows.values().sum::<u64>() - kept + new)
    });
    if let Some(FunctionRequest::Python(python)) = &function {
        engine.register_function(&python.registered).await?;
    }
    engine.redefine(declared, &edited, version.view()).await?;
    let catalog = Catalog::read(engine.latest().await?.view())?;
    Ok(Altered {
        shown: shown(&target.table, catalog.expect(&target.column)?),
        rows_stale_if_only_new: stale.map(|(only_new, _)| only_new),
        rows_stale_if_recompute_all: stale.map(|(_, all)| all),
        on_change: match on_change {
            OnChange::OnlyNew => "only_new",
            OnChange::RecomputeAll => "recompute_all",
        },
    })
}

/// Rows that a column has computed so far.
struct Made {
    /// Rows with a value or NULL, by the generation that made them.
    rows: BTreeMap<String, u64>,
    /// Rows that failed: these get another try in any case.
    failed: u64,
    /// Rows with a value whose origin is lost.
    unknown: u64,
}

/// None for a column that does not act, or that says itself that it must be edited first.
async fn computed_rows(
    engine: &Engine,
    catalog: &Catalog,
    declared: &Declared,
) -> Result<Option<Made>> {
    let Ok(bound) = &declared.bound else {
        return Ok(None);
    };
    let version = engine.latest().await?;
    let wanted = |other: &BoundColumn| other.binding == bound.binding;
    match super::status::survey_numbers(engine, &version, catalog, &wanted).await {
        Ok(mut found) => Ok(found.remove(&bound.name).map(|found| Made {
            failed: found.numbers.rows_failed,
            unknown: found.numbers.rows_unknown,
            rows: found.generations,
        })),
        Err(error) if error.kind == ErrorKind::Invalid && bound.renamed_input().is_some() => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

async fn set_auto(
    arguments: &ColumnArguments,
    process: &ProcessArguments,
    json: bool,
    auto: bool,
) -> Result<Exit> {
    let through = Through::to_write(&arguments.table, process).await?;
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
    if let Some(through) = through.as_ref().filter(|_| auto) {
        through.wake().await?;
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
    Through::to_look(&arguments.target.table, process).await?;
    let engine = super::open(&arguments.target.table, process, None).await?;
    let version = engine.latest().await?;
    let catalog = Catalog::read(version.view())?;
    let declared = catalog.expect(&arguments.target.column)?;
    engine
        .undeclare(declared, version.view(), arguments.drop_values)
        .await?;
    let document = Dropped {
        table: arguments.target.table.clone(),
        column: declared.name().to_owned(),
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
