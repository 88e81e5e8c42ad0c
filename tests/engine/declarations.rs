//! Declarations that died half-way, that raced, and whose columns somebody changed afterwards.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema};
use lance::dataset::NewColumnTransform;

use crate::fill::product;
use crate::support::program::{command, finish};
use crate::support::{Row, Scenario, Shape};

const BINDING: &str = "backfill.binding";

/// What a declaration of `p` leaves that dies before its definition is stored.
async fn half_declared(scenario: &Scenario, binding: &str) {
    let metadata = HashMap::from([(BINDING.to_owned(), binding.to_owned())]);
    let field = Field::new("p", DataType::Int64, true).with_metadata(metadata);
    let schema = Arc::new(Schema::new(vec![field]));
    let mut dataset = scenario.open().await;
    dataset
        .add_columns(NewColumnTransform::AllNulls(schema), None, None)
        .await
        .expect("adds");
}

async fn set_metadata(scenario: &Scenario, key: &str, value: &str) {
    let mut dataset = scenario.open().await;
    dataset
        .update_metadata([(key, value)])
        .await
        .expect("updates");
}

/// Key and stored JSON of a column's definition.
async fn stored(scenario: &Scenario, column: &str) -> (String, String) {
    let shown = scenario
        .run(&["column", "show"], &[column])
        .expect_code(0)
        .json();
    let binding = shown["binding"].as_str().expect("a binding");
    let key = format!("backfill.column.{binding}");
    let dataset = scenario.open().await;
    let json = dataset.metadata().get(&key).expect("stored").clone();
    (key, json)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declaration_that_died_half_way_is_ignored_and_taken_over() {
    for shape in Shape::both() {
        let scenario = Scenario::standard(shape.fragments_of(60), 100).await;
        scenario.add("o", "a + b", &[]);
        scenario.refresh();
        half_declared(&scenario, "11111111-2222-3333-4444-555555555555").await;
        let version = scenario.version().await;
        for report in [scenario.status(), scenario.refresh()] {
            let columns: Vec<&str> = (report.columns.iter())
                .map(|column| column.column.as_str())
                .collect();
            assert_eq!(columns, ["o"], "nobody declared p");
            assert_eq!(report.assigned("o"), 0);
        }
        assert_eq!(scenario.version().await, version);
        scenario.check_int("p", |_| None).await;
        let declared = scenario.add("p", "a * b", &[]);
        assert_eq!(declared["binding"], "11111111-2222-3333-4444-555555555555");
        let status = scenario.status();
        assert_eq!(status.column("p").rows_remaining, 100);
        let report = scenario.refresh();
        assert_eq!((report.assigned("p"), report.assigned("o")), (100, 0));
        scenario.check_int("p", product).await;
        scenario.expect_rest().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_declared_column_with_values_is_taken_over_on_request_and_keeps_them() {
    let scenario = Scenario::standard(Shape::default().fragments_of(60), 100).await;
    half_declared(&scenario, "half").await;
    scenario.update("p", "-id", "id < 20").await;
    scenario
        .try_add("p", "a * b", &[])
        .expect_refusal(&[2], "--adopt");
    let declared = scenario.add("p", "a * b", &["--adopt"]);
    assert_eq!(declared["binding"], "half");
    let report = scenario.refresh();
    assert_eq!(report.assigned("p"), 80);
    assert_eq!(report.column("p").rows_current, 100);
    assert_eq!(report.column("p").rows_unknown, 0);
    let expected = |row: &Row| match row.id() {
        id if id < 20 => Some(-id),
        _ => product(row),
    };
    scenario.check_int("p", expected).await;
    scenario.expect_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cycle_that_two_edits_made_at_once_stops_both_columns_and_no_others() {
    let scenario = Scenario::standard(Shape::default().fragments_of(60), 100).await;
    for (column, sql) in [("x", "a"), ("y", "b"), ("z", "y + 1"), ("p", "a * b")] {
        scenario.add(column, sql, &[]);
    }
    scenario.refresh();
    // Each edit is checked against a table that does not have the other yet.
    scenario.alter("x", &["--sql", "y + 1", "--on-change", "recompute_all"]);
    let (key, reads_y) = stored(&scenario, "x").await;
    scenario.alter("x", &["--sql", "a", "--on-change", "recompute_all"]);
    scenario.alter("y", &["--sql", "x + 1", "--on-change", "recompute_all"]);
    set_metadata(&scenario, &key, &reads_y).await;
    scenario.append(20).await;
    scenario.delete("id % 20 = 7").await;
    let before = scenario.rows().await;
    let outcome = scenario.run(&["refresh"], &[]).expect_code(0);
    let causes = [
        ("x", "it is in a cycle with 'y'"),
        ("y", "it is in a cycle with 'x'"),
        ("z", "it waits for a cycle of columns: 'x', 'y'"),
    ];
    let shown = scenario.run(&["status"], &[]).expect_code(0).json();
    let text = finish(command(&scenario.arguments(&["status"], &[]))).stdout;
    for (column, cause) in causes {
        let told = format!("column '{column}' is left out: {cause}");
        assert!(outcome.stderr.contains(&told), "{outcome:#?}");
        assert!(text.contains(&format!("{column}: {cause}")), "{text}");
        let shown = (shown["columns"].as_array().expect("columns").iter())
            .find(|shown| shown["column"] == column)
            .expect("it is shown");
        assert_eq!(shown["reason"], cause);
        let others: Vec<&str> = ["x", "y"]
            .into_iter()
            .filter(|other| *other != column)
            .collect();
        assert_eq!(shown["cycle"], serde_json::json!(others));
        scenario
            .run(&["refresh"], &["--column", column])
            .expect_refusal(&[2], "cycle");
    }
    let status = scenario.status();
    for column in ["x", "y", "z"] {
        let numbers = status.column(column);
        assert_eq!(numbers.state, "blocked");
        assert_eq!((numbers.rows_total, numbers.rows_blocked), (114, 114));
        assert_eq!(numbers.rows_eligible, 114);
        let values = |rows: &[Row]| -> Vec<Option<String>> {
            rows.iter()
                .map(|row| row.text(column).map(str::to_owned))
                .collect()
        };
        assert_eq!(values(&before), values(&scenario.rows().await));
    }
    assert_eq!(status.column("p").rows_current, 114);
    scenario.check_int("p", product).await;
    scenario.expect_rest().await;
    // One edit ends it, and what waited is computed.
    scenario.alter("y", &["--sql", "b"]);
    let report = scenario.refresh();
    assert_eq!(report.assigned("y"), 19);
    assert_eq!(report.assigned("x"), 114);
    assert_eq!(report.assigned("z"), 19);
    for column in ["x", "z"] {
        let expected = |row: &Row| Some(row.int("b")? + 1);
        scenario.check_int(column, expected).await;
    }
    scenario.expect_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_that_close_a_cycle_never_spin() {
    let scenario = Scenario::standard(Shape::default(), 50).await;
    scenario.add("x", "a", &[]);
    scenario.add("y", "b", &[]);
    scenario.refresh();
    let edit = |column: &'static str, sql: &'static str| {
        let words = ["column", "alter"];
        let options = [
            column,
            "--sql",
            sql,
            "--on-change",
            "recompute_all",
            "--json",
        ];
        let arguments: Vec<String> = scenario
            .arguments(&words, &options)
            .into_iter()
            .map(str::to_owned)
            .collect();
        std::thread::spawn(move || {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            finish(command(&arguments)).code
        })
    };
    let edits = [edit("x", "y + 1"), edit("y", "x + 1")];
    let codes = edits.map(|edit| edit.join().expect("ends"));
    assert!(codes.contains(&0), "{codes:?}");
    assert!(
        codes.iter().all(|code| [0, 1, 2].contains(code)),
        "{codes:?}"
    );
    let made = codes == [0, 0];
    scenario.append(10).await;
    let outcome = scenario.run(&["refresh"], &[]).expect_code(0);
    assert_eq!(outcome.stderr.contains("cycle"), made, "{outcome:#?}");
    scenario.expect_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cast_input_is_another_column_until_the_expression_is_given_again() {
    for shape in Shape::both() {
        let scenario = Scenario::filled(shape.fragments_of(60), 100).await;
        scenario.cast_column("b", DataType::Int32).await;
        let status = scenario.status();
        assert_eq!(status.column("p").state, "detached");
        let version = scenario.version().await;
        let outcome = scenario.run(&["refresh"], &[]).expect_code(0);
        assert!(outcome.stderr.contains("'b'"), "{outcome:#?}");
        assert_eq!(scenario.version().await, version);
        scenario.check_int("p", product).await;
        scenario
            .run(&["refresh"], &["--column", "p"])
            .expect_refusal(&[2], "detached");
        scenario
            .run(&["column", "alter"], &["p", "--where", "a > 0"])
            .expect_refusal(&[2], "stay detached");
        // Its values of the old column could not be told from new ones.
        scenario
            .run(&["column", "alter"], &["p", "--sql", "a * b"])
            .expect_refusal(&[2], "recompute_all");
        let told = scenario.alter("p", &["--sql", "a * b", "--on-change", "recompute_all"]);
        assert!(told["rows_stale_if_recompute_all"].is_null(), "{told:#}");
        // The input is another column now, so nothing that was computed from the old one counts.
        let report = scenario.refresh();
        assert_eq!(report.assigned("p"), 100);
        assert_eq!(report.column("p").rows_current, 100);
        scenario.check_int("p", product).await;
        scenario.expect_rest().await;
        scenario.update("b", "b + 1", "id < 10").await;
        assert_eq!(scenario.refresh().assigned("p"), 10);
        scenario.check_int("p", product).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_a_cast_input_stand_where_another_expression_follows_theirs() {
    for shape in Shape::both() {
        let scenario = Scenario::filled(shape.fragments_of(60), 100).await;
        scenario.cast_column("b", DataType::Int32).await;
        scenario.alter("p", &["--sql", "b * a"]);
        assert_eq!(scenario.refresh().assigned("p"), 0);
        scenario.expect_rest().await;
        scenario.update("b", "b + 1", "id >= 95").await;
        assert_eq!(
            scenario.refresh().assigned("p"),
            0,
            "not what they were made from"
        );
        scenario.update("a", "a + 1", "id >= 95").await;
        let report = scenario.refresh();
        assert_eq!(report.assigned("p"), 0, "not asked for");
        assert_eq!(report.column("p").rows_unknown, 5);
        scenario.expect_rest().await;
        let options = ["p", "--recompute"];
        scenario.run(&["backfill"], &options).expect_code(0);
        scenario.check_int("p", product).await;
        scenario.expect_rest().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_added_again_under_an_old_name_is_never_written_to() {
    let scenario = Scenario::filled(Shape::default().fragments_of(60), 100).await;
    scenario.drop_column("p").await;
    let field = Field::new("p", DataType::Int64, true);
    let schema = Arc::new(Schema::new(vec![field]));
    let mut dataset = scenario.open().await;
    dataset
        .add_columns(NewColumnTransform::AllNulls(schema), None, None)
        .await
        .expect("adds");
    let version = scenario.version().await;
    assert_eq!(scenario.status().column("p").state, "detached");
    scenario.run(&["refresh"], &[]).expect_code(0);
    assert_eq!(scenario.version().await, version);
    assert_eq!(scenario.check_int("p", |_| None).await, 100);
    // Whoever wants it computed says so.
    scenario
        .try_add("p", "a * b", &[])
        .expect_refusal(&[2], "--adopt");
    scenario.add("p", "a * b", &["--adopt"]);
    assert_eq!(scenario.refresh().assigned("p"), 100);
    scenario.check_int("p", product).await;
    scenario.expect_rest().await;
}
