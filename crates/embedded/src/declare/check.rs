//! Whether an expression and a filter fit a table.

use std::collections::BTreeSet;

use arrow_schema::{DataType, Field, SchemaRef};
use lance_backfill_core::definition::{Definition, Function, Input};
use lance_backfill_core::depend::{Node, order};
use lance_backfill_core::table::{FieldView, TableView};
use lance_backfill_core::types::column_type_name;
use lance_backfill_ports::{Error, ErrorKind, Result};
use lance_backfill_udf::types::{normalise, parse_type, widens};
use lance_backfill_udf::{SqlFilter, SqlFunction};

use super::group::check_group;
use super::{FunctionRequest, Request};
use crate::catalog::{Catalog, node};

/// Field metadata by which Lance knows blobs, in the two ways in which it stores them.
const BLOB_KEY: &str = "lance-encoding:blob";
const EXTENSION_KEY: &str = "ARROW:extension:name";
const BLOB_EXTENSION: &str = "lance.blob.v2";

/// A request that fits.
pub(super) struct Checked {
    pub(super) function: Function,
    pub(super) inputs: Vec<Input>,
    pub(super) filter_inputs: Vec<Input>,
    /// Of each column.
    pub(super) output_types: Vec<DataType>,
    /// Struct that a packaged function returns, for several columns.
    pub(super) returns: Option<String>,
}

/// Compiles what was asked for; `existing` are the types of the columns if they exist.
pub(super) fn check(
    request: &Request,
    table: &TableView,
    schema: &SchemaRef,
    existing: &[DataType],
) -> Result<Checked> {
    let Request {
        columns,
        function,
        output_type,
        ..
    } = request;
    let [column] = columns.as_slice() else {
        return check_group(request, table, schema, existing);
    };
    let existing = existing.first();
    let filter_inputs = match &request.filter {
        Some(filter) => filter_inputs(filter, table, schema)?,
        None => vec![],
    };
    match function {
        FunctionRequest::Sql(sql) => {
            let function = match existing {
                Some(existing) => {
                    let target = Target {
                        column,
                        data_type: existing,
                    };
                    compile_for(sql, schema, target, output_type.as_deref())?
                }
                None => {
                    let wanted = output_type.as_deref().map(read_type).transpose()?;
                    SqlFunction::compile(sql, schema, wanted.as_ref()).map_err(refused)?
                }
            };
            Ok(Checked {
                function: Function::Sql {
                    expression: sql.clone(),
                    canonical: function.canonical().to_owned(),
                },
                inputs: inputs(function.inputs(), table, schema)?,
                filter_inputs,
                output_types: vec![function.output_type().clone()],
                returns: None,
            })
        }
        FunctionRequest::Python(python) => Ok(Checked {
            function: python.function(),
            inputs: python.input_columns(table, schema)?,
            filter_inputs,
            output_types: vec![python.output_type(column, existing)?],
            returns: None,
        }),
    }
}

/// A column that exists.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) column: &'a str,
    pub(super) data_type: &'a DataType,
}

/// Compiles an expression for a column that exists; only a type that was asked for by name makes
/// values of another type than the column's.
pub(super) fn compile_for(
    sql: &str,
    schema: &SchemaRef,
    target: Target<'_>,
    asked: Option<&str>,
) -> Result<SqlFunction> {
    let Target { column, data_type } = target;
    let name = column_type_name(data_type);
    if let Some(text) = asked {
        let asked = column_type_name(&read_type(text)?);
        if asked != name {
            return Err(Error::invalid(format!(
                "column '{column}' has type {name}, not {asked}: leave --type out to keep it"
            )));
        }
    }
    let function = SqlFunction::compile(sql, schema, Some(data_type)).map_err(refused)?;
    if asked.is_none() && !widens(function.own_type(), data_type) {
        let own = column_type_name(&normalise(function.own_type()));
        return Err(Error::invalid(format!(
            "the expression has type {own} and column '{column}' has type {name}, which does not hold all of its values: give --type '{name}' to have each value cast, where one that does not fit fails, or write a CAST in the expression"
        )));
    }
    Ok(function)
}

fn read_type(text: &str) -> Result<DataType> {
    parse_type(text).map_err(|error| Error::invalid(format!("--type '{text}': {error}")))
}

/// The columns that a filter reads.
pub(super) fn filter_inputs(
    filter: &str,
    table: &TableView,
    schema: &SchemaRef,
) -> Result<Vec<Input>> {
    let filter = SqlFilter::compile(filter, schema)
        .map_err(|error| Error::invalid(format!("the filter: {error}")))?;
    inputs(filter.inputs(), table, schema)
}

