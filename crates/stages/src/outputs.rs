//! What one call fills: a column, or several columns as one array of structs.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, StructArray};
use arrow_buffer::{BooleanBuffer, NullBuffer};
use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef};
use arrow_select::nullif::nullif;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use lance_backfill_ports::table::BatchStream;
use lance_backfill_ports::{Error, Result};

use crate::column::Column;

/// Results, in file order.
pub(crate) type ArrayStream = BoxStream<'static, Result<ArrayRef>>;

/// The output columns of one version, and how their values are one array.
///
/// The array of a single column is that column. Of several it has structs, with the names that the
/// columns were declared by; a struct is NULL exactly where all of its fields are.
#[derive(Debug, Clone)]
pub(crate) struct Outputs {
    names: Vec<String>,
    value: DataType,
}

impl Outputs {
    /// The outputs of a column in a version with this schema.
    pub(crate) fn of(column: &Column, table: &SchemaRef) -> Result<Self> {
        let names = column.output_names();
        let types = (names.iter())
            .map(|name| {
                let field = table.field_with_name(name).map_err(|error| {
                    Error::internal("an output column has no field").with_source(error)
                })?;
                Ok(field.data_type().clone())
            })
            .collect::<Result<Vec<DataType>>>()?;
        let value = match types.as_slice() {
            [only] => only.clone(),
            _ => {
                let declared = column.bound.definition.outputs.iter().zip(types);
                let fields = declared.map(|(name, data_type)| Field::new(name, data_type, true));
                DataType::Struct(fields.collect())
            }
        };
        Ok(Self { names, value })
    }

    /// Present names of the columns.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// The type of the one array.
    pub(crate) const fn value_type(&self) -> &DataType {
        &self.value
    }

    /// The fields of the structs, where there are several columns.
    fn group(&self) -> Option<&Fields> {
        match (&self.value, self.names.len()) {
            (DataType::Struct(fields), 2..) => Some(fields),
            _ => None,
        }
    }

    /// What was read of the columns, as batches of the one array.
    pub(crate) fn joined(&self, batches: BatchStream) -> BatchStream {
        let Some(fields) = self.group().cloned() else {
            return batches;
        };
        let join = move |batch: RecordBatch| {
            let nulls = null_everywhere(batch.columns());
            let structs = StructArray::try_new(fields.clone(), batch.columns().to_vec(), nulls);
            let structs = structs.map_err(|error| {
                Error::internal("columns do not have the types of their fields").with_source(error)
            })?;
            RecordBatch::try_from_iter_with_nullable([("value", Arc::new(structs) as _, true)])
                .map_err(|error| Error::internal("cannot join columns").with_source(error))
        };
        batches
            .and_then(move |batch| std::future::ready(join(batch)))
            .boxed()
    }

    /// What a function returned, as the columns will have it.
    pub(crate) fn settled(&self, values: ArrayRef) -> Result<ArrayRef> {
        match self.group() {
            Some(_) => settled_structs(&values),
            None => Ok(values),
        }
    }

