//! What can be written.

use super::{differences, first_value, refused, selected};

#[test]
fn the_expression_language_computes_what_sql_says() {
    let differences = differences(
        0,
        &[
            // Arithmetic and comparison.
            ("a * b + 1", "13"),
            ("a / 4", "1"),
            ("a % 4", "2"),
            ("-a", "-6"),
            ("x * y", "2.0"),
            ("dec + 1", "2.50"),
            ("small + a", "7"),
            ("a BETWEEN 1 AND 6", "true"),
            ("a NOT BETWEEN 1 AND 6", "false"),
            ("a IN (1, 6)", "true"),
            ("a NOT IN (1, 6)", "false"),
            ("a IS DISTINCT FROM NULL", "true"),
            ("NULL IS NOT DISTINCT FROM a", "false"),
            ("a IS NULL OR flag IS TRUE", "true"),
            ("a & 3 | 8", "10"),
            ("a << 2", "24"),
            // CASE and its kin.
            ("CASE WHEN a > 5 THEN 'big' ELSE 'small' END", "big"),
            ("CASE a WHEN 5 THEN 1 WHEN 6 THEN 2 END", "2"),
            ("coalesce(NULL, a, b)", "6"),
            ("nvl(a, 0)", "6"),
            ("ifnull(NULL, b)", "2"),
            ("nvl2(a, 1, 2)", "1"),
            ("nullif(a, 6)", ""),
            ("greatest(a, b, 3)", "6"),
            // Casts and literals.
            ("CAST(a AS DOUBLE)", "6.0"),
            ("a::DOUBLE", "6.0"),
            ("TRY_CAST('x' AS INT)", ""),
            ("CAST(a AS VARCHAR(3))", "6"),
            ("arrow_cast(a, 'Int8')", "6"),
            ("1e3", "1000.0"),
            ("E'a\\nb'", "a\nb"),
            ("$$a'b$$", "a'b"),
            ("X'00ff'", "00ff"),
            ("DATE '2024-02-29' + INTERVAL '1' YEAR", "2025-02-28"),
            // Strings.
            ("lower(text) || '!'", "ab c!"),
            ("substr(text, 1, 2)", "Ab"),
            ("substring(text FROM 2 FOR 2)", "b "),
            ("trim(BOTH 'A' FROM text)", "b c"),
            ("position('b' IN text)", "2"),
            ("overlay(text PLACING 'x' FROM 2 FOR 1)", "Ax c"),
            ("text LIKE 'A%'", "true"),
            ("text ILIKE 'a_ C'", "true"),
            ("text LIKE 'A\\%%'", "false"),
            ("text ~ '^[A-Z]b'", "true"),
            ("regexp_replace(text, '[A-Z]', '.', 'g')", ".b c"),
            ("regexp_like(text, 'ab', 'i')", "true"),
            ("split_part(text, ' ', 2)", "c"),
            ("character_length(text)", "4"),
            ("octet_length(text || 'é')", "6"),
            ("octet_length(X'00ff')", "2"),
            ("octet_length(arrow_cast(text, 'LargeBinary'))", "4"),
            (
                "arrow_typeof(octet_length(arrow_cast(text, 'LargeBinary')))",
                "Int64",
            ),
            ("arrow_typeof(octet_length(text))", "Int32"),
            (
                "octet_length(arrow_cast(X'00ff', 'FixedSizeBinary(2)')) + a",
                "8",
            ),
            ("concat_ws('-', text, a)", "Ab c-6"),
            ("text SIMILAR TO '(Ab|x).*'", "true"),
            ("levenshtein('kitten', 'sitting')", "3"),
            // Dates.
            ("EXTRACT(YEAR FROM at)", "1970"),
            ("date_part('month', day)", "1"),
            ("date_trunc('day', at)", "1970-01-01T00:00:00"),
            ("at + INTERVAL '36 hours'", "1970-01-02T12:00:00"),
            ("day + INTERVAL '1 month'", "1970-02-01"),
            ("to_timestamp('2024-02-29T12:34:56')", "2024-02-29T12:34:56"),
            ("to_char(day, '%Y/%m')", "1970/01"),
            ("make_date(2024, 2, 29)", "2024-02-29"),
            ("day - DATE '1969-12-31'", "1"),
            ("at AT TIME ZONE 'UTC'", "1970-01-01T00:00:00Z"),
            // Mathematics, digests and encodings.
            ("power(a, 2)", "36.0"),
            ("pow(a, 2)", "36.0"),
            ("round(sqrt(y) + pi(), 2)", "5.14"),
            ("abs(-1.5)", "1.5"),
            ("ceil(x)", "1.0"),
            ("floor(x)", "0.0"),
            ("log(2, 8.0)", "3.0"),
            ("md5('a')", "0cc175b9c0f1b6a831c399e269772661"),
            ("substr(encode(sha256('abc'), 'hex'), 1, 8)", "ba7816bf"),
            ("encode(bytes, 'hex')", "6162"),
            ("to_hex(255)", "ff"),
            // Lists, vectors, structs and maps.
            ("[1, 2]", "[1, 2]"),
            ("make_array(a, b)", "[6, 2]"),
            ("ARRAY[a, b]", "[6, 2]"),
            ("list[1]", "1"),
            ("list[-1]", "3"),
            ("list[1:2]", "[1, 2]"),
            ("[[1, 2], [3]][2][1]", "3"),
            ("array_length(list)", "3"),
            ("array_append(list, 4)", "[1, 2, 3, 4]"),
            ("array_has(list, 2)", "true"),
            ("2 = ANY(list)", "true"),
            ("list || [9]", "[1, 2, 3, 9]"),
            ("array_to_string(list, '-')", "1-2-3"),
            ("array_max(list)", "3"),
            ("array_sort([3, 1, 2])", "[1, 2, 3]"),
            ("vector[2]", "-1.0"),
            ("array_transform(list, v -> v * a)", "[6, 12, 18]"),
            ("array_filter(list, v -> v > 1)", "[2, 3]"),
            ("s.f", "10"),
            ("s['f'] + 1", "11"),
            ("s.inner.\"Deep\"", "p"),
            ("s['inner']['Deep']", "p"),
            ("struct(a, b)", "{c0: 6, c1: 2}"),
            ("struct(a AS One, b AS two)", "{One: 6, two: 2}"),
            ("named_struct('k', a)", "{k: 6}"),
            ("named_struct('k', a).k", "6"),
            ("named_struct('k', a)['k']", "6"),
            ("{'k': a}", "{k: 6}"),
            ("[named_struct('k', a)][1].k", "6"),
            ("MAP {'k': a}['k']", "6"),
            ("map_keys(map(['k'], [a]))", "[k]"),
            ("map(['k', 'l'], [1, 2])", "{k: 1, l: 2}"),
            ("coalesce(NULL, NULL, text)", "Ab c"),
            ("coalesce(CAST(NULL AS INT), a, 1.5)", "6.0"),
            ("coalesce(s, s).f", "10"),
        ],
    );
    assert!(differences.is_empty(), "{differences:#?}");
}

