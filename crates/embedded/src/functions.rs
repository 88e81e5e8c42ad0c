//! From a definition to a function and a filter that can be called.

use std::sync::Arc;

use arrow_array::{BooleanArray, RecordBatch};
use arrow_schema::{DataType, Schema, SchemaRef};
use async_trait::async_trait;
use lance_backfill_core::calls::{Again, End, RowError};
use lance_backfill_core::checkpoint::Fault;
use lance_backfill_core::definition::{BoundColumn, Definition, Function, Input};
use lance_backfill_core::table::FieldView;
use lance_backfill_ports::compute::{
    Answer, Call, CallError, CompiledFilter, Compute, Filters, RowFilter,
};
use lance_backfill_ports::{Error, Result};
use lance_backfill_udf::python::{Artifacts, Spec};
use lance_backfill_udf::types::parse_type;
use lance_backfill_udf::{EvaluateError, SqlFilter, SqlFunction};

use crate::declare::group::struct_of;
use crate::engine::Engine;

mod picked;

use picked::Picked;

/// A SQL expression as a function.
struct Sql(SqlFunction);

#[async_trait]
impl Compute for Sql {
    async fn call(&self, call: Call<'_>) -> std::result::Result<Answer, Fault> {
        let (values, end) = match self.0.evaluate(&call.rows) {
            Ok(values) => (vec![values], End::Complete),
            Err(EvaluateError { kind, message, .. }) => {
                let error = RowError {
                    kind,
                    message,
                    traceback: None,
                    again: Again::Never,
                };
                (vec![], End::Raised(error))
            }
        };
        Ok(Answer {
            values,
            failed: vec![],
            end,
            busy: None,
        })
    }
}

/// A SQL expression as a filter.
struct SqlRows(SqlFilter);

impl RowFilter for SqlRows {
    fn select(&self, batch: &RecordBatch) -> std::result::Result<BooleanArray, CallError> {
        self.0.select(batch).map_err(call_error)
    }
}

fn call_error(error: EvaluateError) -> CallError {
    CallError::Rows {
        kind: error.kind,
        message: error.message,
    }
}

impl Engine {
    /// The function of a column, compiled against the present types of its inputs.
    pub(crate) fn function(
        &self,
        bound: &BoundColumn,
        table: &SchemaRef,
    ) -> Result<Arc<dyn Compute>> {
        self.function_from(bound, table, self.artifacts())
    }

    /// The same, packed files of it from elsewhere.
    pub(crate) fn function_from(
        &self,
        bound: &BoundColumn,
        table: &SchemaRef,
        artifacts: Artifacts,
    ) -> Result<Arc<dyn Compute>> {
        let output = output_type(bound, table)?;
        if let [_] = bound.outputs.as_slice() {
            return self.called(bound, Some(&output), table, artifacts);
        }
        let called = self.called(bound, None, table, artifacts)?;
        Ok(Arc::new(Picked::new(called, output)))
    }

    /// The function as it is called, for an output of this type; without, for what it returns itself.
    fn called(
        &self,
        bound: &BoundColumn,
        output: Option<&DataType>,
        table: &SchemaRef,
        artifacts: Artifacts,
    ) -> Result<Arc<dyn Compute>> {
        let schema = schema_of(&bound.inputs, &bound.definition.inputs, table)?;
        match &bound.definition.function {
            Function::Sql { expression, .. } => {
                let compiled =
                    SqlFunction::compile(expression, &schema, output).map_err(|error| {
                        Error::invalid(format!(
                            "the expression of column '{}' does not compile any more: {error}",
                            bound.name
                        ))
                    })?;
                Ok(Arc::new(Sql(compiled)))
            }
            Function::Python {
                entrypoint,
                artifact,
                environment,
                ..
            } => {
                let Definition { secrets, call, .. } = &bound.definition;
                let output = match output {
                    Some(output) => output.clone(),
                    None => returned(bound)?,
                };
                let spec = Spec {
                    entrypoint: entrypoint.clone(),
                    artifact: artifact.clone(),
                    environment: environment.clone(),
                    secrets: secrets.clone(),
                    env: call.env.clone(),
                    retry_on: call.retry_on.clone(),
                    limits: self.options.python.limits(&bound.definition),
                    inputs: Arc::new(schema),
                    output,
                };
                let function = self.options.python.function(spec, artifacts);
                Ok(self.guarded(&bound.definition, function))
            }
        }
    }

