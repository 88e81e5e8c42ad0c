//! Scalar indices on columns that we replace, and on those that we read: queries stay right.

use super::settled;
use crate::fill::product;
use crate::support::{Row, Scenario, Shape};

/// A filtered scan finds what a full scan and the oracle find.
async fn expect_found(scenario: &Scenario, expected: impl Fn(&Row) -> Option<i64>) {
    let rows = scenario.rows().await;
    let ids = |selects: &dyn Fn(&Row) -> bool| {
        let selected = rows.iter().filter(|row| selects(row));
        let mut ids: Vec<i64> = selected.map(Row::id).collect();
        ids.sort_unstable();
        ids
    };
    for value in [0, 20, 120, 1_200, 1_250, 2_000, 5_000] {
        for (operator, compare) in [("=", i64::eq as fn(&i64, &i64) -> bool), (">", i64::gt)] {
            let found = scenario.ids_where(&format!("p {operator} {value}")).await;
            let wanted = ids(&|row| expected(row).is_some_and(|p| compare(&p, &value)));
            assert_eq!(found, wanted, "p {operator} {value}");
        }
    }
    let nulls = scenario.ids_where("p IS NULL").await;
    assert_eq!(nulls, ids(&|row| expected(row).is_none()), "p IS NULL");
    for b in [0, 3, 11, 1_000] {
        let found = scenario.ids_where(&format!("b = {b}")).await;
        assert_eq!(found, ids(&|row| row.int("b") == Some(b)), "b = {b}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_through_indices_are_right_after_each_refresh() {
    for shape in Shape::both() {
        let scenario = settled(shape).await;
        for column in ["p", "b"] {
            scenario.index(column).await;
        }
        let plan = scenario.explain("p = 1200").await;
        assert!(plan.contains("ScalarIndex"), "the index is used: {plan}");
        expect_found(&scenario, product).await;
        // New rows are in no index yet.
        scenario.append(60).await;
        assert_eq!(scenario.refresh().assigned("p"), 60);
        expect_found(&scenario, product).await;
        // Each column file that the index of the output has read is replaced, some by parts.
        scenario.alter(
            "p",
            &["--sql", "a * b + 50", "--on-change", "recompute_all"],
        );
        let report = scenario.refresh_with(&["--batch-rows", "30"]);
        assert_eq!(report.assigned("p"), 460);
        let shifted = |row: &Row| Some(product(row)? + 50);
        expect_found(&scenario, shifted).await;
        // An indexed input changes: by rows that move, and in place.
        scenario.update("b", "1000", "id >= 90 AND id < 127").await;
        let values = (0..100).map(|place| Some(10 + place % 4));
        scenario.replace(2, "b", crate::support::ints(values)).await;
        assert_eq!(scenario.refresh().assigned("p"), 137);
        expect_found(&scenario, shifted).await;
        scenario.compact().await;
        assert_eq!(scenario.refresh().assigned("p"), 0);
        expect_found(&scenario, shifted).await;
        for column in ["p", "b"] {
            scenario.index(column).await;
        }
        assert_eq!(scenario.refresh().assigned("p"), 0);
        expect_found(&scenario, shifted).await;
        scenario.check_int("p", shifted).await;
        scenario.expect_rest().await;
    }
}