#[test]
fn null_inputs_follow_sql() {
    let differences = differences(
        2,
        &[
            ("a + 1", ""),
            ("a = a", ""),
            ("a IS NULL", "true"),
            ("coalesce(a, b)", "5"),
            ("a IS NOT DISTINCT FROM NULL", "true"),
            ("flag AND false", "false"),
            ("flag OR true", "true"),
            ("flag AND true", ""),
            ("NOT flag", ""),
            ("a IN (1, NULL)", ""),
            ("CASE WHEN flag THEN 1 ELSE 2 END", "2"),
            ("s.f", ""),
            ("list[1]", ""),
            ("concat(text, 'x')", "x"),
            ("text || 'x'", ""),
        ],
    );
    assert!(differences.is_empty(), "{differences:#?}");
}

#[test]
fn a_filter_selects_the_true_rows_and_no_null_ones() {
    assert_eq!(selected("a > 6"), Ok(vec![false, true, false, true]));
    assert_eq!(selected("NOT flag"), Ok(vec![false, true, false, false]));
    assert_eq!(selected("flag"), Ok(vec![true, false, false, true]));
    assert_eq!(selected("true"), Ok(vec![true; 4]));
    assert_eq!(selected("CAST(NULL AS BOOLEAN)"), Ok(vec![false; 4]));
    assert_eq!(selected("a IS NULL"), Ok(vec![false, false, true, false]));
}

#[test]
fn comments_may_stand_anywhere() {
    assert_eq!(first_value("a -- the first\n + /* and */ b"), "8");
    assert!(refused("a /* open").to_string().contains("does not parse"));
}
