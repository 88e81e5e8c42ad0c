//! How names are tied to columns and fields.

use super::{SqlError, compiled, first_value, refused, values_of};

#[test]
fn a_name_means_the_exact_column_or_the_only_one_in_another_case() {
    for (expression, column) in [
        ("UPPER", "UPPER"),
        ("upper", "UPPER"),
        ("Upper", "UPPER"),
        ("mixed", "Mixed"),
        ("MIXED", "Mixed"),
        ("\"Mixed\"", "Mixed"),
        ("`Mixed`", "Mixed"),
        ("twice", "twice"),
        ("Twice", "Twice"),
        ("\"with space\"", "with space"),
        ("\"s.f\"", "s.f"),
        ("größe", "größe"),
        ("\"größe\"", "größe"),
        ("\"quo\"\"te\"", "quo\"te"),
        ("\"order\"", "order"),
        ("\"end\"", "end"),
        ("end", "end"),
    ] {
        let function = compiled(expression);
        assert_eq!(function.inputs(), [column], "{expression}");
    }
    assert_eq!(first_value("Twice"), "-1");
    assert_eq!(first_value("twice"), "1");
}

#[test]
fn a_column_and_a_function_may_have_one_name() {
    assert_eq!(first_value("upper(text)"), "AB C");
    assert_eq!(first_value("UPPER(CAST(upper AS VARCHAR))"), "1");
}

#[test]
fn a_dot_means_a_field_and_never_a_column_with_a_dot_in_its_name() {
    assert_eq!(first_value("s.f"), "10");
    assert_eq!(first_value("\"s.f\""), "-1");
    assert_eq!(compiled("s.f").inputs(), ["s"]);
}

#[test]
fn fields_are_found_like_columns() {
    for expression in [
        "s.Inner.deep",
        "S.INNER.DEEP",
        "s.inner.\"Deep\"",
        "s['inner'].deep",
    ] {
        assert_eq!(first_value(expression), "p", "{expression}");
    }
    for expression in ["s.g", "s.\"F\"", "s.inner.deeper"] {
        let error = refused(expression);
        assert!(
            matches!(error, SqlError::UnknownField { .. }),
            "{expression}: {error}"
        );
        assert!(error.to_string().contains("closest"), "{error}");
    }
    refused("s['F']");
    refused("a.f");
}

#[test]
fn a_lambda_parameter_hides_a_column_inside_its_lambda_alone() {
    let function = compiled("array_transform(list, A -> a + 1)");
    assert_eq!(function.inputs(), ["list"]);
    assert_eq!(values_of(&function, 0..1), ["[2, 3, 4]"]);
    let function = compiled("array_length(array_transform(list, v -> v + a)) + b");
    assert_eq!(function.inputs(), ["a", "b", "list"]);
    assert_eq!(values_of(&function, 0..1), ["5"]);
    let error = refused("array_length(array_transform(list, v -> v)) + v");
    assert!(matches!(error, SqlError::UnknownColumn { .. }), "{error}");
    assert_eq!(
        first_value("array_transform([named_struct('Key', 1)], e -> e.\"Key\" + 1)"),
        "[2]"
    );
}

#[test]
fn an_unknown_name_suggests_close_ones() {
    for (expression, name, close) in [
        ("teyt", "teyt", "text"),
        ("txt || 'x'", "txt", "text"),
        ("\"mixed\"", "mixed", "Mixed"),
        ("vectr[1]", "vectr", "vector"),
        ("t.a", "t", ""),
    ] {
        let SqlError::UnknownColumn {
            name: found,
            close: names,
        } = refused(expression)
        else {
            panic!("{expression}: {}", refused(expression));
        };
        assert_eq!(found, name);
        assert!(
            close.is_empty() || names.iter().any(|name| name == close),
            "{names:?}"
        );
    }
    let error = refused("TWICE");
    let SqlError::AmbiguousColumn { candidates, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(candidates, &["twice", "Twice"]);
    assert!(error.to_string().contains("double quotes"), "{error}");
}

#[test]
fn inputs_are_the_columns_read_in_the_order_of_the_schema() {
    assert_eq!(compiled("y + b * a + a").inputs(), ["a", "b", "y"]);
    assert_eq!(compiled("1 + 1").inputs(), [""; 0]);
    assert_eq!(compiled("s.f + s.f").inputs(), ["s"]);
}
