//! The stored filter: which rows are computed, and what its changes cost.

use crate::fill::product;
use crate::support::{Row, Scenario, Shape, ints};

#[tokio::test(flavor = "multi_thread")]
async fn only_selected_rows_are_computed() {
    // (filter, whether it selects the row)
    type Selects = fn(&Row) -> bool;
    let cases: &[(&str, Selects)] = &[
        ("id >= 100", |row| row.id() >= 100),
        ("a > 1000", |row| row.int("a").is_some_and(|a| a > 1_000)),
        ("a IS NULL", |row| row.int("a").is_none()),
        ("s LIKE 's1%'", |row| {
            row.text("s").is_some_and(|s| s.starts_with("s1"))
        }),
        ("b IN (1, 2) OR id = 5", |row| {
            [Some(1), Some(2)].contains(&row.int("b")) || row.id() == 5
        }),
        ("true", |_| true),
        ("1 = 0", |_| false),
    ];
    for (filter, selects) in cases {
        let scenario = Scenario::standard(Shape::default().fragments_of(120), 400).await;
        scenario.delete("id % 10 = 9").await;
        scenario.add("p", "a * b", &["--where", filter]);
        let selected = scenario
            .rows()
            .await
            .iter()
            .filter(|row| selects(row))
            .count() as u64;
        let report = scenario.refresh();
        assert_eq!(report.assigned("p"), selected, "{filter}");
        assert_eq!(report.column("p").rows_eligible, selected, "{filter}");
        assert_eq!(report.column("p").rows_filtered, 360 - selected, "{filter}");
        let expected = |row: &Row| product(row).filter(|_| selects(row));
        scenario.check_int("p", expected).await;
        scenario.expect_rest().await;
        scenario.append(60).await;
        scenario.refresh();
        scenario.check_int("p", expected).await;
        scenario.expect_rest().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_text_for_the_same_rows_recomputes_nothing() {
    let scenario = Scenario::standard(Shape::default().fragments_of(150), 400).await;
    scenario.add("p", "a * b", &["--where", "id >= 100"]);
    assert_eq!(scenario.refresh().assigned("p"), 300);
    for filter in ["NOT (id < 100)", "id > 99", "id - 100 >= 0"] {
        scenario.alter("p", &["--where", filter]);
        let report = scenario.refresh();
        assert_eq!(report.assigned("p"), 0, "{filter}");
        assert_eq!(report.column("p").rows_eligible, 300, "{filter}");
        scenario.expect_rest().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wider_filter_computes_exactly_the_new_rows_and_a_narrower_one_none() {
    let scenario = Scenario::standard(Shape::default().fragments_of(150), 400).await;
    scenario.add("p", "a * b", &["--where", "id >= 300"]);
    assert_eq!(scenario.refresh().assigned("p"), 100);
    scenario.alter("p", &["--where", "id >= 180"]);
    assert_eq!(scenario.refresh().assigned("p"), 120);
    scenario.alter("p", &["--where", "id >= 350"]);
    let report = scenario.refresh();
    assert_eq!(report.assigned("p"), 0);
    assert_eq!(report.column("p").rows_eligible, 50);
    let expected = |row: &Row| product(row).filter(|_| row.id() >= 180);
    scenario.check_int("p", expected).await;
    // Rows that come back still have their value.
    scenario.alter("p", &["--no-filter"]);
    assert_eq!(scenario.refresh().assigned("p"), 180);
    scenario.check_int("p", product).await;
    scenario.expect_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_column_replaced_in_place_selects_anew_and_recomputes_nothing_else() {
    for shape in Shape::both() {
        let scenario = Scenario::standard(shape.fragments_of(100), 200).await;
        scenario.add("p", "a * 2", &["--where", "b = 1"]);
        let first = scenario.refresh().assigned("p");
        assert_eq!(first, 29);
        // Fragment 0: rows with b = 1 stay selected, those with b = 2 join them.
        let values = (0..100).map(|id| Some(if id % 7 == 2 { 1 } else { id % 7 }));
        scenario.replace(0, "b", ints(values)).await;
        let report = scenario.refresh();
        assert_eq!(report.assigned("p"), 14, "rows 2, 9, … 93");
        assert_eq!(report.column("p").rows_eligible, 29 + 14);
        scenario
            .check_int("p", |row| {
                row.int("a")
                    .filter(|_| row.int("b") == Some(1))
                    .map(|a| a * 2)
            })
            .await;
        scenario.expect_rest().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_on_which_the_filter_fails_are_failed_rows() {
    let scenario = Scenario::standard(Shape::default().fragments_of(150), 350).await;
    scenario.add("p", "a * b", &["--where", "100 / b > 20"]);
    let report = scenario.refresh();
    assert_eq!(report.column("p").rows_failed, 50);
    let expected = |row: &Row| {
        product(row).filter(|_| row.int("b").and_then(|b| 100_i64.checked_div(b)) > Some(20))
    };
    scenario.check_int("p", expected).await;
    let failures = scenario.failures("p");
    let mut zeros: Vec<(u64, u32)> = (scenario.rows().await.iter())
        .filter(|row| row.int("b") == Some(0))
        .map(|row| (row.fragment, row.offset))
        .collect();
    zeros.sort_unstable();
    let failed: Vec<(u64, u32)> = (failures.iter())
        .map(|failure| (failure.fragment, failure.offset))
        .collect();
    assert_eq!(failed, zeros);
    scenario.expect_rest().await;
    scenario.alter("p", &["--where", "100 / nullif(b, 0) > 20"]);
    let report = scenario.refresh();
    assert_eq!(report.column("p").rows_failed, 0);
    assert_eq!(report.assigned("p"), 0, "a NULL filter does not select");
    scenario.check_int("p", expected).await;
    scenario.expect_rest().await;
}
