//! Which batches a compiled expression takes.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, Int32Array, Int64Array, ListArray, RecordBatch};
use arrow_schema::{DataType, Field, Schema};

use super::{SqlFilter, SqlFunction, compiled, table};

#[test]
fn inputs_are_found_by_name_in_any_order() {
    let function = compiled("a - b");
    let batch = |columns: Vec<(&str, i64)>| {
        let columns = columns
            .into_iter()
            .map(|(name, value)| (name, Arc::new(Int64Array::from(vec![value])) as ArrayRef));
        RecordBatch::try_from_iter(columns).unwrap()
    };
    for batch in [
        batch(vec![("a", 5), ("b", 3)]),
        batch(vec![("b", 3), ("a", 5)]),
        batch(vec![("z", 0), ("b", 3), ("A", 9), ("a", 5)]),
    ] {
        let values = function.evaluate(&batch).unwrap();
        assert_eq!(values.as_ref(), &Int64Array::from(vec![2]));
    }
    let error = function
        .evaluate(&batch(vec![("A", 1), ("b", 1)]))
        .expect_err("no a");
    assert_eq!(error.kind, "missing_input");
    assert!(error.message.contains("`a`"), "{error}");
}

#[test]
fn a_column_of_another_type_is_an_error() {
    let column: ArrayRef = Arc::new(Int32Array::from(vec![1]));
    let batch = RecordBatch::try_from_iter([("a", column)]).unwrap();
    let error = compiled("a + 1")
        .evaluate(&batch)
        .expect_err("another type");
    assert_eq!(error.kind, "input_type");
    assert!(
        error.message.contains("Int32") && error.message.contains("Int64"),
        "{error}"
    );
}

#[test]
fn nullability_may_differ_from_the_compiled_schema() {
    let item = |nullable| DataType::new_list(DataType::Int64, nullable);
    for (compiled_nullable, batch_nullable) in [(true, false), (false, true), (false, false)] {
        let schema = Schema::new(vec![
            Field::new("a", DataType::Int64, compiled_nullable),
            Field::new("list", item(compiled_nullable), compiled_nullable),
        ]);
        let function =
            SqlFunction::compile("struct(a, list, list[1], a IS NULL)", &schema, None).unwrap();
        let values = if batch_nullable {
            vec![Some(1), None]
        } else {
            vec![Some(1), Some(2)]
        };
        let lists = ListArray::from_iter_primitive::<arrow_array::types::Int64Type, _, _>([
            Some(vec![Some(1)]),
            Some(vec![Some(2)]),
        ]);
        let lists = arrow_cast::cast(&lists, &item(batch_nullable)).unwrap();
        let batch_schema = Schema::new(vec![
            Field::new("a", DataType::Int64, batch_nullable),
            Field::new("list", item(batch_nullable), batch_nullable),
        ]);
        let batch = RecordBatch::try_new(
            Arc::new(batch_schema),
            vec![Arc::new(Int64Array::from(values)), lists],
        )
        .unwrap();
        let result = function.evaluate(&batch).unwrap();
        assert_eq!(result.data_type(), function.output_type());
        assert_eq!(result.len(), 2);
    }
}

#[test]
fn a_row_does_not_fail_because_of_its_neighbours() {
    // Row 3 holds bytes that are no text.
    let function = compiled("CAST(bytes AS VARCHAR)");
    assert_eq!(super::values_of(&function, 0..3), ["ab", "", ""]);
    assert_eq!(super::values_of(&function, 2..3), [""]);
    assert_eq!(super::row_error("CAST(bytes AS VARCHAR)", 3).kind, "cast");
}

#[test]
fn a_batch_without_rows_gives_no_values() {
    let empty = table().slice(0, 0);
    for expression in [
        "a + b",
        "a / b",
        "1",
        "'x'",
        "CASE WHEN a > 1 THEN 1 / b END",
        "array_transform(list, v -> v + 1)",
        "s.f",
        "upper(text)",
        "flag AND a / b = 1",
    ] {
        let function = compiled(expression);
        let values = function.evaluate(&empty).unwrap();
        assert_eq!(values.len(), 0, "{expression}");
        assert_eq!(values.data_type(), function.output_type(), "{expression}");
    }
    let filter = SqlFilter::compile("b <> 0 AND a / b > 1", &table().schema()).unwrap();
    assert_eq!(filter.select(&empty).unwrap().len(), 0);
}

#[test]
fn a_constant_is_repeated_for_every_row() {
    for (expression, value) in [
        ("1 + 1", "2"),
        ("'x'", "x"),
        ("[1, 2]", "[1, 2]"),
        ("pi() > 3", "true"),
    ] {
        let values = super::values_of(&compiled(expression), 0..4);
        assert_eq!(values, [value; 4], "{expression}");
    }
    let no_columns = RecordBatch::try_new_with_options(
        Arc::new(Schema::empty()),
        Vec::new(),
        &arrow_array::RecordBatchOptions::new().with_row_count(Some(3)),
    )
    .unwrap();
    assert_eq!(compiled("1").evaluate(&no_columns).unwrap().len(), 3);
    let filter = SqlFilter::compile("true", &Schema::empty()).unwrap();
    assert_eq!(filter.select(&no_columns).unwrap().true_count(), 3);
    assert_eq!(filter.inputs(), [""; 0]);
}

#[test]
fn compiled_expressions_are_shared_between_threads() {
    let function = compiled("a + b");
    let filter = SqlFilter::compile("flag", &table().schema()).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let (function, filter) = (function.clone(), filter.clone());
            scope.spawn(move || {
                assert_eq!(function.evaluate(&table().slice(0, 2)).unwrap().len(), 2);
                assert_eq!(filter.select(&table()).unwrap().len(), 4);
            });
        }
    });
}
