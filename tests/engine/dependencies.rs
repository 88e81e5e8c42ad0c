//! Columns that read computed columns, through inputs and filters.

use crate::fill::product;
use crate::support::table::{batch, ints};
use crate::support::{Row, Scenario, Shape, Table};

fn next(row: &Row) -> Option<i64> {
    Some(product(row)? + 1)
}

fn selected_by_next(row: &Row) -> Option<i64> {
    row.int("a")
        .filter(|_| next(row).is_some_and(|q| q % 2 == 0))
}

/// `p = a * b`, `q = p + 1`, `r = a` where `q` is even.
async fn chain(shape: Shape) -> Scenario {
    let scenario = Scenario::standard(shape, 400).await;
    scenario.add("p", "a * b", &[]);
    scenario.add("q", "p + 1", &[]);
    scenario.add("r", "a + 0", &["--where", "q % 2 = 0"]);
    scenario
}

async fn check_chain(scenario: &Scenario) {
    scenario.check_int("p", product).await;
    scenario.check_int("q", next).await;
    scenario.check_int("r", selected_by_next).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_refresh_brings_a_chain_of_columns_up_to_date() {
    for shape in Shape::both() {
        let scenario = chain(shape.fragments_of(150)).await;
        let report = scenario.refresh();
        let selected = (scenario.rows().await.iter())
            .filter(|row| next(row).is_some_and(|q| q % 2 == 0))
            .count() as u64;
        assert_eq!(report.assigned("p"), 400);
        assert_eq!(report.assigned("q"), 400);
        assert_eq!(report.assigned("r"), selected);
        assert_eq!(report.column("r").rows_filtered, 400 - selected);
        check_chain(&scenario).await;
        scenario.expect_rest().await;
        scenario.append(100).await;
        let report = scenario.refresh();
        assert_eq!(report.assigned("p"), 100);
        assert_eq!(report.assigned("q"), 100);
        check_chain(&scenario).await;
        scenario.expect_rest().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_converges_in_parts_too() {
    let scenario = chain(Shape::default().fragments_of(200)).await;
    scenario.refresh_with(&["--batch-rows", "70"]);
    check_chain(&scenario).await;
    scenario.expect_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_waits_for_the_column_it_reads_when_refreshed_alone() {
    let scenario = chain(Shape::default()).await;
    let outcome = scenario.run(&["refresh"], &["--column", "q"]);
    assert_eq!(
        outcome.json()["columns"][0]["rows_assigned"],
        0,
        "p has no value yet"
    );
    let told = "400 rows wait for column 'p', which is not up to date";
    assert!(outcome.stderr.contains(told), "{outcome:#?}");
    scenario.check_int("q", |_| None).await;
    scenario.refresh();
    check_chain(&scenario).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_wait_for_a_column_that_somebody_stopped_are_said_to() {
    let scenario = chain(Shape::default().fragments_of(150)).await;
    scenario.add("t", "q * 2", &[]);
    scenario.refresh();
    scenario.run(&["column", "pause"], &["p"]).expect_code(0);
    scenario.append(20).await;
    let outcome = scenario.run(&["refresh"], &[]).expect_code(1);
    // Not the columns between, which only wait themselves.
    for column in ["q", "t"] {
        let line = format!("column '{column}': 20 rows wait for column 'p', which is paused");
        assert!(outcome.stderr.contains(&line), "{outcome:#?}");
    }
    assert!(!outcome.stderr.contains("meanwhile"), "{outcome:#?}");
    let columns = outcome.json()["columns"].clone();
    for column in columns.as_array().expect("columns") {
        // What `r` selects is not known before its filter can be asked.
        if column["column"] != "r" {
            let awaited = serde_json::json!([{ "column": "p", "why": "paused" }]);
            assert_eq!(column["waits_for"], awaited);
            assert_eq!(column["rows_waiting"], 20);
        }
    }
    scenario.run(&["column", "resume"], &["p"]).expect_code(0);
    let report = scenario.refresh();
    assert_eq!(report.assigned("q"), 20);
    check_chain(&scenario).await;
    scenario.expect_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_of_declaration_is_irrelevant() {
    let rows = batch(&[
        ("id", ints((0..100).map(Some))),
        ("a", ints((0..100).map(Some))),
        ("b", ints((0..100).map(|id| Some(id % 7)))),
        ("p", ints((0..100).map(|_| None))),
    ]);
    let scenario = Scenario::on(Table::of(Shape::default(), rows).await);
    scenario.add("q", "p + 1", &[]);
    scenario.add("p", "a * b", &["--adopt"]);
    scenario.refresh();
    scenario.check_int("p", product).await;
    scenario.check_int("q", next).await;
    scenario.expect_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_behind_failed_rows_are_blocked_all_along_the_chain() {
    let scenario = Scenario::standard(Shape::default().fragments_of(100), 350).await;
    let tolerant = &["--max-failed-fraction", "1"];
    scenario.add("p", "100 / b", tolerant);
    scenario.add("q", "p + 1", &[]);
    scenario.add("r", "q * 2", &[]);
    let report = scenario.refresh();
    assert_eq!(report.column("p").rows_failed, 50);
    for column in ["q", "r"] {
        assert_eq!(report.column(column).rows_blocked, 50, "{column}");
        assert_eq!(report.column(column).rows_remaining, 0, "{column}");
    }
    assert_eq!(report.assigned("q"), 300);
    let quotient = |row: &Row| 100_i64.checked_div(row.int("b")?);
    scenario
        .check_int("r", |row| Some((quotient(row)? + 1) * 2))
        .await;
    scenario.expect_rest().await;
    // Repaired, the whole chain catches up: only what was missing is computed behind it.
    scenario.alter("p", &["--sql", "100 / nullif(b, 0)"]);
    let report = scenario.refresh();
    assert_eq!(
        report.assigned("p"),
        50,
        "failed rows get the new expression"
    );
    scenario.check_int("p", quotient).await;
    scenario
        .check_int("r", |row| Some((quotient(row)? + 1) * 2))
        .await;
    scenario.expect_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn filtered_rows_of_an_input_are_read_as_they_stand() {
    let scenario = Scenario::standard(Shape::default(), 200).await;
    scenario.add("p", "a * b", &["--where", "id >= 100"]);
    scenario.add("q", "coalesce(p, -1)", &[]);
    let report = scenario.refresh();
    assert_eq!(report.assigned("p"), 100);
    assert_eq!(report.assigned("q"), 200);
    let expected = |row: &Row| Some(product(row).filter(|_| row.id() >= 100).unwrap_or(-1));
    scenario.check_int("q", expected).await;
    scenario.expect_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recomputing_a_column_recomputes_those_that_read_it() {
    let scenario = chain(Shape::default().fragments_of(150)).await;
    scenario.refresh();
    scenario.alter("p", &["--sql", "a * b + 2", "--on-change", "recompute_all"]);
    let report = scenario.refresh();
    assert_eq!(report.assigned("p"), 400);
    let shifted = |row: &Row| Some(product(row)? + 2);
    scenario.check_int("p", shifted).await;
    scenario.check_int("q", |row| Some(shifted(row)? + 1)).await;
    scenario.expect_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cycle_is_refused_and_nothing_is_written() {
    let scenario = chain(Shape::default()).await;
    let version = scenario.version().await;
    let cycles: &[&[&str]] = &[
        &["p", "--sql", "q + 1"],
        &["p", "--sql", "p + 1"],
        &["p", "--sql", "r + 1"],
        &["p", "--where", "q > 0"],
        &["q", "--where", "r > 0"],
    ];
    for options in cycles {
        scenario
            .run(&["column", "alter"], options)
            .expect_refusal(&[2], "depend on itself");
    }
    assert_eq!(scenario.version().await, version);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_whose_filter_column_failed_are_blocked() {
    let scenario = Scenario::standard(Shape::default(), 70).await;
    scenario.add("p", "100 / b", &["--max-failed-fraction", "1"]);
    scenario.add("q", "a + 0", &["--where", "p > 20"]);
    let report = scenario.refresh();
    assert_eq!(report.column("p").rows_failed, 10);
    assert_eq!(report.column("q").rows_blocked, 10);
    scenario.expect_rest().await;
}
