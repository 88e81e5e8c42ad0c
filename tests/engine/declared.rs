//! Declarations that were not finished, and declarations that contradict each other.

use std::collections::HashMap;

use arrow_schema::{DataType, Field, Schema};
use lance::dataset::NewColumnTransform;

use crate::fill::product;
use crate::support::{Row, Scenario, Shape};

/// Key and text of a column's definition.
async fn definition(scenario: &Scenario, column: &str) -> (String, String) {
    let dataset = scenario.open().await;
    let field = dataset.schema().field(column).expect("the column");
    let key = format!("backfill.column.{}", field.metadata["backfill.binding"]);
    let text = dataset.metadata()[&key].clone();
    (key, text)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declaration_that_died_half_way_does_nothing_and_is_taken_over() {
    for shape in Shape::both() {
        let scenario = Scenario::filled(shape.fragments_of(60), 100).await;
        // What the first of the two commits of a declaration leaves.
        let metadata = HashMap::from([(
            "backfill.binding".to_owned(),
            "0b7f7d8c-3c5e-4d5e-9a53-8f4b8e0c2a11".to_owned(),
        )]);
        let field = Field::new("q", DataType::Int64, true).with_metadata(metadata);
        let schema = std::sync::Arc::new(Schema::new(vec![field]));
        let mut dataset = scenario.open().await;
        dataset
            .add_columns(NewColumnTransform::AllNulls(schema), None, None)
            .await
            .expect("adds");
        let report = scenario.refresh();
        assert_eq!(report.columns.len(), 1, "nobody declared q: {report:#?}");
        assert_eq!(report.assigned("p"), 0);
        scenario.expect_rest().await;
        scenario.check_int("q", |_| None).await;
        scenario.add("q", "a + b", &[]);
        let report = scenario.refresh();
        assert_eq!(report.assigned("p"), 0);
        assert_eq!(report.assigned("q"), 100);
        scenario
            .check_int("q", |row| Some(row.int("a")? + row.int("b")?))
            .await;
        scenario.expect_rest().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cycle_of_two_declarations_at_once_is_named_and_costs_nothing() {
    let scenario = Scenario::filled(Shape::default().fragments_of(60), 100).await;
    scenario.add("q", "a + b", &[]);
    assert_eq!(scenario.refresh().assigned("q"), 100);
    // Each edit alone is sound; the second is written as by a process that did not see the first.
    scenario.alter("p", &["--sql", "q + 1", "--on-change", "recompute_all"]);
    let (key, text) = definition(&scenario, "p").await;
    scenario.alter("p", &["--sql", "a * b", "--on-change", "recompute_all"]);
    scenario.alter("q", &["--sql", "p + 1", "--on-change", "recompute_all"]);
    let mut dataset = scenario.open().await;
    let entry = [(key.as_str(), text.as_str())];
    dataset.update_metadata(entry).await.expect("writes");
    scenario.append(10).await;
    let version = scenario.version().await;
    let outcome = scenario.run(&["refresh"], &[]);
    assert!(outcome.stderr.contains("cycle"), "{outcome:#?}");
    assert_eq!(scenario.version().await, version, "nothing is computed");
    for column in scenario.status().columns {
        assert_eq!(column.rows_blocked, column.rows_eligible, "{column:#?}");
    }
    scenario
        .check_int("p", |row| product(row).filter(|_| row.id() < 100))
        .await;
    // Whoever breaks it gets both columns.
    scenario.alter("p", &["--sql", "a * b"]);
    scenario.refresh();
    scenario.check_int("p", product).await;
    let next = |row: &Row| Some(product(row)? + 1);
    scenario.check_int("q", next).await;
    scenario.expect_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_of_two_processes_at_once_never_leave_a_cycle_that_works() {
    let scenario = std::sync::Arc::new(Scenario::filled(Shape::default(), 50).await);
    scenario.add("q", "a + b", &[]);
    scenario.refresh();
    let edit = |column: &'static str, sql: &'static str| {
        let scenario = scenario.clone();
        let options = [column, "--sql", sql, "--on-change", "recompute_all"];
        tokio::task::spawn_blocking(move || scenario.run(&["column", "alter"], &options))
    };
    let (p, q) = tokio::join!(edit("p", "q + 1"), edit("q", "p + 1"));
    let codes = [p, q].map(|outcome| outcome.expect("runs").code);
    assert!(codes.contains(&0), "{codes:?}");
    assert!(
        codes.iter().all(|code| [0, 1, 2].contains(code)),
        "{codes:?}"
    );
    let outcome = scenario.run(&["refresh"], &[]);
    let cyclic = codes == [0, 0];
    assert_eq!(outcome.stderr.contains("cycle"), cyclic, "{outcome:#?}");
    scenario.expect_rest().await;
}
