//! Filling a column, keeping it filled, and resting when nothing changed.

use arrow_schema::Schema;
use lance_file::version::LanceFileVersion;

pub(crate) use crate::support::oracle::product;
use crate::support::{Row, Scenario, Shape};

#[tokio::test(flavor = "multi_thread")]
async fn fills_appends_and_then_rests_in_every_layout() {
    let storages = [
        LanceFileVersion::V2_0,
        LanceFileVersion::V2_1,
        LanceFileVersion::V2_2,
    ];
    for storage in storages {
        for stable_row_ids in [false, true] {
            for fragment_rows in [1_000_000, 300] {
                let shape = Shape {
                    storage,
                    stable_row_ids,
                    fragment_rows,
                };
                fills_appends_and_rests(shape).await;
            }
        }
    }
}

async fn fills_appends_and_rests(shape: Shape) {
    let scenario = Scenario::standard(shape, 1_000).await;
    let flags = scenario.flags().await;
    scenario.add("p", "a * b", &[]);
    let schema = Schema::from(scenario.open().await.schema());
    let report = scenario.refresh();
    let column = report.column("p");
    assert_eq!(column.rows_assigned, 1_000, "{shape:?}");
    assert_eq!(column.rows_current, 1_000, "NULL is a result");
    assert_eq!(scenario.check_int("p", product).await, 1_000);
    scenario.expect_rest().await;
    scenario.append(50).await;
    assert_eq!(scenario.refresh().assigned("p"), 50, "{shape:?}");
    assert_eq!(scenario.check_int("p", product).await, 1_050);
    scenario.expect_rest().await;
    assert_eq!(scenario.flags().await, flags, "{shape:?}");
    // How its files are encoded is not said in the table.
    let after = Schema::from(scenario.open().await.schema());
    assert_eq!(after, schema, "{shape:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_table_is_settled_and_fills_with_its_first_rows() {
    for shape in Shape::both() {
        let scenario = Scenario::standard(shape, 0).await;
        scenario.add("p", "a * b", &[]);
        let report = scenario.refresh();
        assert_eq!(report.column("p").rows_total, 0);
        scenario.expect_rest().await;
        scenario.append(5).await;
        assert_eq!(scenario.refresh().assigned("p"), 5);
        scenario.check_int("p", product).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_rows_are_not_computed_and_deleting_makes_no_work() {
    for shape in Shape::both() {
        let scenario = Scenario::standard(shape.fragments_of(200), 1_000).await;
        scenario.delete("id % 5 = 0").await;
        scenario.delete("id >= 200 AND id < 400").await;
        scenario.add("p", "a * b", &[]);
        let report = scenario.refresh();
        assert_eq!(report.assigned("p"), 640);
        assert_eq!(report.column("p").rows_total, 640);
        assert_eq!(scenario.check_int("p", product).await, 640);
        scenario.expect_rest().await;
        scenario.delete("id % 3 = 0").await;
        scenario.delete("id >= 600 AND id < 800").await;
        let report = scenario.refresh();
        assert_eq!(report.assigned("p"), 0);
        scenario.check_int("p", product).await;
        scenario.expect_rest().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_which_all_rows_are_deleted_is_settled() {
    let scenario = Scenario::standard(Shape::default(), 100).await;
    scenario.add("p", "a * b", &[]);
    scenario.delete("true").await;
    assert_eq!(scenario.refresh().column("p").rows_total, 0);
    scenario.expect_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn null_results_are_not_computed_again() {
    let scenario = Scenario::standard(Shape::default().fragments_of(100), 500).await;
    scenario.add("p", "CASE WHEN id < 250 THEN NULL ELSE a END", &[]);
    assert_eq!(scenario.refresh().assigned("p"), 500);
    let expected = |row: &Row| row.int("a").filter(|_| row.id() >= 250);
    scenario.check_int("p", expected).await;
    scenario.expect_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_wanted_column_is_refreshed() {
    let scenario = Scenario::standard(Shape::default(), 100).await;
    scenario.add("p", "a * b", &[]);
    scenario.add("q", "a + b", &[]);
    let report = scenario.refresh_with(&["--column", "q"]);
    assert_eq!(report.columns.len(), 1);
    assert_eq!(report.assigned("q"), 100);
    assert_eq!(scenario.status().column("p").rows_remaining, 100);
    assert_eq!(scenario.refresh().assigned("p"), 100);
    scenario.check_int("p", product).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plan_foretells_what_refresh_does() {
    let scenario = Scenario::standard(Shape::default().fragments_of(100), 300).await;
    scenario.add("p", "a * b", &["--where", "id >= 50"]);
    let plan = scenario.plan("p");
    assert_eq!(plan["rows_planned"], 250);
    assert_eq!(scenario.status().column("p").rows_remaining, 250);
    assert_eq!(scenario.refresh().assigned("p"), 250);
    assert_eq!(scenario.plan("p")["rows_planned"], 0);
    assert_eq!(scenario.plan("p")["fragments_unsettled"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_without_computed_columns_has_nothing_to_refresh() {
    let scenario = Scenario::standard(Shape::default(), 10).await;
    assert!(scenario.refresh().columns.is_empty());
    assert!(scenario.status().columns.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_more_than_an_array_of_texts_can_hold_are_folded() {
    let scenario = Scenario::standard(Shape::default(), 26_000).await;
    scenario.add("t", "repeat('x', 90000 + id % 7)", &[]);
    scenario.add("n", "length(t)", &[]);
    // 2.3 GB in five parts of one fragment: each can be held, all together cannot.
    let report = scenario.refresh_with(&["--batch-rows", "6000"]);
    assert_eq!(
        (report.assigned("t"), report.assigned("n")),
        (26_000, 26_000)
    );
    scenario
        .check_int("n", |row| Some(90_000 + row.id() % 7))
        .await;
}
