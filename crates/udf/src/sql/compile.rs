//! From the text of an expression to a program.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_schema::{DataType, Schema};
use datafusion::common::DFSchema;
use datafusion::logical_expr::{Expr, ExprSchemable};

use super::canonical::canonical_text;
use super::checked::physical_expression;
use super::constants::fold_constants;
use super::error::SqlError;
use super::large_stack::on_large_stack;
use super::limits::check_length;
use super::parse::parse_expression;
use super::plan::{cast_expression, logical_expression, typed_expression};
use super::program::{Program, loosened_field};
use super::resolve::resolve;
use crate::types;

/// What the values of an expression are for.
pub(super) enum Purpose<'a> {
    /// The values of a column, of the wanted type if there is one.
    Column(Option<&'a DataType>),
    /// The choice of rows.
    Filter,
}

/// Compiles `text` against the columns of `schema`.
pub(super) fn compile(
    text: &str,
    schema: &Schema,
    purpose: &Purpose<'_>,
) -> Result<Program, SqlError> {
    check_length(text)?;
    on_large_stack(|| compile_here(text, schema, purpose))
}

fn compile_here(text: &str, schema: &Schema, purpose: &Purpose<'_>) -> Result<Program, SqlError> {
    let resolved = resolve(parse_expression(text)?, schema)?;
    let inputs = input_schema(schema, &resolved.columns);
    let planned = planning_schema(&inputs)?;
    let logical = logical_expression(resolved.tree.clone(), &planned)?;
    let names: Vec<String> = inputs.fields().iter().map(|f| f.name().clone()).collect();
    let canonical = canonical_text(&resolved.tree, text, &names, |printed| {
        reads_as(printed, &inputs, &planned, &logical)
    });

    let typed = typed_expression(logical, &planned)?;
    let found = typed
        .get_type(&planned)
        .map_err(|error| SqlError::from_planner(&error))?;
    let (typed, output_type) = match purpose {
        Purpose::Filter if found == DataType::Boolean => (typed, DataType::Boolean),
        Purpose::Filter => {
            return Err(SqlError::NotBoolean {
                found: found.to_string(),
            });
        }
        Purpose::Column(None) => {
            let stored = types::normalise(&found);
            (typed, stored)
        }
        Purpose::Column(Some(wanted)) => {
            let wanted = types::normalise(wanted);
            check_storable(&wanted)?;
            (cast_expression(typed, &found, &wanted)?, wanted)
        }
    };
    check_storable(&output_type)?;

    let folded = fold_constants(typed)?;
    let expression =
        physical_expression(&folded, &planned).map_err(|error| SqlError::from_planner(&error))?;
    Ok(Program {
        inputs: names,
        schema: Arc::new(inputs),
        expression,
        own_type: found,
        output_type,
        canonical,
    })
}

fn check_storable(output_type: &DataType) -> Result<(), SqlError> {
    types::check_storable(output_type).map_err(|error| SqlError::not_storable(output_type, error))
}

/// The columns at the given positions, nullable at every level and without metadata.
fn input_schema(schema: &Schema, columns: &BTreeSet<usize>) -> Schema {
    let field = |index: &usize| loosened_field(schema.field(*index));
    Schema::new(columns.iter().map(field).collect::<Vec<_>>())
}

fn planning_schema(inputs: &Schema) -> Result<DFSchema, SqlError> {
    DFSchema::try_from(inputs.clone()).map_err(|error| SqlError::from_planner(&error))
}

/// Whether `text` is read as the expression `logical` over the same columns.
fn reads_as(text: &str, inputs: &Schema, planned: &DFSchema, logical: &Expr) -> bool {
    let read = || -> Result<Expr, SqlError> {
        let resolved = resolve(parse_expression(text)?, inputs)?;
        logical_expression(resolved.tree, planned)
    };
    read().is_ok_and(|read| read == *logical)
}

/// The type that SQL means by `text`, if it is one.
pub(crate) fn type_of_cast(text: &str) -> Option<DataType> {
    let tree = parse_expression(&format!("CAST(NULL AS {text})")).ok()?;
    let none = Schema::empty();
    let resolved = resolve(tree, &none).ok()?;
    match logical_expression(resolved.tree, &planning_schema(&none).ok()?).ok()? {
        // Text that closes the bracket makes something else of the cast, or a cast of a cast.
        Expr::Cast(cast) if matches!(*cast.expr, Expr::Literal(..)) => {
            Some(cast.field.data_type().clone())
        }
        _ => None,
    }
}
