//! Hostile texts.

#![expect(clippy::disallowed_methods, reason = "these tests measure real time")]

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::super::limits::{DEPTH, LENGTH};
use super::{SqlError, SqlFunction, compiled, refused, table};

#[test]
fn a_long_or_deep_text_is_refused_at_once() {
    let nested = |open: &str, close: &str, times: usize| nested(open, "1", close, times);
    let start = Instant::now();
    for text in [
        nested("(", ")", 10_000),
        nested("[", "]", 10_000),
        nested("abs(", ")", 10_000),
        nested("CASE WHEN true THEN ", " END", 2_000),
        nested("CAST(", " AS INT)", 5_000),
        nested("NOT ", "", 10_000),
        nested("- ", "", 10_000),
        nested("1 + ", "", 10_000),
        nested("a -> ", "", 10_000),
        nested("{'a': ", "}", 5_000),
        nested("INTERVAL ", "", 5_000),
        nested("ARRAY<", ">", 5_000),
        nested("(SELECT ", ")", 5_000),
        format!("list{}", "[1]".repeat(10_000)),
        format!("s{}", ".f".repeat(10_000)),
        format!("a{}", "::INT".repeat(10_000)),
        format!("a{}", " IS NULL".repeat(7_000)),
        format!("a{}", " OR a".repeat(10_000)),
    ] {
        let error = refused(&text);
        assert!(
            matches!(error, SqlError::TooDeep { limit: DEPTH }),
            "{error}"
        );
        assert!(error.to_string().contains("300 levels"), "{error}");
    }
    for text in [
        "(".repeat(1 << 20),
        "1+".repeat(1 << 19),
        "\0".repeat(LENGTH + 1),
    ] {
        let error = refused(&text);
        assert!(matches!(error, SqlError::TooLong { .. }), "{error}");
        assert!(error.to_string().contains("65536"), "{error}");
    }
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn a_broken_nested_text_is_refused_in_bounded_time() {
    let start = Instant::now();
    for piece in [
        "CAST(",
        "EXTRACT(",
        "CASE WHEN ",
        "(",
        "[",
        "abs(",
        "(a) -> ",
        "NOT (",
        "INTERVAL (",
        "{'a': ",
        "SUBSTRING(",
        "TRIM(",
        "POSITION(",
        "STRUCT(",
        "ARRAY[",
        "MAP {'a': ",
        "EXISTS (",
        "CEIL(",
        "OVERLAY(",
        "CONVERT(",
        "DATE (",
        "STRUCT<a INT>(",
        "a IN (",
        "x'",
        "CASE ",
    ] {
        for times in [10, 30, 60, 120] {
            let _ = SqlFunction::compile(&piece.repeat(times), &table().schema(), None);
            let _ = SqlFunction::compile(
                &format!("{}a", piece.repeat(times)),
                &table().schema(),
                None,
            );
        }
    }
    assert!(
        start.elapsed() < Duration::from_secs(30),
        "{:?}",
        start.elapsed()
    );
}

/// What can be put around an operand again and again.
const NESTED: &[(&str, &str, &str)] = &[
    ("coalesce(", "a", ", 1)"),
    ("nvl(", "a", ", 1)"),
    ("nvl2(", "a", ", 1, 2)"),
    ("nullif(", "a", ", 1)"),
    ("greatest(", "a", ", 1)"),
    ("(", "a", " BETWEEN 1 AND 2)"),
    ("(1 = ANY([", "1", "]))"),
    ("(1 < ANY([CAST(", "1", " AS BIGINT)]))"),
    ("(1 <> ALL([CAST(", "1", " AS BIGINT)]))"),
    ("map(['k'], [", "a", "])"),
    ("map('k', ", "a", ")"),
    ("make_map('k', ", "a", ")"),
    ("MAP {'k': ", "a", "}"),
    ("{'k': ", "a", "}"),
    ("named_struct('k', ", "a", ")"),
    ("struct(", "a", ")"),
    ("[", "a", "]"),
    ("make_array(", "a", ", NULL)"),
    ("array_transform([", "a", "], v -> v)"),
    ("array_transform([1], v -> ", "a", ")"),
    (
        "array_filter(array_filter(",
        "list",
        ", v -> v > 1), w -> true)",
    ),
    ("CASE a WHEN ", "a", " THEN 1 END"),
    ("CASE WHEN flag THEN ", "a", " ELSE b END"),
    ("CASE ", "a", " WHEN 1 THEN 2 END"),
    ("+ ", "a", ""),
    ("- ", "a", ""),
    ("NOT ", "flag", ""),
    ("(", "a", " + 1)"),
    ("(", "a", " = 1) IS TRUE = true"),
    ("power(", "a", ", 2)"),
    ("round(", "x", ", 2)"),
    ("CAST(", "a", " AS BIGINT)"),
    ("TRY_CAST(", "a", " AS BIGINT)"),
    ("arrow_cast(", "a", ", 'Int64')"),
    ("", "a", "::BIGINT::DOUBLE"),
    ("substr(", "text", ", 1)"),
    ("trim(BOTH 'x' FROM ", "text", ")"),
    ("concat(", "text", ", 'x')"),
    ("(", "text", " LIKE 'x')"),
    ("(", "text", " || 'x')"),
    ("(", "a", " IN (1, 2))"),
    ("(1 IN (", "a", "))"),
    ("(", "a", " IS DISTINCT FROM 1)"),
    ("(flag AND ", "flag", ")"),
    ("date_trunc('day', ", "at", ")"),
    ("(", "at", " AT TIME ZONE 'UTC')"),
    ("(", "at", " + INTERVAL '1 day')"),
    ("EXTRACT(DAY FROM ", "at", ")"),
];

fn nested(open: &str, operand: &str, close: &str, times: usize) -> String {
    format!("{}{operand}{}", open.repeat(times), close.repeat(times))
}

#[test]
fn no_construct_grows_exponentially_with_its_nesting() {
    let mut slow = Vec::new();
    for (open, operand, close) in NESTED {
        for times in [8, 20, 60, DEPTH] {
            let text = nested(open, operand, close, times);
            let began = Instant::now();
            if let Ok(function) = SqlFunction::compile(&text, &table().schema(), None) {
                let _ = function.evaluate(&table());
            }
            let took = began.elapsed();
            if took > Duration::from_secs(10) {
                slow.push(format!("{open}…{close} {times} times: {took:?}"));
                break;
            }
        }
    }
    assert!(slow.is_empty(), "{slow:#?}");
    let text = nested("(", "a", " BETWEEN 1 AND 2)", 9);
    let error = refused(&text);
    assert!(matches!(error, SqlError::TooEntangled { .. }), "{error}");
    assert!(error.to_string().contains("BETWEEN"), "{error}");
}

#[test]
fn the_deepest_expressions_run_on_half_a_usual_stack() {
    let deep: Vec<_> = NESTED
        .iter()
        .filter(|(open, ..)| {
            [
                "coalesce(",
                "[",
                "CASE WHEN flag THEN ",
                "- ",
                "NOT ",
                "(",
                "(flag AND ",
            ]
            .contains(open)
        })
        .collect();
    assert!(deep.len() > 10, "only {} constructs", deep.len());
    for (open, operand, close) in deep {
        let compile = |times: usize| {
            let text = nested(open, operand, close, times);
            SqlFunction::compile(&text, &table().schema(), None).ok()
        };
        // A level of the construct counts as one to four; more than fit are refused at once.
        let deepest = (1..=4).find_map(|levels| compile(DEPTH / levels - 2));
        let Some(function) = deepest.or_else(|| compile(DEPTH / 6)) else {
            continue;
        };
        let run = move || {
            let _ = function.evaluate(&table());
            let _ = function.evaluate(&table().slice(0, 1));
        };
        let thread = std::thread::Builder::new().stack_size(1 << 20).spawn(run);
        thread.unwrap().join().unwrap();
    }
}

#[test]
fn long_chains_and_lists_up_to_the_bound_compile() {
    for text in [
        format!("b{}", " + b".repeat(DEPTH - 2)),
        format!("b = 0{}", " OR b = 1".repeat(DEPTH / 2 - 2)),
        format!("b = 0{}", " OR a / b = 1".repeat(DEPTH / 3 - 2)),
        format!("a IN ({})", vec!["1"; 10_000].join(", ")),
        format!("CASE {} ELSE 0 END", "WHEN a = 1 THEN b + 1 ".repeat(1_000)),
    ] {
        let function = compiled(&text);
        assert_eq!(super::values_of(&function, 0..1).len(), 1);
    }
}

#[test]
fn a_null_byte_in_a_string_is_a_character() {
    assert_eq!(super::first_value("character_length('a\0b')"), "3");
}

proptest! {
    #[test]
    fn no_text_panics(text in ".{0,60}") {
        let _ = SqlFunction::compile(&text, &table().schema(), None);
    }

    #[test]
    fn no_sequence_of_tokens_panics(tokens in prop::collection::vec(
        prop::sample::select(vec![
            "a", "b", "x", "text", "list", "s", "day", "at", "flag", "1", "0", "'x'", "NULL", "(", ")", ",", "+", "-", "*",
            "/", "%", "||", "=", "<", "AND", "OR", "NOT", "CASE", "WHEN", "THEN", "ELSE", "END", "[",
            "]", ".", "f", "->", "IN", "BETWEEN", "LIKE", "IS", "CAST(", "AS INT)", "::", "INTERVAL",
            "DATE", "abs(", "upper(", "coalesce(", "array_transform(", "$1", "?", "{", "}", ":", "E'\\'",
            "EXTRACT(", "FROM", "struct(", "AT TIME ZONE", "ANY(", "SELECT", "~",
        ]),
        0..12,
    )) {
        let text = tokens.join(" ");
        if let Ok(function) = SqlFunction::compile(&text, &table().schema(), None) {
            let _ = function.evaluate(&table());
            let again = compiled(function.canonical());
            prop_assert_eq!(again.canonical(), function.canonical());
        }
    }
}
