//! Claims about expressions, over one table of four rows with a column of each common type.

mod arithmetic;
mod batches;
mod canonical;
mod functions;
mod language;
mod laziness;
mod limits;
mod names;
mod refusals;
mod speed;

use std::sync::Arc;

use arrow_array::builder::{FixedSizeListBuilder, Float32Builder, Int64Builder, ListBuilder};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array,
    Int32Array, Int64Array, RecordBatch, StringArray, StructArray, TimestampMicrosecondArray,
};
use arrow_cast::display::array_value_to_string;
use arrow_schema::{DataType, Field};

use super::{EvaluateError, SqlError, SqlFilter, SqlFunction};

/// The table. Row 0 is ordinary, row 1 has a zero `b`, row 2 is NULL where a column may be, and row
/// 3 holds extremes.
fn table() -> RecordBatch {
    let ints = |values: [Option<i64>; 4]| Arc::new(Int64Array::from(values.to_vec())) as ArrayRef;
    let strings =
        |values: [Option<&str>; 4]| Arc::new(StringArray::from(values.to_vec())) as ArrayRef;
    let inner = StructArray::from(vec![(
        Arc::new(Field::new("Deep", DataType::Utf8, true)),
        strings([Some("p"), Some("q"), None, Some("r")]),
    )]);
    let structure = StructArray::from(vec![
        (
            Arc::new(Field::new("f", DataType::Int64, true)),
            ints([Some(10), Some(20), None, Some(40)]),
        ),
        (
            Arc::new(Field::new("inner", inner.data_type().clone(), true)),
            Arc::new(inner) as ArrayRef,
        ),
    ]);
    let mut lists = ListBuilder::new(Int64Builder::new());
    lists.append_value([Some(1), Some(2), Some(3)]);
    lists.append_value([]);
    lists.append_null();
    lists.append_value([Some(7), None]);
    let mut vectors = FixedSizeListBuilder::new(Float32Builder::new(), 2);
    for value in [1.0_f32, 2.0, 3.0, 4.0] {
        vectors.values().append_slice(&[value, -value]);
        vectors.append(true);
    }
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("a", ints([Some(6), Some(7), None, Some(i64::MAX)])),
        ("b", ints([Some(2), Some(0), Some(5), Some(-1)])),
        (
            "small",
            Arc::new(Int32Array::from(vec![
                Some(1),
                Some(2),
                None,
                Some(i32::MIN),
            ])),
        ),
        ("lowest", ints([Some(1), Some(1), None, Some(i64::MIN)])),
        (
            "x",
            Arc::new(Float64Array::from(vec![
                Some(0.5),
                Some(2.25),
                None,
                Some(-1e300),
            ])),
        ),
        (
            "y",
            Arc::new(Float64Array::from(vec![
                Some(4.0),
                Some(0.0),
                Some(1.0),
                Some(1e300),
            ])),
        ),
        (
            "dec",
            Arc::new(
                Decimal128Array::from(vec![Some(150), Some(-275), None, Some(9_999_999_999)])
                    .with_precision_and_scale(10, 2)
                    .unwrap(),
            ),
        ),
        (
            "wide",
            Arc::new(
                Decimal128Array::from(vec![Some(1), Some(2), None, Some(10_i128.pow(38) - 1)])
                    .with_precision_and_scale(38, 0)
                    .unwrap(),
            ),
        ),
        (
            "text",
            strings([Some("Ab c"), Some("12"), None, Some("ünïcode")]),
        ),
        (
            "flag",
            Arc::new(BooleanArray::from(vec![
                Some(true),
                Some(false),
                None,
                Some(true),
            ])),
        ),
        (
            "day",
            Arc::new(Date32Array::from(vec![
                Some(0),
                Some(19_782),
                None,
                Some(59),
            ])),
        ),
        (
            "at",
            Arc::new(TimestampMicrosecondArray::from(vec![
                Some(0),
                Some(1_709_210_096_000_000),
                None,
                Some(-1),
            ])),
        ),
        (
            "bytes",
            Arc::new(BinaryArray::from(vec![
                Some(&b"ab"[..]),
                Some(b""),
                None,
                Some(b"\xff"),
            ])),
        ),
        ("s", Arc::new(structure)),
        ("list", Arc::new(lists.finish())),
        ("vector", Arc::new(vectors.finish())),
        ("UPPER", ints([Some(1), Some(2), None, Some(4)])),
        ("Mixed", ints([Some(1), Some(2), None, Some(4)])),
        ("twice", ints([Some(1), Some(2), None, Some(4)])),
        ("Twice", ints([Some(-1), Some(-2), None, Some(-4)])),
        ("with space", ints([Some(1), Some(2), None, Some(4)])),
        ("s.f", ints([Some(-1), Some(-2), None, Some(-4)])),
        ("größe", ints([Some(1), Some(2), None, Some(4)])),
        ("quo\"te", ints([Some(1), Some(2), None, Some(4)])),
        ("order", ints([Some(1), Some(2), None, Some(4)])),
        ("end", ints([Some(1), Some(2), None, Some(4)])),
    ];
    RecordBatch::try_from_iter_with_nullable(
        columns
            .into_iter()
            .map(|(name, column)| (name, column, true)),
    )
    .unwrap()
}

