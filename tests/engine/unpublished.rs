//! Results that wait to be published while others rewrite the fragments that they were made for.

use crate::fill::product;
use crate::support::watch::{CheckpointLog, rows_called};
use crate::support::{Report, Row, Scenario, Shape};

/// Whole fragments into staged column files, and parts into values files.
const WAYS: [&[&str]; 2] = [&[], &["--batch-rows", "30"]];

fn nullish(row: &Row) -> Option<i64> {
    match (row.int("a"), row.int("b")) {
        (_, Some(4)) => None,
        (Some(50), _) => None,
        _ => product(row),
    }
}

/// Columns with NULL results, a filter, failed rows and a dependency.
async fn scenario(shape: Shape) -> Scenario {
    let scenario = Scenario::standard(shape.fragments_of(100), 450).await;
    scenario.add("p", "nullif(a, 50) * b", &["--where", "b <> 4"]);
    scenario.add("q", "10 / b", &["--max-failed-fraction", "1"]);
    scenario
}

/// Computes what can be computed, and publishes nothing of it.
fn compute_and_wait(scenario: &Scenario, way: &[&str]) {
    scenario.run(&["pause"], &[]).expect_code(0);
    let report = Report::read(scenario.run(&["refresh"], way).expect_code(1).json());
    assert!(report.column("p").batches > 0, "{report:#?}");
    assert_eq!(report.published_version, None);
}

/// Rows for which a function is called until all is published, of which so many fail.
async fn publish(scenario: &Scenario, failed: u64) -> u64 {
    scenario.run(&["resume"], &[]).expect_code(0);
    let log = CheckpointLog::start(scenario);
    let report = scenario.refresh();
    let computed = report.assigned("p") + report.assigned("q") + failed;
    let called = rows_called(&log.finish());
    assert!(called <= computed, "{called} rows called of {computed}");
    scenario.check_int("p", nullish).await;
    scenario.expect_rest_of_columns().await;
    computed
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compaction_before_the_commit_costs_no_computed_row() {
    for (shape, way) in Shape::both()
        .into_iter()
        .flat_map(|shape| WAYS.map(|way| (shape, way)))
    {
        let scenario = scenario(shape).await;
        compute_and_wait(&scenario, way);
        // Deletions first, so that rows get other offsets.
        scenario.delete("id % 10 = 3").await;
        assert!(scenario.compact().await);
        scenario.append(40).await;
        // And once more: each result goes two steps.
        assert!(scenario.compact().await);
        let selected = (450..490).filter(|id| id % 7 != 4).count() as u64;
        let failed = (450..490).filter(|id| id % 7 == 0).count() as u64;
        let computed = publish(&scenario, failed).await;
        assert_eq!(computed, 40 + selected, "{shape:?} {way:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_were_updated_before_the_compaction_are_computed_again() {
    for (shape, way) in Shape::both()
        .into_iter()
        .flat_map(|shape| WAYS.map(|way| (shape, way)))
    {
        let scenario = scenario(shape).await;
        compute_and_wait(&scenario, way);
        scenario.update("b", "b + 7", "id % 50 = 1").await;
        assert!(scenario.compact().await);
        // Nine rows moved with another input of both columns.
        assert_eq!(publish(&scenario, 0).await, 2 * 9, "{shape:?} {way:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn inputs_that_were_replaced_before_the_compaction_are_not_taken_for_the_old_ones() {
    for (shape, way) in Shape::both()
        .into_iter()
        .flat_map(|shape| WAYS.map(|way| (shape, way)))
    {
        let scenario = scenario(shape).await;
        compute_and_wait(&scenario, way);
        let values = crate::support::table::ints((0..100).map(|row| Some(row + 1)));
        scenario.replace(1, "b", values).await;
        assert!(scenario.compact().await);
        let rows = scenario.rows().await;
        let fours = rows[100..200].iter().filter(|row| row.int("b") == Some(4));
        let again = 200 - fours.count() as u64;
        assert_eq!(publish(&scenario, 0).await, again, "{shape:?} {way:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_correction_after_the_compaction_stands() {
    for (shape, way) in Shape::both()
        .into_iter()
        .flat_map(|shape| WAYS.map(|way| (shape, way)))
    {
        let scenario = scenario(shape).await;
        compute_and_wait(&scenario, way);
        assert!(scenario.compact().await);
        scenario.update("p", "-5", "id = 17").await;
        scenario.run(&["resume"], &[]).expect_code(0);
        let log = CheckpointLog::start(&scenario);
        scenario.refresh();
        // An update moves the row: without its old fragment, `q` of it is computed again.
        assert!(rows_called(&log.finish()) <= 1, "{shape:?} {way:?}");
        let expected = |row: &Row| match row.id() {
            17 => Some(-5),
            _ => nullish(row),
        };
        scenario.check_int("p", expected).await;
        scenario.expect_rest_of_columns().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_versions_in_between_unpublished_results_are_computed_again() {
    for shape in Shape::both() {
        let scenario = scenario(shape).await;
        compute_and_wait(&scenario, &[]);
        assert!(scenario.compact().await);
        scenario.cleanup().await;
        // Nobody can tell that the inputs are the same; the filter leaves some rows out.
        let rows = scenario.rows().await;
        let fours = rows.iter().filter(|row| row.int("b") == Some(4)).count() as u64;
        let failed = rows.iter().filter(|row| row.int("b") == Some(0)).count() as u64;
        let computed = publish(&scenario, failed).await;
        assert_eq!(computed, 2 * 450 - fours, "{shape:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn results_of_the_old_expression_follow_their_rows_too() {
    for (shape, way) in Shape::both()
        .into_iter()
        .flat_map(|shape| WAYS.map(|way| (shape, way)))
    {
        let scenario = Scenario::standard(shape.fragments_of(100), 450).await;
        scenario.add("p", "a * b", &[]);
        compute_and_wait(&scenario, way);
        scenario.run(&["resume"], &[]).expect_code(0);
        // It reads another column, and the old values stand.
        scenario.alter("p", &["--sql", "id + 1"]);
        assert!(scenario.compact().await);
        scenario.append(30).await;
        let log = CheckpointLog::start(&scenario);
        scenario.refresh();
        let computed = rows_called(&log.finish());
        assert!(computed <= 30, "{computed}, {shape:?} {way:?}");
        let expected = |row: &Row| match row.id() {
            id @ 450.. => Some(id + 1),
            _ => product(row),
        };
        scenario.check_int("p", expected).await;
        scenario.expect_rest_of_columns().await;
    }
}
