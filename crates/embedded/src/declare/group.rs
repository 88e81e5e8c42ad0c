//! Several columns that one call fills: the function returns a struct, and they are fields of it.

use arrow_schema::{DataType, Field, SchemaRef};
use lance_backfill_core::definition::{Function, Input};
use lance_backfill_core::table::TableView;
use lance_backfill_core::types::column_type_name;
use lance_backfill_ports::{Error, Result};
use lance_backfill_udf::SqlFunction;
use lance_backfill_udf::types::check_storable;

use super::check::{Checked, filter_inputs, inputs, refused};
use super::{FunctionRequest, Request};

/// Compiles what was asked for several columns; `existing` are their types if they exist.
pub(super) fn check_group(
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
    refuse_type(output_type.as_deref())?;
    let filter_inputs = match &request.filter {
        Some(filter) => filter_inputs(filter, table, schema)?,
        None => vec![],
    };
    let FilledBy {
        function,
        inputs,
        data_type,
        returns,
    } = filled_by(function, table, schema)?;
    let by = by(&function);
    let returned = Returned {
        by: &by,
        data_type: &data_type,
    };
    keep_types(columns, returned, existing)?;
    Ok(Checked {
        output_types: types_of(columns, returned)?,
        function,
        inputs,
        filter_inputs,
        returns,
    })
}

/// Refuses a type for several columns at once.
pub(super) fn refuse_type(asked: Option<&str>) -> Result<()> {
    match asked {
        Some(_) => Err(Error::invalid(
            "--type is for one column: several columns have the types of the struct's fields",
        )),
        None => Ok(()),
    }
}

/// A function by which several columns are filled.
pub(super) struct FilledBy {
    pub(super) function: Function,
    pub(super) inputs: Vec<Input>,
    /// What it returns.
    pub(super) data_type: DataType,
    /// The same as text, where the definition must tell.
    pub(super) returns: Option<String>,
}

/// Compiles a function of several columns.
pub(super) fn filled_by(
    request: &FunctionRequest,
    table: &TableView,
    schema: &SchemaRef,
) -> Result<FilledBy> {
    match request {
        FunctionRequest::Sql(sql) => {
            let function = SqlFunction::compile(sql, schema, None).map_err(refused)?;
            Ok(FilledBy {
                function: Function::Sql {
                    expression: sql.clone(),
                    canonical: function.canonical().to_owned(),
                },
                inputs: inputs(function.inputs(), table, schema)?,
                data_type: function.output_type().clone(),
                returns: None,
            })
        }
        FunctionRequest::Python(python) => Ok(FilledBy {
            function: python.function(),
            inputs: python.input_columns(table, schema)?,
            data_type: python.own_type()?,
            returns: Some(python.registered.record.output_type.clone()),
        }),
    }
}

/// What errors call a function.
pub(super) fn by(function: &Function) -> String {
    match function {
        Function::Sql { .. } => "the expression".to_owned(),
        Function::Python { entrypoint, .. } => entrypoint.clone(),
    }
}

/// What a function returns, and what errors call it.
#[derive(Clone, Copy)]
pub(super) struct Returned<'a> {
    pub(super) by: &'a str,
    pub(super) data_type: &'a DataType,
}

/// The types of columns, which are fields of the struct that a function returns.
pub(super) fn types_of(columns: &[String], returned: Returned<'_>) -> Result<Vec<DataType>> {
    let Returned { by, data_type } = returned;
    let DataType::Struct(fields) = data_type else {
        return Err(Error::invalid(format!(
            "{by} gives {}: only a function that returns a struct fills several columns, as named_struct('{}', …) does",
            column_type_name(data_type),
            columns.join("', …, '")
        )));
    };
    columns
        .iter()
        .map(|column| {
            let found = fields.iter().find(|field| field.name() == column);
            let found = found.ok_or_else(|| {
                let known: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
                Error::invalid(format!(
                    "{by} returns no field '{column}': its fields are {}",
                    known.join(", ")
                ))
            })?;
            check_storable(found.data_type())
                .map_err(|error| Error::invalid(format!("field '{column}' of {by}: {error}")))?;
            Ok(found.data_type().clone())
        })
        .collect()
}

/// Refuses a struct whose fields have other types than the columns that exist.
pub(super) fn keep_types(
    columns: &[String],
    returned: Returned<'_>,
    existing: &[DataType],
) -> Result<()> {
    let own = types_of(columns, returned)?;
    for ((column, own), existing) in columns.iter().zip(&own).zip(existing) {
        let (own, existing) = (column_type_name(own), column_type_name(existing));
        if own != existing {
            return Err(Error::invalid(format!(
                "{} gives {own} for '{column}', which has type {existing}: have it return {existing}",
                returned.by
            )));
        }
    }
    Ok(())
}

/// The struct of these fields.
pub(crate) fn struct_of<'a>(
    names: impl IntoIterator<Item = &'a String>,
    types: impl IntoIterator<Item = DataType>,
) -> DataType {
    let fields = names.into_iter().zip(types);
    let fields = fields.map(|(name, data_type)| Field::new(name, data_type, true));
    DataType::Struct(fields.collect())
}
