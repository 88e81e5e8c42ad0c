//! Fragments computed in several batches, whose results are folded into one column file.

use crate::fill::product;
use crate::support::table::files_below;
use crate::support::{Row, Scenario, Shape};

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_fragments_are_folded_and_right() {
    for shape in Shape::both() {
        let scenario = Scenario::standard(shape.fragments_of(400), 1_000).await;
        scenario.add("p", "a * b", &[]);
        let report = scenario.refresh_with(&["--batch-rows", "90"]);
        assert_eq!(report.assigned("p"), 1_000);
        assert!(report.column("p").batches >= 12, "{report:#?}");
        scenario.check_int("p", product).await;
        scenario.expect_rest().await;
        scenario.append(333).await;
        let report = scenario.refresh_with(&["--batch-rows", "100"]);
        assert_eq!(report.assigned("p"), 333);
        scenario.check_int("p", product).await;
        scenario.expect_rest().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_batches_than_a_ledger_page_holds_are_all_done() {
    let scenario = Scenario::standard(Shape::default().fragments_of(700), 1_000).await;
    scenario.add("p", "a * b", &[]);
    let report = scenario.refresh_with(&["--batch-rows", "3"]);
    assert_eq!(report.assigned("p"), 1_000);
    scenario.check_int("p", product).await;
    scenario.expect_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_cost_little_more_than_twice_the_column() {
    let rows = 64_000;
    let scenario = Scenario::standard(Shape::default(), rows).await;
    // Values that no encoding makes smaller.
    scenario.add("p", "sin(id * 1.7) * exp(b)", &[]);
    let before: u64 = files_below(&scenario.root()).values().sum();
    let report = scenario.refresh_with(&["--batch-rows", "8000"]);
    let written = report.column("p").bytes_written;
    let column = u64::try_from(rows * 8).expect("bytes");
    assert!(written >= column * 2, "{written}");
    assert!(
        written * 10 <= column * 21,
        "{written} of a column of {column}"
    );
    let after: u64 = files_below(&scenario.root()).values().sum();
    let grown = after - before;
    assert!(grown * 10 <= column * 21, "{grown} of a column of {column}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_fragment_costs_little_more_than_the_column() {
    let rows = 64_000;
    let scenario = Scenario::standard(Shape::default(), rows).await;
    scenario.add("p", "sin(id * 1.7) * exp(b)", &[]);
    let report = scenario.refresh();
    let written = report.column("p").bytes_written;
    let column = u64::try_from(rows * 8).expect("bytes");
    assert!(
        written * 100 <= column * 105,
        "{written} of a column of {column}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_folded_parts_do_not_stay_in_the_state_store() {
    let scenario = Scenario::standard(Shape::default().fragments_of(400), 1_000).await;
    scenario.add("p", "a * b", &[]);
    scenario.refresh_with(&["--batch-rows", "90"]);
    let left: Vec<_> = (scenario.state_files().into_keys())
        .filter(|path| path.components().any(|part| part.as_os_str() == "values"))
        .collect();
    assert!(left.is_empty(), "{left:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_leave_deleted_rows_alone() {
    let scenario = Scenario::standard(Shape::default().fragments_of(500), 1_000).await;
    scenario.delete("id % 3 = 0").await;
    scenario.add("p", "a * b", &[]);
    let report = scenario.refresh_with(&["--batch-rows", "60"]);
    assert_eq!(report.assigned("p"), 666);
    scenario.check_int("p", product).await;
    scenario.expect_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_are_laid_over_an_older_column() {
    let scenario = Scenario::filled(Shape::default().fragments_of(500), 1_000).await;
    scenario.append(200).await;
    scenario.alter("p", &["--sql", "a + b", "--on-change", "recompute_all"]);
    let report = scenario.refresh_with(&["--batch-rows", "70"]);
    assert_eq!(report.assigned("p"), 1_200);
    scenario
        .check_int("p", |row| Some(row.int("a")? + row.int("b")?))
        .await;
    scenario.expect_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_outside_a_filter_keep_their_values_under_a_fold() {
    let scenario = Scenario::filled(Shape::default().fragments_of(500), 1_000).await;
    scenario.alter(
        "p",
        &[
            "--sql",
            "a + b",
            "--where",
            "id % 2 = 0",
            "--on-change",
            "recompute_all",
        ],
    );
    let report = scenario.refresh_with(&["--batch-rows", "70"]);
    assert_eq!(report.assigned("p"), 500);
    let expected = |row: &Row| match row.id() % 2 {
        0 => Some(row.int("a")? + row.int("b")?),
        _ => product(row),
    };
    scenario.check_int("p", expected).await;
    scenario.expect_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_rows_of_parts_fail_alone() {
    let scenario = Scenario::standard(Shape::default().fragments_of(500), 1_000).await;
    scenario.add("p", "100 / b", &["--max-failed-fraction", "0.5"]);
    let report = scenario.refresh_with(&["--batch-rows", "64"]);
    assert_eq!(report.column("p").rows_failed, 143);
    assert_eq!(report.assigned("p"), 857);
    scenario
        .check_int("p", |row| 100_i64.checked_div(row.int("b")?))
        .await;
    assert_eq!(scenario.failures("p").len(), 143);
    scenario.expect_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_that_are_all_null_need_no_file() {
    let scenario = Scenario::standard(Shape::default().fragments_of(500), 1_000).await;
    scenario.add("p", "nullif(a, a)", &[]);
    let report = scenario.refresh_with(&["--batch-rows", "64"]);
    assert_eq!(report.assigned("p"), 1_000);
    scenario.check_int("p", |_| None).await;
    scenario.expect_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_every_width_agree() {
    let whole = Scenario::standard(Shape::default(), 300).await;
    whole.add("p", "concat(s, '-', CAST(b AS VARCHAR))", &[]);
    whole.refresh();
    let expected = |row: &Row| Some(format!("{}-{}", row.text("s")?, row.text("b")?));
    whole.check("p", expected).await;
    for rows in ["1", "7", "299", "300", "301"] {
        let scenario = Scenario::standard(Shape::default(), 300).await;
        scenario.add("p", "concat(s, '-', CAST(b AS VARCHAR))", &[]);
        let report = scenario.refresh_with(&["--batch-rows", rows]);
        assert_eq!(report.assigned("p"), 300, "{rows}");
        scenario.check("p", expected).await;
        scenario.expect_rest().await;
    }
}