    /// The one array as batches of the columns.
    pub(crate) fn split(&self, values: ArrayStream) -> BatchStream {
        let types: Vec<DataType> = match self.group() {
            Some(fields) => (fields.iter())
                .map(|field| field.data_type().clone())
                .collect(),
            None => vec![self.value.clone()],
        };
        let fields = (self.names.iter().zip(types))
            .map(|(name, data_type)| Field::new(name, data_type, true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let is_group = self.group().is_some();
        let split = move |values: ArrayRef| {
            let columns = match values.as_any().downcast_ref::<StructArray>() {
                Some(structs) if is_group => structs.columns().to_vec(),
                _ => vec![values],
            };
            RecordBatch::try_new(schema.clone(), columns).map_err(|error| {
                Error::internal("values do not have the types of their columns").with_source(error)
            })
        };
        values
            .and_then(move |values| std::future::ready(split(values)))
            .boxed()
    }
}

/// Structs for several columns, with NULL for those whose fields are all NULL, and the other way round.
pub fn settled_structs(values: &ArrayRef) -> Result<ArrayRef> {
    let structs = (values.as_any().downcast_ref::<StructArray>())
        .ok_or_else(|| Error::internal("several columns have no structs"))?;
    let failed = |error| Error::internal("cannot take structs apart").with_source(error);
    let mut columns = structs.columns().to_vec();
    if let Some(nulls) = structs.nulls().filter(|nulls| nulls.null_count() > 0) {
        let is_null = BooleanArray::new(!nulls.inner(), None);
        for column in &mut columns {
            *column = nullif(column, &is_null).map_err(failed)?;
        }
    }
    let nulls = null_everywhere(&columns);
    let settled = StructArray::try_new(structs.fields().clone(), columns, nulls);
    Ok(Arc::new(settled.map_err(failed)?))
}

/// Where all columns are NULL; none if some column has a value in each row.
pub(crate) fn null_everywhere(columns: &[ArrayRef]) -> Option<NullBuffer> {
    let mut any: Option<BooleanBuffer> = None;
    for column in columns {
        let nulls = column
            .logical_nulls()
            .filter(|nulls| nulls.null_count() > 0)?;
        any = Some(match any {
            Some(any) => &any | nulls.inner(),
            None => nulls.into_inner(),
        });
    }
    any.map(NullBuffer::new)
        .filter(|nulls| nulls.null_count() > 0)
}

#[cfg(test)]
mod tests {
    use arrow_array::{Int32Array, StringArray};

    use super::*;

    fn group() -> Outputs {
        let fields = [("n", DataType::Int32), ("t", DataType::Utf8)];
        let fields = fields.map(|(name, data_type)| Field::new(name, data_type, true));
        Outputs {
            names: vec!["number".to_owned(), "text".to_owned()],
            value: DataType::Struct(fields.into_iter().collect()),
        }
    }

    fn columns() -> Vec<ArrayRef> {
        vec![
            Arc::new(Int32Array::from(vec![Some(1), None, None, Some(4)])),
            Arc::new(StringArray::from(vec![Some("a"), Some("b"), None, None])),
        ]
    }

    fn one<T: Clone + Send + 'static>(item: T) -> BoxStream<'static, Result<T>> {
        futures::stream::iter([Ok(item)]).boxed()
    }

    #[tokio::test]
    async fn columns_that_are_read_are_structs_and_written_are_columns_again() {
        let names = ["x", "y"];
        let read = RecordBatch::try_from_iter(names.into_iter().zip(columns())).expect("a batch");
        let joined: Vec<RecordBatch> =
            (group().joined(one(read)).try_collect().await).expect("joined");
        let structs = joined[0].column(0).clone();
        assert_eq!(structs.data_type(), group().value_type());
        let nulls: Vec<bool> = (0..4).map(|row| structs.is_null(row)).collect();
        assert_eq!(nulls, [false, false, true, false]);
        let split: Vec<RecordBatch> =
            (group().split(one(structs)).try_collect().await).expect("split");
        assert_eq!(split[0].columns(), columns());
        assert_eq!(split[0].schema().field(1).name(), "text");
    }

    #[test]
    fn a_struct_of_nulls_is_null_and_a_null_struct_has_nulls() {
        let fields = match group().value {
            DataType::Struct(fields) => fields,
            other => unreachable!("{other}"),
        };
        // The last row is NULL although its fields have values.
        let nulls = NullBuffer::from(vec![true, true, true, false]);
        let returned = StructArray::new(fields, columns(), Some(nulls));
        let settled = group().settled(Arc::new(returned)).expect("settled");
        let nulls: Vec<bool> = (0..4).map(|row| settled.is_null(row)).collect();
        assert_eq!(nulls, [false, false, true, true]);
        let numbers = settled.as_any().downcast_ref::<StructArray>();
        let numbers = numbers.expect("structs").column(0).clone();
        let expected: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None, None, None]));
        assert_eq!(&numbers, &expected);
    }

    #[test]
    fn rows_are_null_where_each_column_is() {
        let nulls = null_everywhere(&columns()).expect("some");
        assert_eq!(nulls.iter().collect::<Vec<_>>(), [true, true, false, true]);
        let mut with_values = columns();
        with_values.push(Arc::new(Int32Array::from(vec![0; 4])));
        assert_eq!(null_everywhere(&with_values), None);
        assert_eq!(null_everywhere(&[]), None);
    }
}
