//! Which parts are evaluated for which rows.

use super::{compiled, first_value, selected, values_of};

#[test]
fn a_case_evaluates_an_arm_only_for_its_rows() {
    for (expression, expected) in [
        (
            "CASE WHEN b <> 0 THEN a / b END",
            ["3", "", "", "-9223372036854775807"],
        ),
        (
            "CASE WHEN b = 0 THEN -1 ELSE a / b END",
            ["3", "-1", "", "-9223372036854775807"],
        ),
        (
            "CASE b WHEN 0 THEN 0 ELSE 10 / b END",
            ["5", "0", "2", "-10"],
        ),
        (
            "CASE WHEN b = 0 THEN 1 / 0 * 0 + 1 ELSE 2 END",
            ["2", "!", "2", "2"],
        ),
        (
            "CASE WHEN b <> 0 THEN a / b WHEN a / 1 = 7 THEN 7 END",
            ["3", "7", "", "-9223372036854775807"],
        ),
        (
            "CASE WHEN b <> 0 THEN a / b + a / b END",
            ["6", "", "", "!"],
        ),
        ("coalesce(nullif(b, 0) * 0, a / 1)", ["0", "7", "0", "0"]),
        ("coalesce(b, a + 1)", ["2", "0", "5", "-1"]),
        (
            "nvl2(nullif(b, 0), a / b, -1)",
            ["3", "-1", "", "-9223372036854775807"],
        ),
    ] {
        let function = compiled(expression);
        for (row, expected) in expected.into_iter().enumerate() {
            let result = function.evaluate(&super::table().slice(row, 1));
            if expected == "!" {
                assert!(result.is_err(), "{expression} of row {row} is {result:?}");
            } else {
                let value = values_of(&function, row..row + 1);
                assert_eq!(value, [expected], "{expression} of row {row}");
            }
        }
        if !expected_any_error(&function) {
            assert_eq!(values_of(&function, 0..4).len(), 4);
        }
    }
}

fn expected_any_error(function: &super::SqlFunction) -> bool {
    (0..4).any(|row| function.evaluate(&super::table().slice(row, 1)).is_err())
}

#[test]
fn a_filter_does_not_evaluate_the_right_side_for_decided_rows() {
    // One zero among many rows, and many zeros among few: DataFusion alone fails for the first.
    assert_eq!(
        selected("b <> 0 AND a / b > 1"),
        Ok(vec![true, false, false, false])
    );
    assert_eq!(
        selected("b = 0 OR a / b < 0"),
        Ok(vec![false, true, false, true])
    );
    assert_eq!(
        selected("b > 1 AND b < 3 AND a / b = 3"),
        Ok(vec![true, false, false, false])
    );
    assert_eq!(
        selected("b <> 0 AND (a IS NULL OR a / b > 1)"),
        Ok(vec![true, false, true, false])
    );
    assert_eq!(
        selected("NOT (b = 0 OR a / b < 0)"),
        Ok(vec![true, false, false, false])
    );
    assert_eq!(selected("false AND a / b > 1"), Ok(vec![false; 4]));
    assert_eq!(selected("true OR a / b > 1"), Ok(vec![true; 4]));
}

#[test]
fn the_left_side_is_evaluated_for_every_row() {
    for filter in [
        "a / b > 1 AND b <> 0",
        "a / b > 1 OR b = 0",
        "b IS NOT NULL AND a / b > 1",
    ] {
        let error = selected(filter).expect_err(filter);
        assert_eq!(error.kind, "divide_by_zero", "{filter}");
    }
}

#[test]
fn lazy_logic_has_three_values() {
    for (left, right) in [("true", "true"), ("true", "false"), ("false", "false")] {
        let failing = format!("({right} AND a / 1 IS DISTINCT FROM -1)");
        let expected = (left == "true" && right == "true").to_string();
        assert_eq!(first_value(&format!("{left} AND {failing}")), expected);
    }
    // The flag of row 2 is NULL.
    let row_two = |expression: &str| values_of(&compiled(expression), 2..3).remove(0);
    for (expression, expected) in [
        ("flag AND b / 1 = 5", ""),
        ("flag AND b / 1 = 6", "false"),
        ("flag OR b / 1 = 5", "true"),
        ("flag OR b / 1 = 6", ""),
        ("b / 1 = 5 AND flag", ""),
        ("flag AND a / 1 = 5", ""),
    ] {
        assert_eq!(row_two(expression), expected, "{expression}");
    }
}

#[test]
fn constants_that_no_row_needs_may_fail() {
    assert_eq!(first_value("CASE WHEN a > 100 THEN 1 / 0 ELSE 1 END"), "1");
    assert_eq!(first_value("coalesce(a, 1 / 0)"), "6");
    assert_eq!(first_value("a > 100 AND 1 / 0 = 1"), "false");
    assert_eq!(first_value("true OR 1 / 0 = 1"), "true");
}