fn compiled(expression: &str) -> SqlFunction {
    SqlFunction::compile(expression, &table().schema(), None)
        .unwrap_or_else(|error| panic!("{expression}: {error}"))
}

fn refused(expression: &str) -> SqlError {
    match SqlFunction::compile(expression, &table().schema(), None) {
        Ok(function) => panic!("`{expression}` compiles to {:?}", function.canonical()),
        Err(error) => error,
    }
}

/// The values for the given rows of the table, as text; NULL is the empty text.
fn values_of(function: &SqlFunction, rows: std::ops::Range<usize>) -> Vec<String> {
    let batch = table().slice(rows.start, rows.len());
    let values = function
        .evaluate(&batch)
        .unwrap_or_else(|error| panic!("{}: {error:?}", function.canonical()));
    assert_eq!(values.len(), rows.len());
    assert_eq!(values.data_type(), function.output_type());
    (0..values.len())
        .map(|row| array_value_to_string(&values, row).unwrap())
        .collect()
}

/// What is wrong with the values of the given row, by expression; none if all are as expected.
fn differences(row: usize, expected: &[(&str, &str)]) -> Vec<String> {
    let schema = table().schema();
    let batch = table().slice(row, 1);
    let value = |expression: &str| {
        let function =
            SqlFunction::compile(expression, &schema, None).map_err(|error| error.to_string())?;
        let values = function
            .evaluate(&batch)
            .map_err(|error| format!("{error:?}"))?;
        array_value_to_string(&values, 0).map_err(|error| error.to_string())
    };
    expected
        .iter()
        .map(|(expression, expected)| (expression, expected, value(expression)))
        .filter(|(_, expected, value)| value.as_deref() != Ok(**expected))
        .map(|(expression, expected, value)| format!("{expression}: {value:?}, not {expected:?}"))
        .collect()
}

/// The value for the first row, as text.
fn first_value(expression: &str) -> String {
    values_of(&compiled(expression), 0..1).remove(0)
}

/// The error for one row of the table.
fn row_error(expression: &str, row: usize) -> EvaluateError {
    match compiled(expression).evaluate(&table().slice(row, 1)) {
        Ok(values) => panic!("`{expression}` is {values:?} for the row {row}"),
        Err(error) => error,
    }
}

fn selected(filter: &str) -> Result<Vec<bool>, EvaluateError> {
    let table = table();
    let filter = SqlFilter::compile(filter, &table.schema())
        .unwrap_or_else(|error| panic!("{filter}: {error}"));
    let selection = filter.select(&table)?;
    assert!(selection.iter().all(|row| row.is_some()));
    Ok(selection.iter().flatten().collect())
}
