//! Bad input: a one-line cause, the right exit code, and an untouched table.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{Field, Schema};

use crate::fill::product;
use crate::support::program::run;
use crate::support::table::batch;
use crate::support::{Scenario, Shape, Table, ints, texts};

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_declaration_is_refused_and_nothing_is_written() {
    // (column, SQL, further options, word of the explanation)
    let cases: &[(&str, &str, &[&str], &str)] = &[
        ("p", "nothing + 1", &[], "nothing"),
        ("p", "a *", &[], "expression"),
        ("p", "", &[], ""),
        ("p", "a * b; DROP TABLE x", &[], ""),
        ("p", "SELECT a", &[], ""),
        ("p", "sum(a)", &[], ""),
        ("p", "row_number() OVER ()", &[], ""),
        ("p", "(SELECT 1)", &[], ""),
        ("p", "no_such_function(a)", &[], "no_such_function"),
        ("p", "a AND s", &[], ""),
        ("p", "random() * a", &[], "random"),
        ("p", "now()", &[], "now"),
        ("p", "uuid()", &[], "uuid"),
        ("p", "current_date", &[], ""),
        ("p", "a", &["--where", "b"], "filter"),
        ("p", "a", &["--where", "b >"], ""),
        ("p", "a", &["--where", "missing > 1"], "missing"),
        ("p", "a", &["--where", "random() > 0.5"], "random"),
        (
            "p",
            "a",
            &["--where", "now() > TIMESTAMP '2020-01-01'"],
            "now",
        ),
        ("p", "a", &["--type", "no_such_type"], "no_such_type"),
        ("p", "make_array(a)", &["--type", "double"], ""),
        (
            "p",
            "arrow_cast(s, 'Dictionary(Int32, Utf8)')",
            &[],
            "dictionary",
        ),
        ("p", "p + 1", &[], "p"),
        ("p", "a", &["--adopt"], "adopt"),
        ("s", "a", &[], "--adopt"),
        ("id", "a", &["--adopt"], "NULL"),
        ("", "a", &[], "name"),
        ("_p", "a", &[], "name"),
        ("p.q", "a", &[], "name"),
        ("known", "a + 1", &[], "already"),
        ("known", "a + 1", &["--adopt"], "already"),
    ];
    let scenario = Scenario::on(not_nullable().await);
    scenario.add("known", "a * b", &[]);
    let version = scenario.version().await;
    let files = scenario.state_files();
    for (column, sql, options, about) in cases {
        scenario
            .try_add(column, sql, options)
            .expect_refusal(&[2], about);
        assert_eq!(
            scenario.version().await,
            version,
            "{column} = {sql} {options:?}"
        );
    }
    assert_eq!(scenario.state_files(), files);
}

