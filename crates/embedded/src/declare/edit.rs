//! Editing and dropping computed columns.

use std::collections::BTreeMap;

use arrow_schema::{DataType, SchemaRef};
use lance_backfill_core::definition::{
    BINDING_KEY, DEFINITION_PREFIX, Definition, Function, OUTPUT_KEY, bind,
};
use lance_backfill_core::format::encode;
use lance_backfill_core::table::TableView;
use lance_backfill_ports::table::Edit;
use lance_backfill_ports::{Error, Result};

use super::FunctionRequest;
use super::check::{Target, compile_for, filter_inputs, inputs, refuse_reading};
use super::group::{Returned, by, filled_by, keep_types, refuse_type};
use crate::catalog::{Catalog, Declared};
use crate::engine::Engine;

/// A change of expression or filter; what is `None` stays.
#[derive(Debug, Clone, Copy, Default)]
pub struct Change<'a> {
    /// New expression or function.
    pub function: Option<&'a FunctionRequest>,
    /// Type of the column, said again to have values of another type cast to it.
    pub output_type: Option<&'a str>,
    /// New filter, or none any more.
    pub filter: Option<Option<&'a str>>,
}

impl Engine {
    /// Stores an edited definition if nobody edited it since it was read.
    pub async fn redefine(
        &self,
        declared: &Declared,
        edited: &Definition,
        table: &TableView,
    ) -> Result<()> {
        let key = format!("{DEFINITION_PREFIX}{}", declared.binding);
        let json = String::from_utf8(encode(edited)?)
            .map_err(|error| Error::internal("a definition is not text").with_source(error))?;
        let expected = BTreeMap::from([(key.clone(), table.metadata.get(&key).cloned())]);
        self.edit_or_fail(&Edit::TableMetadata {
            entries: BTreeMap::from([(key, Some(json))]),
            expected,
        })
        .await
    }

    /// Removes a definition; with `values` the column goes too.
    pub async fn undeclare(
        &self,
        declared: &Declared,
        table: &TableView,
        values: bool,
    ) -> Result<()> {
        if values {
            self.refuse_while_paused().await?;
        }
        let key = format!("{DEFINITION_PREFIX}{}", declared.binding);
        let expected = BTreeMap::from([(key.clone(), table.metadata.get(&key).cloned())]);
        self.edit_or_fail(&Edit::TableMetadata {
            entries: BTreeMap::from([(key, None)]),
            expected,
        })
        .await?;
        let Ok(bound) = &declared.bound else {
            return Ok(());
        };
        let names: Vec<String> = (bound.outputs.iter())
            .map(|field| field.name.clone())
            .collect();
        let mut entries = BTreeMap::from([(BINDING_KEY.to_owned(), None)]);
        if names.len() > 1 {
            entries.insert(OUTPUT_KEY.to_owned(), None);
        }
        let edit = match values {
            true => Edit::DropColumns { names },
            false => Edit::FieldMetadata { names, entries },
        };
        self.edit_or_fail(&edit).await
    }

    /// Checks an edited expression or filter against the table; returns the edited definition.
    pub fn check_edit(
        &self,
        declared: &Declared,
        change: Change<'_>,
        catalog: &Catalog,
        table: &TableView,
        schema: &SchemaRef,
    ) -> Result<Definition> {
        let Change {
            function,
            output_type,
            filter,
        } = change;
        let outputs = declared.outputs(table).ok_or_else(|| {
            let why = declared.bound.as_ref().err().map(ToString::to_string);
            Error::invalid(format!(
                "column '{}' is detached ({}): drop it and declare it again",
                declared.name(),
                why.unwrap_or_default()
            ))
        })?;
        if let Some(function) = function {
            function.check_place(&self.options)?;
        }
        let column = declared.name();
        let mut edited = declared.definition.clone();
        let types = (outputs.iter())
            .map(|output| {
                let found = schema.field_with_name(&output.name).map_err(|error| {
                    Error::internal("the column has no type").with_source(error)
                })?;
                Ok(found.data_type().clone())
            })
            .collect::<Result<Vec<DataType>>>()?;
        match (function, types.as_slice()) {
            (None, _) => {}
            (Some(FunctionRequest::Sql(sql)), [data_type]) => {
                let target = Target { column, data_type };
                let function = compile_for(sql, schema, target, output_type)?;
                edited.inputs = inputs(function.inputs(), table, schema)?;
                edited.function = Function::Sql {
                    expression: sql.to_owned(),
                    canonical: function.canonical().to_owned(),
                };
            }
            (Some(FunctionRequest::Python(python)), [data_type]) => {
                python.output_type(column, Some(data_type))?;
                edited.inputs = python.input_columns(table, schema)?;
                edited.function = python.function();
                python.apply_options(&mut edited);
            }
            (Some(request), types) => {
                refuse_type(output_type)?;
                let filled_by = filled_by(request, table, schema)?;
                let returned = Returned {
                    by: &by(&filled_by.function),
                    data_type: &filled_by.data_type,
                };
                keep_types(&edited.outputs, returned, types)?;
                edited.function = filled_by.function;
                edited.inputs = filled_by.inputs;
                edited.returns = filled_by.returns;
                if let FunctionRequest::Python(python) = request {
                    python.apply_options(&mut edited);
                }
            }
        }
        if let Some(filter) = filter {
            edited.filter = filter.map(str::to_owned);
            edited.filter_inputs = match filter {
                Some(filter) => filter_inputs(filter, table, schema)?,
                None => vec![],
            };
        }
        let reads = edited
            .inputs
            .iter()
            .chain(&edited.filter_inputs)
            .map(|input| input.id)
            .collect();
        let outputs = outputs.iter().map(|output| output.id).collect();
        refuse_reading(column, outputs, reads, catalog)?;
        if let Err(detached) = bind(&declared.binding, edited.clone(), table) {
            return Err(Error::invalid(format!(
                "column '{column}' would stay detached: {detached}"
            )));
        }
        Ok(edited)
    }
}
