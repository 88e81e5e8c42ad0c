//! `column canary`: another function beside the present one, on some rows.

use std::collections::BTreeMap;

use arrow_array::{Array, ArrayRef};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use lance_backfill_core::rate::Estimate;
use lance_backfill_embedded::canary::{Canary, Side};
use lance_backfill_ports::{Error, Result};
use serde::Serialize;

use super::plan::estimate_text;
use crate::args::{CanaryArguments, ProcessArguments};
use crate::exit::Exit;
use crate::output::{self, number};

/// Rows shown to a person; JSON has all of them.
const MOST_SHOWN: usize = 20;
/// Characters of a value shown to a person.
const LONGEST_SHOWN: usize = 48;

#[derive(Serialize)]
struct Document {
    table: String,
    column: String,
    rows_tried: u64,
    rows_same: u64,
    rows_different: u64,
    present: Tried,
    changed: Tried,
    /// Rows that recomputing the whole column would compute.
    rows_eligible: u64,
    rows: Vec<Row>,
}

#[derive(Serialize)]
struct Tried {
    rows_failed: u64,
    /// For all eligible rows.
    estimate: Option<Estimate>,
}

#[derive(Serialize)]
struct Row {
    fragment: u64,
    offset: u32,
    differs: bool,
    inputs: BTreeMap<String, Option<String>>,
    present: Cell,
    changed: Cell,
}

/// A value as text, NULL, or an error.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Cell {
    Value(Option<String>),
    Error(String),
}

pub(super) async fn run(
    arguments: &CanaryArguments,
    process: &ProcessArguments,
    json: bool,
) -> Result<Exit> {
    let engine = super::open_to_look(&arguments.target.table, process).await?;
    let function = super::function::request(&engine, &arguments.function, None).await?;
    let function = function.ok_or_else(|| {
        Error::invalid("say what is tried: give --sql, --udf with --from, or --function")
    })?;
    let column = &arguments.target.column;
    let canary = engine.canary(column, &function, arguments.rows).await?;
    let rows = rows(&canary)?;
    let different = rows.iter().filter(|row| row.differs).count() as u64;
    let tried = |side: &Side| Tried {
        rows_failed: side.errors.len() as u64,
        estimate: (side.estimate).map(|it| it.priced(arguments.cost_per_hour)),
    };
    let document = Document {
        table: arguments.target.table.clone(),
        column: column.clone(),
        rows_tried: rows.len() as u64,
        rows_same: rows.len() as u64 - different,
        rows_different: different,
        present: tried(&canary.present),
        changed: tried(&canary.changed),
        rows_eligible: canary.rows_eligible,
        rows,
    };
    Ok(output::result(json, &document, || text(&document)))
}

fn rows(canary: &Canary) -> Result<Vec<Row>> {
    let names = canary.inputs.schema();
    let mut inputs = vec![];
    for (field, values) in names.fields().iter().zip(canary.inputs.columns()) {
        inputs.push((field.name().clone(), texts(values)?));
    }
    let (present, changed) = (cells(&canary.present)?, cells(&canary.changed)?);
    let both = present.into_iter().zip(changed);
    let both = canary.sample.iter().zip(&canary.differs).zip(both);
    Ok(both
        .enumerate()
        .map(
            |(place, (((fragment, offset), differs), (present, changed)))| Row {
                fragment: *fragment,
                offset: *offset,
                differs: *differs,
                inputs: (inputs.iter())
                    .map(|(name, texts)| (name.clone(), texts.get(place).cloned().flatten()))
                    .collect(),
                present,
                changed,
            },
        )
        .collect())
}

fn cells(side: &Side) -> Result<Vec<Cell>> {
    let texts = texts(&side.values)?.into_iter().enumerate();
    Ok(texts
        .map(|(place, text)| match side.errors.get(&place) {
            Some(error) => Cell::Error(format!("{}: {}", error.kind, error.message)),
            None => Cell::Value(text),
        })
        .collect())
}

fn texts(values: &ArrayRef) -> Result<Vec<Option<String>>> {
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(values.as_ref(), &options)
        .map_err(|error| Error::internal("values cannot be shown").with_source(error))?;
    Ok((0..values.len())
        .map(|row| (!values.is_null(row)).then(|| formatter.value(row).to_string()))
        .collect())
}

fn text(document: &Document) -> String {
    let mut shown: Vec<&Row> = document.rows.iter().collect();
    // What differs is what a person looks for.
    shown.sort_by_key(|row| !row.differs);
    shown.truncate(MOST_SHOWN);
    let names: Vec<String> = shown
        .first()
        .map_or(vec![], |row| row.inputs.keys().cloned().collect());
    let mut head = vec!["fragment", "offset"];
    head.extend(names.iter().map(String::as_str));
    head.extend(["present", "changed"]);
    let lines: Vec<Vec<String>> = shown
        .iter()
        .map(|row| {
            let mut line = vec![row.fragment.to_string(), row.offset.to_string()];
            let inputs = row.inputs.values();
            line.extend(inputs.map(|text| short(text.as_deref().unwrap_or("NULL"))));
            line.push(cell(&row.present));
            line.push(cell(&row.changed));
            line
        })
        .collect();
    let side = |name: &str, tried: &Tried| {
        let time = match &tried.estimate {
            Some(estimate) => format!(
                "{} rows: {}",
                number(document.rows_eligible),
                estimate_text(estimate)
            ),
            None => "its speed cannot be told".to_owned(),
        };
        format!("\n{name}: {} failed; {time}", number(tried.rows_failed))
    };
    format!(
        "{}\n{} rows tried: {} same, {} different{}{}\nnothing was stored; 'column alter' with the same options makes the change",
        output::table(&head, &lines),
        number(document.rows_tried),
        number(document.rows_same),
        number(document.rows_different),
        side("present", &document.present),
        side("changed", &document.changed),
    )
}

fn cell(cell: &Cell) -> String {
    match cell {
        Cell::Value(Some(text)) => short(text),
        Cell::Value(None) => "NULL".to_owned(),
        Cell::Error(text) => short(text),
    }
}

fn short(text: &str) -> String {
    let line = text.replace('\n', " ");
    match line.char_indices().nth(LONGEST_SHOWN) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}