    /// Calls of a column's function that are made at once.
    pub(crate) fn lanes(&self, definition: &Definition) -> usize {
        match &definition.function {
            Function::Sql { .. } => self.options.workers,
            Function::Python { .. } => {
                let python = &self.options.python;
                python.hosts(&python.limits(definition))
            }
        }
    }
}

/// The struct that a packaged function of several columns returns.
fn returned(bound: &BoundColumn) -> Result<DataType> {
    let text = bound.definition.returns.as_deref().unwrap_or_default();
    parse_type(text).map_err(|error| {
        Error::invalid(format!(
            "the definition of '{}' does not say what its function returns: {error}",
            bound.name
        ))
    })
}

/// The filter of a column, if it has one.
pub(crate) fn filter(bound: &BoundColumn, table: &SchemaRef) -> Result<Option<Arc<dyn RowFilter>>> {
    let Some(expression) = &bound.definition.filter else {
        return Ok(None);
    };
    let schema = schema_of(&bound.filter_inputs, &bound.definition.filter_inputs, table)?;
    let compiled = SqlFilter::compile(expression, &schema).map_err(|error| {
        Error::invalid(format!(
            "the filter of column '{}' does not compile any more: {error}",
            bound.name
        ))
    })?;
    Ok(Some(Arc::new(SqlRows(compiled))))
}

/// Compiles what people type about a version of a table.
struct SqlFilters(SchemaRef);

impl Filters for SqlFilters {
    fn compile(&self, filter: &str) -> Result<CompiledFilter> {
        let wrong = |error: &dyn std::fmt::Display| {
            Error::invalid(format!("the filter '{filter}' cannot be used: {error}"))
        };
        let all = SqlFilter::compile(filter, &self.0).map_err(|error| wrong(&error))?;
        let reads = all.inputs().to_vec();
        // Only what it reads is handed to it, in the order of the table.
        let fields: Vec<_> = (self.0.fields().iter())
            .filter(|field| reads.contains(field.name()))
            .cloned()
            .collect();
        let schema = Schema::new(fields);
        let compiled = SqlFilter::compile(filter, &schema).map_err(|error| wrong(&error))?;
        let reads = schema
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .collect();
        Ok(CompiledFilter {
            filter: Arc::new(SqlRows(compiled)),
            reads,
        })
    }
}

/// What compiles the filters of jobs.
pub(crate) fn filters(table: &SchemaRef) -> Arc<dyn Filters> {
    Arc::new(SqlFilters(table.clone()))
}

/// The fields under the names that the expression was written with.
fn schema_of(fields: &[FieldView], inputs: &[Input], table: &SchemaRef) -> Result<Schema> {
    let fields = fields
        .iter()
        .zip(inputs)
        .map(|(field, input)| {
            let found = table.field_with_name(&field.name).map_err(|error| {
                Error::internal(format!("column '{}' has no type", field.name)).with_source(error)
            })?;
            Ok(found.clone().with_name(&input.name))
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(Schema::new(fields))
}

/// Type of a column's values; of several columns, the struct of them.
pub(crate) fn output_type(bound: &BoundColumn, table: &SchemaRef) -> Result<DataType> {
    let mut types = (bound.outputs.iter())
        .map(|output| type_of(output, table))
        .collect::<Result<Vec<DataType>>>()?;
    match (types.len(), types.pop()) {
        (1, Some(only)) => Ok(only),
        (_, last) => {
            types.extend(last);
            Ok(struct_of(&bound.definition.outputs, types))
        }
    }
}

fn type_of(field: &FieldView, table: &SchemaRef) -> Result<DataType> {
    table
        .field_with_name(&field.name)
        .map(|found| found.data_type().clone())
        .map_err(|error| {
            Error::internal(format!("column '{}' has no type", field.name)).with_source(error)
        })
}