/// Columns `id` (no NULL allowed), `a`, `b`, `s`.
async fn not_nullable() -> Table {
    let schema = Schema::new(vec![
        Field::new("id", arrow_schema::DataType::Int64, false),
        Field::new("a", arrow_schema::DataType::Int64, true),
        Field::new("b", arrow_schema::DataType::Int64, true),
        Field::new("s", arrow_schema::DataType::Utf8, true),
    ]);
    let numbers = || ints((0..10).map(Some));
    let words = texts((0..10).map(|id| Some(format!("s{id}"))));
    let columns = vec![numbers(), numbers(), numbers(), words];
    let rows = RecordBatch::try_new(Arc::new(schema), columns).expect("rows");
    Table::of(Shape::default(), rows).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_edit_is_refused_and_nothing_is_written() {
    let scenario = Scenario::filled(Shape::default(), 20).await;
    let version = scenario.version().await;
    let cases: &[(&[&str], &[&str], &str)] = &[
        (&["column", "alter"], &["p"], "nothing to change"),
        (&["column", "alter"], &["p", "--sql", "a *"], ""),
        (&["column", "alter"], &["p", "--sql", "random()"], "random"),
        (&["column", "alter"], &["p", "--where", "a"], "filter"),
        (&["column", "alter"], &["p", "--where", "gone = 1"], "gone"),
        (&["column", "alter"], &["q", "--sql", "a"], "'q'"),
        (&["column", "alter"], &["a", "--sql", "b"], "'a'"),
        (&["column", "show"], &["q"], "'q'"),
        (&["column", "pause"], &["q"], "'q'"),
        (&["column", "resume"], &["q"], "'q'"),
        (&["column", "drop"], &["q"], "'q'"),
        (&["column", "drop"], &["a", "--drop-values"], "'a'"),
        (&["refresh"], &["--column", "q"], "'q'"),
        (&["plan"], &["--column", "q"], "'q'"),
        (&["failures"], &["q"], "'q'"),
    ];
    for (words, options, about) in cases {
        scenario.run(words, options).expect_refusal(&[2], about);
        assert_eq!(scenario.version().await, version, "{words:?} {options:?}");
    }
    scenario.check_int("p", product).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expression_of_another_type_than_its_column_is_refused() {
    let scenario = Scenario::filled(Shape::default(), 20).await;
    let version = scenario.version().await;
    let adopted = |sql| scenario.try_add("s", sql, &["--adopt"]);
    adopted("make_array(a)").expect_refusal(&[2], "type");
    adopted("a").expect_refusal(&[2], "type");
    for sql in ["s", "make_array(a)", "a / 2.5", "a > 1"] {
        let outcome = scenario.run(&["column", "alter"], &["p", "--sql", sql]);
        outcome.expect_refusal(&[2], "type");
    }
    for told in ["int64", "string", "--type", "CAST"] {
        adopted("a").expect_refusal(&[2], told);
    }
    let other = &["p", "--sql", "a", "--type", "double"];
    scenario
        .run(&["column", "alter"], other)
        .expect_refusal(&[2], "type");
    scenario
        .run(&["column", "alter"], &["p", "--type", "int64"])
        .expect_code(2);
    assert_eq!(scenario.version().await, version);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cast_that_was_asked_for_fails_for_the_rows_that_do_not_fit() {
    let rows = batch(&[
        ("id", ints((0..10).map(Some))),
        (
            "s",
            texts((0..10).map(|id| {
                Some(if id < 8 {
                    format!("{id}")
                } else {
                    format!("s{id}")
                })
            })),
        ),
        ("p", ints([None; 10])),
        (
            "small",
            Arc::new((0..10).map(Some).collect::<arrow_array::Int32Array>()),
        ),
    ]);
    let scenario = Scenario::on(Table::of(Shape::default(), rows).await);
    let some_fail = &["--max-failed-fraction", "1"];
    scenario
        .try_add("p", "s", &["--adopt"])
        .expect_refusal(&[2], "--type");
    scenario.add(
        "p",
        "s",
        &[&["--adopt", "--type", "bigint"], &some_fail[..]].concat(),
    );
    let report = scenario.refresh();
    assert_eq!(report.assigned("p"), 8);
    assert_eq!(report.column("p").rows_failed, 2);
    let failed: Vec<u32> = scenario
        .failures("p")
        .iter()
        .map(|row| row.offset)
        .collect();
    assert_eq!(failed, [8, 9]);
    // A lossless widening needs no word.
    scenario.alter("p", &["--sql", "small", "--on-change", "recompute_all"]);
    assert_eq!(scenario.refresh().assigned("p"), 10);
    scenario.check_int("p", |row| row.int("small")).await;
    // The other way it does, and a value that does not fit fails.
    let all = ["--sql", "id * 1000000000", "--on-change", "recompute_all"];
    scenario
        .try_add("small", "id * 1000000000", &["--adopt"])
        .expect_refusal(&[2], "int32");
    scenario.alter("p", &[&all[..], &["--type", "int64"]].concat());
    assert_eq!(scenario.refresh().assigned("p"), 10);
    let narrow = [&["--type", "int32"], &some_fail[..]].concat();
    scenario.add("narrow", "id * 1000000000", &narrow);
    let report = scenario.refresh();
    assert_eq!(
        report.assigned("narrow"),
        3,
        "0, 1 and 2 thousand millions fit"
    );
    assert_eq!(report.column("narrow").rows_failed, 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_options_are_refused_with_one_document_and_exit_code_2() {
    let scenario = Scenario::filled(Shape::default(), 20).await;
    let version = scenario.version().await;
    let cases: &[(&[&str], &[&str])] = &[
        (&["refresh"], &["--batch-rows", "0"]),
        (&["refresh"], &["--workers", "0"]),
        (&["refresh"], &["--no-such-option"]),
        (&["refresh"], &["--storage-option", "novalue"]),
        (&["column", "alter"], &["p", "--max-failed-fraction", "2"]),
        (
            &["column", "alter"],
            &["p", "--where", "true", "--no-filter"],
        ),
        (&["column", "alter"], &["p", "--on-change", "maybe"]),
        (&["column", "add"], &["q"]),
        (&["no-such-command"], &[]),
    ];
    for (words, options) in cases {
        let outcome = scenario.run(words, options).expect_code(2);
        assert!(outcome.json()["error"].is_string(), "{outcome:#?}");
        assert!(outcome.stderr.starts_with("error: "), "{outcome:#?}");
    }
    assert_eq!(scenario.version().await, version);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_without_a_table_is_refused_by_every_command() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::create_dir(path("empty")).expect("creates");
    std::fs::create_dir(path("other")).expect("creates");
    std::fs::write(path("other/file.txt"), "not a table").expect("writes");
    std::fs::write(path("file"), "not a table").expect("writes");
    let before = crate::support::table::files_below(folder.path());
    let cache = path("cache");
    for table in ["missing", "empty", "other", "file", "missing/deep/er"] {
        let table = path(table);
        let calls: &[&[&str]] = &[
            &["column", "add", &table, "p", "--sql", "a"],
            &["column", "list", &table],
            &["column", "drop", &table, "p"],
            &["refresh", &table],
            &["plan", &table],
            &["status", &table],
            &["failures", &table, "p"],
        ];
        for call in calls {
            let mut call = call.to_vec();
            call.extend_from_slice(&["--cache", &cache]);
            run(&call).expect_refusal(&[1, 2], &table);
        }
    }
    assert_eq!(crate::support::table::files_below(folder.path()), before);
    run(&["status", "nosuchscheme://bucket/table"]).expect_refusal(&[1, 2], "nosuchscheme");
}
