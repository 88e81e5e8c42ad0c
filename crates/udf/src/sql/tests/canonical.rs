//! What the canonical text depends on.

use super::compiled;

fn canonical(expression: &str) -> String {
    compiled(expression).canonical().to_owned()
}

#[test]
fn spelling_does_not_change_the_canonical_text() {
    for spellings in [
        vec![
            "a+b",
            " a  +\n b ",
            "A + B",
            "\"a\" + `b`",
            "a /* sum */ + b -- end",
        ],
        vec!["abs(a)", "ABS( a )", "Abs(A)", "\"abs\"(a)"],
        vec!["case when a>1 then b end", "CASE WHEN a > 1 THEN b END"],
        vec!["a::double", "A::DOUBLE"],
        vec!["cast(a as double)", "CAST(a AS DOUBLE)"],
        vec!["s.f", "s.F", "S.\"f\"", "s['f']", "\"s\"['f']"],
        vec!["mixed", "Mixed", "\"Mixed\""],
        vec!["a != b", "a <> b"],
        vec!["extract(year from at)", "EXTRACT(YEAR FROM at)"],
        vec!["struct(a as k)", "STRUCT(a AS \"k\")"],
        vec!["date '2024-01-01'", "DATE '2024-01-01'"],
        vec!["at + interval '1' day", "at + INTERVAL '1' DAY"],
        vec![
            "array_transform(list, V -> v + 1)",
            "array_transform(list, v -> V+1)",
        ],
        vec!["a is not null and flag", "a IS NOT NULL AND flag"],
        vec!["'it''s'", "E'it\\'s'"],
        vec!["\"quo\"\"te\"", " \"quo\"\"te\" "],
    ] {
        let texts: Vec<String> = spellings.iter().map(|text| canonical(text)).collect();
        for text in &texts {
            assert_eq!(text, &texts[0], "{spellings:?}");
            assert!(!text.contains('\n'), "{text} is not printed");
        }
    }
}

#[test]
fn meaning_changes_the_canonical_text() {
    let expressions = [
        "a",
        "b",
        "twice",
        "Twice",
        "\"s.f\"",
        "s.f",
        "s.inner",
        "a + b",
        "b + a",
        "a - b",
        "(a + b) * b",
        "a + b * b",
        "a + 1",
        "a + 1.0",
        "a + 2",
        "'a'",
        "'A'",
        "' a'",
        "'a  b'",
        "'a b'",
        "'a''b'",
        "'a''''b'",
        "'a\\''b'",
        "'a\\b'",
        "'-- a'",
        "a::INT",
        "a::BIGINT",
        "TRY_CAST(a AS INT)",
        "abs(a)",
        "floor(a)",
        "text LIKE 'a'",
        "text ILIKE 'a'",
        "text NOT LIKE 'a'",
        "a IN (1, 2)",
        "a IN (2, 1)",
        "a NOT IN (1, 2)",
        "list[1]",
        "list[2]",
        "list[1:2]",
        "named_struct('a', a)",
        "named_struct('A', a)",
        "struct(a AS k)",
        "struct(a AS K)",
        "DATE '2024-01-01'",
        "TIMESTAMP '2024-01-01'",
        "trim(LEADING 'a' FROM text)",
        "trim(TRAILING 'a' FROM text)",
        "array_transform(list, v -> v + 1)",
        "array_transform(list, v -> v + a)",
        "CAST(x AS DECIMAL(10, 2))",
        "CAST(x AS DECIMAL(10, 3))",
        "a BETWEEN 1 AND 2",
        "a NOT BETWEEN 1 AND 2",
        "flag AND a > 1 OR b > 1",
        "flag AND (a > 1 OR b > 1)",
    ];
    let texts: std::collections::BTreeSet<String> =
        expressions.iter().map(|text| canonical(text)).collect();
    assert_eq!(texts.len(), expressions.len());
}

#[test]
fn the_canonical_text_means_what_the_expression_means() {
    for expression in [
        "a + b",
        "s.inner.Deep",
        "'a''''b'",
        "UPPER",
        "\"s.f\" + \"quo\"\"te\"",
    ] {
        let text = canonical(expression);
        assert_eq!(canonical(&text), text);
        assert_eq!(super::first_value(&text), super::first_value(expression));
    }
}

#[test]
fn the_canonical_text_is_stable() {
    // These texts are part of digests in tables: a change recomputes every column.
    for (expression, text) in [
        ("a*B", "\"a\" * \"b\""),
        ("Coalesce(S.F,0)", "coalesce(\"s\"['f'], 0)"),
        (
            "case when Flag then x else -1 end",
            "CASE WHEN \"flag\" THEN \"x\" ELSE -1 END",
        ),
    ] {
        assert_eq!(canonical(expression), text);
    }
}
