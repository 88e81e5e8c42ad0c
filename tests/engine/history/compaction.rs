//! Compaction: state moves with the rows.

use std::sync::Arc;

use super::{expect_computed, settled};
use crate::fill::product;
use crate::support::program::run;
use crate::support::{Report, Row, Scenario, Shape};

#[tokio::test(flavor = "multi_thread")]
async fn compaction_recomputes_nothing() {
    for shape in Shape::both() {
        let scenario = settled(shape).await;
        scenario.delete("id % 7 = 2").await;
        assert!(scenario.compact().await);
        expect_computed(&scenario, 0).await;
        scenario.append(30).await;
        expect_computed(&scenario, 30).await;
        assert!(scenario.compact().await);
        expect_computed(&scenario, 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn compaction_keeps_null_results_and_failed_rows() {
    for shape in Shape::both() {
        let scenario = Scenario::standard(shape.fragments_of(100), 350).await;
        scenario.add("p", "100 / b + a", &["--max-failed-fraction", "1"]);
        assert_eq!(scenario.refresh().column("p").rows_failed, 50);
        scenario.delete("id % 10 = 1").await;
        let before = scenario.refresh();
        assert!(scenario.compact().await);
        let report = scenario.refresh();
        assert_eq!(report.assigned("p"), 0, "{shape:?}");
        assert_eq!(
            report.column("p").rows_failed,
            before.column("p").rows_failed
        );
        assert_eq!(
            report.column("p").rows_current,
            before.column("p").rows_current
        );
        let failing = |row: &Row| row.int("b") == Some(0);
        let mut failed: Vec<(u64, u32)> = (scenario.rows().await.iter())
            .filter(|row| failing(row))
            .map(|row| (row.fragment, row.offset))
            .collect();
        failed.sort_unstable();
        let listed: Vec<(u64, u32)> = (scenario.failures("p").iter())
            .map(|failure| (failure.fragment, failure.offset))
            .collect();
        assert_eq!(listed, failed, "{shape:?}");
        scenario.expect_rest().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn compaction_of_a_filtered_column_recomputes_nothing() {
    for shape in Shape::both() {
        let scenario = Scenario::standard(shape.fragments_of(100), 400).await;
        scenario.add("p", "nullif(a, 50)", &["--where", "b > 2"]);
        let before = scenario.refresh();
        assert!(scenario.compact().await);
        let report = scenario.refresh();
        assert_eq!(report.assigned("p"), 0, "{shape:?}");
        assert_eq!(
            report.column("p").rows_filtered,
            before.column("p").rows_filtered
        );
        scenario.expect_rest().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn compaction_of_a_half_filled_table_leaves_only_the_rest() {
    let scenario = settled(Shape::stable()).await;
    scenario.append(50).await;
    assert!(scenario.compact().await);
    expect_computed(&scenario, 50).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn compaction_after_cleanup_of_old_versions_trusts_the_values() {
    for shape in Shape::both() {
        let scenario = settled(shape).await;
        assert!(scenario.compact().await);
        scenario.cleanup().await;
        let report = scenario.refresh();
        let null = (scenario.rows().await.iter())
            .filter(|row| product(row).is_none())
            .count() as u64;
        assert!(
            report.assigned("p") <= null,
            "at most what is NULL: {report:#?}"
        );
        assert_eq!(report.column("p").rows_remaining, 0);
        scenario.check_int("p", product).await;
        scenario.expect_rest().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_and_then_a_compaction_recompute_exactly_the_updated_rows() {
    let scenario = settled(Shape::stable()).await;
    scenario.update("b", "b + 1", "id < 5").await;
    assert!(scenario.compact().await);
    let report = scenario.refresh();
    assert_eq!(report.assigned("p"), 5, "the versions in between tell");
    scenario.check_int("p", product).await;
    scenario.expect_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn compaction_during_a_fill_loses_nothing_and_with_stable_row_ids_recomputes_nothing() {
    for shape in Shape::both() {
        let scenario = Scenario::standard(shape.fragments_of(50), 2_000).await;
        scenario.add("p", "a * b", &[]);
        let scenario = Arc::new(scenario);
        let refreshing = {
            let scenario = scenario.clone();
            tokio::task::spawn_blocking(move || {
                let options = ["--batch-rows", "20", "--workers", "1"];
                run(&scenario.arguments(&["refresh"], &options))
            })
        };
        let mut compacted = false;
        let mut rows = 2_000;
        while !refreshing.is_finished() {
            // A compaction that loses the race gives up, as its user would see it.
            compacted |= scenario.try_compact().await.unwrap_or(false);
            if rows < 2_500 {
                scenario.append(50).await;
                rows += 50;
            }
        }
        let outcome = refreshing.await.expect("runs");
        assert!([0, 1].contains(&outcome.code), "{outcome:#?}");
        let first = Report::read(outcome.json()).assigned("p");
        let second = scenario.refresh().assigned("p");
        assert!(compacted, "a compaction succeeds");
        if shape.stable_row_ids {
            assert_eq!(first + second, rows, "each row is computed once");
        }
        assert_eq!(scenario.check_int("p", product).await as u64, rows);
        scenario.expect_rest().await;
    }
}
