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
        ("wide + 1", 3),
        ("wide * 10", 3),
        ("wide * wide", 3),
        ("-(a + 1)", 3),
        ("array_transform([a], v -> v + 1)", 3),
        ("array_transform([lowest], v -> -v)", 3),
    ] {
        let error = row_error(expression, row);
        assert_eq!(error.kind, "overflow", "{expression}: {error:?}");
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
fn functions_fail_at_the_edges_of_their_types() {
    for (expression, row) in [
        ("abs(small)", 3),
        ("gcd(lowest, 0)", 3),
        ("lcm(a, a - 1)", 3),
        ("factorial(a)", 3),
        ("day + INTERVAL '2147483647 days'", 0),
        ("at + INTERVAL '300000 years'", 0),
        ("CAST(a AS TIMESTAMP)", 3),
        ("to_timestamp(a)", 3),
        ("round(wide, -37)", 3),
        ("power(wide, 2)", 3),
        ("arrow_cast(a, 'Date64') - arrow_cast(lowest, 'Date64')", 3),
    ] {
        let error = row_error(expression, row);
        assert_eq!(error.kind, "overflow", "{expression}: {error:?}");
    }
}

#[test]
fn what_wraps_or_saturates_is_known() {
    // Not wanted, but DataFusion's; a change of one of these belongs in the changelog.
    let differences = super::differences(
        3,
        &[
            ("a << 1", "-2"),
            ("a << 64", "9223372036854775807"),
            ("CAST(y AS FLOAT)", "inf"),
            ("to_timestamp(y)", "2262-04-11T23:47:16.854775807"),
            (
                "date_trunc('day', arrow_cast(lowest, 'Timestamp(Nanosecond, None)'))",
                "2262-04-11T23:34:33.709551616",
            ),
            (
                "date_bin(INTERVAL '1 day', arrow_cast(lowest, 'Timestamp(Nanosecond, None)'))",
                "2262-04-11T23:34:33.709551616",
            ),
            (
                "date_part('year', arrow_cast(a, 'Timestamp(Second, None)'))",
                "",
            ),
        ],
    );
    assert!(differences.is_empty(), "{differences:#?}");
}
