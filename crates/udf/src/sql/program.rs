//! A compiled expression, ready to run over batches.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{
    Array, ArrayRef, GenericBinaryArray, OffsetSizeTrait, RecordBatch, RecordBatchOptions,
};
use arrow_cast::CastOptions;
use arrow_schema::{DataType, Field, FieldRef, SchemaRef};
use datafusion::physical_expr::PhysicalExpr;

use super::evaluate_error::EvaluateError;
use super::guard::evaluate_guarded;

/// What a [`super::SqlFunction`] and a [`super::SqlFilter`] share.
#[derive(Debug)]
pub(super) struct Program {
    /// The names of the input columns, in the order of the schema it was compiled against.
    pub(super) inputs: Vec<String>,
    /// The input columns as the expression sees them, [loosened](loosened_field): a batch may have
    /// NULLs where the schema at compile time allowed none.
    pub(super) schema: SchemaRef,
    /// Reads the input columns by their position in `schema`.
    pub(super) expression: Arc<dyn PhysicalExpr>,
    /// The type of the expression itself, before any cast to the output type.
    pub(super) own_type: DataType,
    /// The type of the result, in a form that Lance stores.
    pub(super) output_type: DataType,
    /// The text for content digests.
    pub(super) canonical: String,
}

impl Program {
    /// The value for each row of `batch`, which holds the input columns by name, in any order.
    pub(super) fn evaluate(&self, batch: &RecordBatch) -> Result<ArrayRef, EvaluateError> {
        let rows = batch.num_rows();
        let columns = (0..self.inputs.len())
            .map(|position| self.input_column(batch, position))
            .collect::<Result<Vec<_>, _>>()?;
        let inputs = RecordBatch::try_new_with_options(
            Arc::clone(&self.schema),
            columns,
            &RecordBatchOptions::new().with_row_count(Some(rows)),
        )
        .map_err(|error| EvaluateError::from(&error))?;
        let values = evaluate_guarded(self.expression.as_ref(), &inputs)
            .and_then(|value| value.into_array(rows))
            .map_err(|error| EvaluateError::from(&error))?;
        let values = converted(&values, &self.output_type)?;
        if values.len() != rows {
            return Err(EvaluateError::new(
                "internal",
                &format!("{} values came out for {rows} rows", values.len()),
            ));
        }
        Ok(values)
    }

    /// The input column at `position`, found where it usually is or else by its name.
    fn input_column(
        &self,
        batch: &RecordBatch,
        position: usize,
    ) -> Result<ArrayRef, EvaluateError> {
        let field = self.schema.field(position);
        let fields = batch.schema_ref().fields();
        let found = match fields.get(position) {
            Some(there) if there.name() == field.name() => position,
            _ => fields
                .iter()
                .position(|there| there.name() == field.name())
                .ok_or_else(|| {
                    EvaluateError::new(
                        "missing_input",
                        &format!("the batch has no column `{}`", field.name()),
                    )
                })?,
        };
        let column = batch.column(found);
        if column.data_type() == field.data_type() {
            return Ok(without_neighbours(column));
        }
        if loosened(column.data_type()) != *field.data_type() {
            return Err(EvaluateError::new(
                "input_type",
                &format!(
                    "the column `{}` of the batch is of the type {}, and the expression was \
                     compiled for {}",
                    field.name(),
                    column.data_type(),
                    field.data_type()
                ),
            ));
        }
        // Only the nullability or the metadata of nested fields differs.
        converted(column, field.data_type())
    }
}

/// `column` without the bytes of the rows around it, if it is a slice of binary values.
///
/// Arrow checks those too when it casts binary values to text, and would fail for a row because of
/// its neighbour.
fn without_neighbours(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Binary => compacted::<i32>(column),
        DataType::LargeBinary => compacted::<i64>(column),
        _ => Arc::clone(column),
    }
}

fn compacted<O: OffsetSizeTrait>(column: &ArrayRef) -> ArrayRef {
    let values = column.as_binary::<O>();
    let offsets = values.value_offsets();
    let used = match (offsets.first(), offsets.last()) {
        (Some(first), Some(last)) => last.as_usize() - first.as_usize(),
        _ => 0,
    };
    if used == values.value_data().len() {
        Arc::clone(column)
    } else {
        Arc::new(values.iter().collect::<GenericBinaryArray<O>>())
    }
}

/// `values` as an array of exactly the type `wanted`.
fn converted(values: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, EvaluateError> {
    if values.data_type() == wanted {
        return Ok(Arc::clone(values));
    }
    let options = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    arrow_cast::cast_with_options(values, wanted, &options)
        .map_err(|error| EvaluateError::from(&error))
}

/// A field of the same name and type that may be NULL at every level and carries no metadata.
pub(super) fn loosened_field(field: &Field) -> Field {
    Field::new(field.name(), loosened(field.data_type()), true)
}

fn loosened(data_type: &DataType) -> DataType {
    let field = |field: &FieldRef| Arc::new(loosened_field(field));
    match data_type {
        DataType::List(item) => DataType::List(field(item)),
        DataType::LargeList(item) => DataType::LargeList(field(item)),
        DataType::ListView(item) => DataType::ListView(field(item)),
        DataType::LargeListView(item) => DataType::LargeListView(field(item)),
        DataType::FixedSizeList(item, size) => DataType::FixedSizeList(field(item), *size),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(field).collect()),
        // The keys of a map are never NULL.
        other => other.clone(),
    }
}