impl Checked {
    /// The definition to store, once the column is there.
    pub(super) fn definition(
        &self,
        request: &Request,
        table: &TableView,
        adopted: bool,
    ) -> Result<Definition> {
        let types = (request.columns.iter())
            .map(|column| {
                let field = table.field(column).ok_or_else(|| {
                    let gone = format!("column '{column}' vanished while it was declared");
                    Error::new(ErrorKind::Unavailable, gone)
                })?;
                Ok(field.data_type.clone())
            })
            .collect::<Result<Vec<String>>>()?;
        let (function, inputs) = (self.function.clone(), self.inputs.clone());
        let mut definition = Definition::new("", "", function, inputs);
        definition.outputs = request.columns.clone();
        definition.output_types = types;
        definition.returns = self.returns.clone();
        if let FunctionRequest::Python(python) = &request.function {
            python.apply_options(&mut definition);
        }
        request.policy.apply(&mut definition);
        definition.filter = request.filter.clone();
        definition.filter_inputs = self.filter_inputs.clone();
        definition.approve_above_rows = request.approve_above_rows;
        definition.on_unknown = request.on_unknown;
        definition.declared_max_fragment = table
            .fragments
            .last()
            .map(|fragment| fragment.id)
            .filter(|_| adopted);
        Ok(definition)
    }
}

/// The columns of these names.
pub(super) fn inputs(
    names: &[String],
    table: &TableView,
    schema: &SchemaRef,
) -> Result<Vec<Input>> {
    names
        .iter()
        .map(|name| {
            let field = table
                .field(name)
                .ok_or_else(|| Error::internal(format!("input '{name}' has no field")))?;
            if (schema.field_with_name(name)).is_ok_and(|field| has_blobs_inside(field.data_type())) {
                return Err(Error::invalid(format!(
                    "column '{name}' has blobs inside its type, which expressions cannot read yet: only columns that are blobs themselves can be read"
                )));
            }
            Ok(Input {
                id: field.id,
                name: name.clone(),
            })
        })
        .collect()
}

/// Whether a column is stored as blobs.
pub(super) fn is_blob(field: &FieldView) -> bool {
    let has = |key: &str| field.metadata.get(key).map(String::as_str);
    has(BLOB_KEY).is_some() || has(EXTENSION_KEY) == Some(BLOB_EXTENSION)
}

/// Whether some field below a type is stored as blobs.
fn has_blobs_inside(data_type: &DataType) -> bool {
    let is_or_has = |field: &Field| {
        let extension = field.metadata().get(EXTENSION_KEY).map(String::as_str);
        field.metadata().contains_key(BLOB_KEY)
            || extension == Some(BLOB_EXTENSION)
            || has_blobs_inside(field.data_type())
    };
    match data_type {
        DataType::Struct(fields) => fields.iter().any(|field| is_or_has(field)),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => is_or_has(item),
        _ => false,
    }
}

pub(super) fn refused(error: impl std::fmt::Display) -> Error {
    Error::invalid(error.to_string())
}

/// Refuses a request that would make a column depend on itself.
pub(super) fn refuse_cycle(
    request: &Request,
    checked: &Checked,
    catalog: &Catalog,
    fields: &[FieldView],
) -> Result<()> {
    let reads: BTreeSet<i32> = checked
        .inputs
        .iter()
        .chain(&checked.filter_inputs)
        .map(|input| input.id)
        .collect();
    // A column that does not exist yet cannot be read by any other.
    if fields.is_empty() {
        return Ok(());
    }
    let outputs = fields.iter().map(|field| field.id).collect();
    refuse_reading(&request.columns.join(","), outputs, reads, catalog)
}

/// Refuses that a column reads fields that depend on it.
pub(super) fn refuse_reading(
    column: &str,
    outputs: Vec<i32>,
    reads: BTreeSet<i32>,
    catalog: &Catalog,
) -> Result<()> {
    let mut nodes: Vec<Node> = catalog
        .declared
        .iter()
        .filter_map(|declared| declared.bound.as_ref().ok())
        .filter(|bound| !outputs.iter().any(|output| bound.fills(*output)))
        .map(node)
        .collect();
    let first = outputs.first().copied();
    nodes.push(Node { outputs, reads });
    if first.is_some_and(|first| order(&nodes).cyclic.contains(&first)) {
        return Err(Error::invalid(format!(
            "column '{column}' would depend on itself, through its inputs or its filter: nobody could compute it"
        )));
    }
    Ok(())
}
