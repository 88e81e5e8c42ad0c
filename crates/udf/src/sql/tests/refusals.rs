//! What cannot be declared, and what is said about it.

use arrow_schema::{DataType, Field, Schema};

use super::{SqlError, SqlFilter, SqlFunction, refused, table};

/// The name of the variant.
fn kind(error: &SqlError) -> String {
    let debug = format!("{error:?}");
    let end = debug.find([' ', '{', '(']).unwrap_or(debug.len());
    debug.chars().take(end).collect()
}

#[test]
fn each_thing_that_is_no_function_of_a_row_is_refused_by_name() {
    let mut wrong = Vec::new();
    for (expression, variant, words) in [
        ("", "Empty", "empty"),
        (" -- nothing\n", "Empty", "empty"),
        ("a +", "Parse", "does not parse"),
        ("(a", "Parse", "does not parse"),
        ("'open", "Parse", "does not parse"),
        ("\0", "Parse", "does not parse"),
        ("a\0", "TrailingText", "`\\u{0}`"),
        ("a, b", "TrailingText", "`,`"),
        ("a; b", "TrailingText", "`;`"),
        ("a b", "TrailingText", "`b`"),
        ("a AS c", "TrailingText", "`AS`"),
        ("a)", "TrailingText", "`)`"),
        ("SELECT a", "TrailingText", ""),
        ("nosuch", "UnknownColumn", "no column `nosuch`"),
        ("nosuch(a)", "UnknownFunction", "no function `nosuch`"),
        ("lowr(text)", "UnknownFunction", "`lower`"),
        ("schema.lower(text)", "UnknownFunction", "no function"),
        ("abs(text)", "ArgumentTypes", "CAST"),
        ("a + flag", "ArgumentTypes", "CAST"),
        ("strpos(text)", "ArgumentTypes", "strpos"),
        ("substr(a)", "Invalid", "without for/from"),
        ("list + 1", "ArgumentTypes", ""),
        ("sum(a)", "Aggregate", "`sum`"),
        ("COUNT(*)", "Aggregate", "`count`"),
        ("avg(a) + 1", "Aggregate", "one row"),
        ("row_number() OVER ()", "Window", "window"),
        ("sum(a) OVER (ORDER BY b)", "Window", "window"),
        ("lag(a)", "Window", "`lag`"),
        ("abs(a) OVER ()", "Window", "window"),
        ("abs(a) FILTER (WHERE b > 1)", "Unsupported", "FILTER"),
        ("abs(DISTINCT a)", "Unsupported", "DISTINCT"),
        ("abs(a ORDER BY b)", "Unsupported", "ORDER BY"),
        ("(SELECT 1)", "Subquery", "subquery"),
        ("a IN (SELECT 1)", "Subquery", "subquery"),
        ("EXISTS (SELECT 1)", "Subquery", "subquery"),
        ("a > ALL (SELECT 1)", "Subquery", "subquery"),
        ("?", "Parameter", "parameter"),
        ("a + $1", "Parameter", "`$1`"),
        ("a + :name", "Parameter", "parameter"),
        ("@variable", "Parameter", "parameter"),
        ("*", "Parse", ""),
        ("concat(*)", "Wildcard", "name the columns"),
        ("random()", "NotImmutable", "`random`"),
        ("a + uuid()", "NotImmutable", "`uuid`"),
        ("now()", "NotImmutable", "`now`"),
        ("CURRENT_TIMESTAMP", "NotImmutable", "up to date"),
        ("current_date", "NotImmutable", "`current_date`"),
        ("today()", "NotImmutable", "`current_date`"),
        ("current_time", "NotImmutable", "`current_time`"),
        (
            "CASE WHEN flag THEN random() END",
            "NotImmutable",
            "`random`",
        ),
        (
            "array_transform(list, v -> v + random())",
            "NotImmutable",
            "`random`",
        ),
        ("unnest(list)", "Unsupported", "several rows"),
        ("text LIKE 'A!%' ESCAPE '!'", "Invalid", "backslash"),
        ("text COLLATE x", "Unsupported", "not supported"),
        ("NULL", "NullType", "--type"),
        ("make_array()", "NullType", "--type"),
        ("INTERVAL '1 day'", "NotStorable", "timestamp"),
        (
            "arrow_cast(text, 'Dictionary(Int8, Utf8)')",
            "NotStorable",
            "Utf8",
        ),
        ("1 / 0", "ConstantFails", "every row"),
        ("a + 1 / 0", "ConstantFails", "division by zero"),
        ("9223372036854775807 + 1", "ConstantFails", "verflow"),
        ("a + CAST('x' AS INT)", "ConstantFails", "x"),
        ("DATE '2024-02-30'", "ConstantFails", "2024-02-30"),
    ] {
        let Err(error) = SqlFunction::compile(expression, &table().schema(), None) else {
            wrong.push(format!("{expression} compiles"));
            continue;
        };
        let message = error.to_string();
        let short = !message.contains('\n') && message.len() < 600;
        if kind(&error) != variant || !message.contains(words) || !short {
            wrong.push(format!("{expression}: {}: {message}", kind(&error)));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_function_that_is_not_immutable_is_refused() {
    let state = super::super::session::state();
    let mut refusals = 0;
    for (name, function) in state.scalar_functions() {
        if function.signature().volatility != datafusion::logical_expr::Volatility::Immutable {
            let error = refused(&format!("{name}()"));
            assert!(
                matches!(error, SqlError::NotImmutable { .. }),
                "{name}: {error}"
            );
            refusals += 1;
        }
    }
    assert!(refusals >= 5, "only {refusals} functions");
}

#[test]
fn every_aggregate_and_window_function_is_refused() {
    let state = super::super::session::state();
    for name in state.aggregate_functions().keys() {
        let error = refused(&format!("{name}(a)"));
        assert!(
            matches!(error, SqlError::Aggregate { .. }),
            "{name}: {error}"
        );
    }
    for name in state.window_functions().keys() {
        let error = refused(&format!("{name}(a)"));
        let named = matches!(error, SqlError::Window { .. } | SqlError::Aggregate { .. });
        assert!(named, "{name}: {error}");
    }
}

#[test]
fn a_filter_must_be_boolean() {
    for filter in ["a", "1", "'true'", "NULL", "text"] {
        let error = SqlFilter::compile(filter, &table().schema()).expect_err(filter);
        assert!(
            matches!(error, SqlError::NotBoolean { .. }),
            "{filter}: {error}"
        );
    }
}

#[test]
fn a_wanted_type_must_be_storable_and_castable() {
    let schema = table().schema();
    let compile = |expression: &str, wanted: &DataType| {
        SqlFunction::compile(expression, &schema, Some(wanted)).map(|f| f.output_type().clone())
    };
    assert_eq!(compile("a", &DataType::Utf8View), Ok(DataType::Utf8));
    assert_eq!(compile("NULL", &DataType::Float64), Ok(DataType::Float64));
    let vector = DataType::new_fixed_size_list(DataType::Float32, 2, true);
    assert_eq!(compile("[x, y]", &vector), Ok(vector.clone()));
    let error = compile("s", &DataType::Int64).expect_err("a struct is no number");
    assert!(matches!(error, SqlError::CannotCast { .. }), "{error}");
    let dictionary = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8));
    let error = compile("text", &dictionary).expect_err("a dictionary");
    assert!(matches!(error, SqlError::NotStorable { .. }), "{error}");
    let error = compile("a", &DataType::Null).expect_err("nothing");
    assert_eq!(error, SqlError::NullType);
}

#[test]
fn a_column_of_a_type_that_cannot_be_stored_can_be_read() {
    let view = Schema::new(vec![
        Field::new("v", DataType::Utf8View, false),
        Field::new("l", DataType::new_list(DataType::Utf8View, true), true),
    ]);
    for (expression, expected) in [
        ("v", DataType::Utf8),
        ("upper(v)", DataType::Utf8),
        ("l", DataType::new_list(DataType::Utf8, true)),
        ("l[1]", DataType::Utf8),
    ] {
        let function = SqlFunction::compile(expression, &view, None).unwrap();
        assert_eq!(function.output_type(), &expected, "{expression}");
    }
}
