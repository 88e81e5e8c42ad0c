//! What other writers do to a filled column: compaction, updates, upserts, values by hand, restore.

use std::sync::Arc;

use crate::fill::product;
use crate::support::program::run;
use crate::support::table::{batch, standard};
use crate::support::{Report, Row, Scenario, Shape, ints};

/// 400 rows in four fragments, filled and at rest.
async fn settled(shape: Shape) -> Scenario {
    Scenario::filled(shape.fragments_of(100), 400).await
}

/// A refresh after a change computes exactly so many rows, all are right, and then it rests.
async fn expect_computed(scenario: &Scenario, rows: u64) {
    let report = scenario.refresh();
    assert_eq!(report.assigned("p"), rows);
    let all = scenario.check_int("p", product).await as u64;
    assert_eq!(report.column("p").rows_current, all, "{report:#?}");
    scenario.expect_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "until history lands"]
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
#[ignore = "until history lands"]
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
#[ignore = "until history lands"]
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
#[ignore = "until history lands"]
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
#[ignore = "until history lands"]
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
#[ignore = "until history lands"]
async fn an_update_of_an_unrelated_column_recomputes_nothing() {
    for shape in Shape::both() {
        let scenario = settled(shape).await;
        // No NULL results among them: without stable row ids only rows of one state are carried.
        scenario
            .update("s", "'other'", "id >= 20 AND id < 25")
            .await;
        expect_computed(&scenario, 0).await;
    }
    let scenario = settled(Shape::stable()).await;
    scenario.update("s", "'other'", "id < 250").await;
    expect_computed(&scenario, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "until history lands"]
async fn an_update_of_an_input_recomputes_exactly_the_updated_rows() {
    for shape in Shape::both() {
        let scenario = settled(shape).await;
        scenario.update("b", "b + 1", "id >= 90 AND id < 127").await;
        let status = scenario.status();
        assert_eq!(
            status.column("p").rows_current,
            363,
            "stale rows are not current"
        );
        expect_computed(&scenario, 37).await;
        scenario.update("a", "a + 1", "id = 17").await;
        expect_computed(&scenario, 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_of_a_filter_column_recomputes_only_newly_selected_rows() {
    let scenario = Scenario::standard(Shape::stable().fragments_of(100), 400).await;
    scenario.add("p", "a + 1", &["--where", "b < 3"]);
    scenario.refresh();
    // Selected before: b = 0, 1, 2. Rows 3 and 10 join.
    scenario.update("b", "1", "id IN (1, 2, 3, 10)").await;
    let report = scenario.refresh();
    assert_eq!(report.assigned("p"), 2);
    let expected = |row: &Row| {
        row.int("a")
            .filter(|_| row.int("b") < Some(3))
            .map(|a| a + 1)
    };
    scenario.check_int("p", expected).await;
    scenario.expect_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "until history lands"]
async fn an_upsert_of_equal_values_recomputes_nothing() {
    let scenario = settled(Shape::stable()).await;
    let all = scenario.full_batch().await;
    scenario.upsert(all).await;
    expect_computed(&scenario, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "until history lands"]
async fn a_partial_upsert_in_place_recomputes_exactly_its_rows() {
    for shape in Shape::both() {
        let scenario = settled(shape).await;
        let ids = [5, 7, 150, 151, 152];
        let patch = batch(&[
            ("id", ints(ids.map(Some))),
            ("b", ints(ids.map(|id| Some(id + 1_000)))),
        ]);
        scenario.patch(patch).await;
        expect_computed(&scenario, 5).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partial_upsert_of_an_unrelated_column_in_place_recomputes_nothing() {
    for shape in Shape::both() {
        let scenario = settled(shape).await;
        let patch = batch(&[
            ("id", ints([Some(5), Some(250)])),
            ("s", crate::support::texts([Some("x"), Some("y")])),
        ]);
        scenario.patch(patch).await;
        expect_computed(&scenario, 0).await;
    }
}

/// Rows 400 to 449 with values for `p` of their own, NULL in each fifth row.
fn supplied() -> arrow_array::RecordBatch {
    let rows = standard(400..450);
    let mut columns: Vec<(&str, arrow_array::ArrayRef)> = vec![];
    for (place, name) in ["id", "a", "b", "s"].into_iter().enumerate() {
        columns.push((name, rows.column(place).clone()));
    }
    let values = (400..450).map(|id| (id % 5 != 0).then_some(-id));
    columns.push(("p", ints(values)));
    batch(&columns)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "until history lands"]
async fn values_supplied_by_an_append_stand_and_missing_ones_are_computed() {
    for shape in Shape::both() {
        let scenario = settled(shape).await;
        scenario.append_batch(supplied()).await;
        let report = scenario.refresh();
        assert_eq!(report.assigned("p"), 10);
        assert_eq!(
            report.column("p").rows_current,
            450,
            "supplied is current: {report:#?}"
        );
        let expected = |row: &Row| match row.id() {
            id if id >= 400 && id % 5 != 0 => Some(-id),
            _ => product(row),
        };
        scenario.check_int("p", expected).await;
        scenario.expect_rest().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "until history lands"]
async fn a_value_written_by_hand_survives_refresh_and_compaction() {
    for shape in Shape::both() {
        let scenario = settled(shape).await;
        scenario.update("p", "-1", "id >= 20 AND id < 25").await;
        let expected = |row: &Row| match row.id() {
            20..25 => Some(-1),
            _ => product(row),
        };
        for _ in 0..2 {
            let report = scenario.refresh();
            assert_eq!(report.assigned("p"), 0);
            assert_eq!(report.column("p").rows_current, 400, "{report:#?}");
            scenario.check_int("p", expected).await;
            scenario.expect_rest().await;
            scenario.compact().await;
        }
        // NULL written by hand asks for a value.
        scenario
            .update("p", "CAST(NULL AS BIGINT)", "id = 22")
            .await;
        assert_eq!(scenario.refresh().assigned("p"), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_input_replaced_in_one_fragment_recomputes_that_fragment() {
    for shape in Shape::both() {
        let scenario = settled(shape).await;
        scenario
            .replace(2, "b", ints((0..100).map(|_| Some(3))))
            .await;
        let status = scenario.status();
        assert_eq!(status.column("p").rows_current, 300);
        expect_computed(&scenario, 100).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_replaced_by_hand_in_one_fragment_stands() {
    for shape in Shape::both() {
        let scenario = settled(shape).await;
        scenario
            .replace(2, "p", ints((0..100).map(|_| Some(-7))))
            .await;
        let report = scenario.refresh();
        assert_eq!(report.assigned("p"), 0);
        assert_eq!(report.column("p").rows_remaining, 0);
        scenario
            .check_int("p", |row| {
                if row.fragment == 2 {
                    Some(-7)
                } else {
                    product(row)
                }
            })
            .await;
        scenario.expect_rest().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn index_builds_and_cleanup_and_added_columns_recompute_nothing() {
    for shape in Shape::both() {
        let scenario = settled(shape).await;
        for column in ["id", "a", "p"] {
            scenario.index(column).await;
            expect_computed(&scenario, 0).await;
        }
        scenario.cleanup().await;
        expect_computed(&scenario, 0).await;
        let transform = lance::dataset::NewColumnTransform::SqlExpressions(vec![(
            "more".to_owned(),
            "id * 2".to_owned(),
        )]);
        let mut dataset = scenario.open().await;
        dataset
            .add_columns(transform, None, None)
            .await
            .expect("adds");
        expect_computed(&scenario, 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn renamed_columns_are_followed() {
    for shape in Shape::both() {
        let scenario = settled(shape).await;
        scenario.rename_column("b", "factor").await;
        scenario.rename_column("p", "product").await;
        let expected = |row: &Row| Some(row.int("a")? * row.int("factor")?);
        let report = scenario.refresh();
        assert_eq!(report.assigned("product"), 0);
        scenario.check_int("product", expected).await;
        scenario.expect_rest().await;
        let rows = batch(&[
            ("id", ints([Some(1_000)])),
            ("a", ints([Some(6)])),
            ("factor", ints([Some(7)])),
        ]);
        scenario.append_batch(rows).await;
        assert_eq!(scenario.refresh().assigned("product"), 1);
        scenario.check_int("product", expected).await;
        scenario.expect_rest().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_input_dropped_and_added_again_is_another_column() {
    let scenario = settled(Shape::default()).await;
    scenario.drop_column("b").await;
    let status = scenario.status();
    assert_eq!(status.column("p").state, "detached");
    scenario.run(&["refresh"], &[]).expect_code(0);
    let transform = lance::dataset::NewColumnTransform::SqlExpressions(vec![(
        "other".to_owned(),
        "id + 100".to_owned(),
    )]);
    let mut dataset = scenario.open().await;
    dataset
        .add_columns(transform, None, None)
        .await
        .expect("adds");
    let before = scenario.rows().await;
    scenario
        .append_batch(batch(&[
            ("id", ints([Some(1_000)])),
            ("a", ints([Some(6)])),
        ]))
        .await;
    let report = scenario.run(&["refresh"], &[]);
    assert!([0, 1, 2].contains(&report.code));
    let after = scenario.rows().await;
    for row in &before {
        let same = after.iter().find(|other| other.id() == row.id());
        assert_eq!(same.and_then(|other| other.text("p")), row.text("p"));
    }
    let new = after.iter().find(|row| row.id() == 1_000).expect("the row");
    assert_eq!(
        new.text("p"),
        None,
        "field ids are reused: 'other' is not the input"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cast_output_is_detached_and_not_written_to() {
    let scenario = settled(Shape::default()).await;
    scenario
        .cast_column("p", arrow_schema::DataType::Int32)
        .await;
    assert_eq!(scenario.status().column("p").state, "detached");
    scenario.append(10).await;
    let version = scenario.version().await;
    scenario.run(&["refresh"], &[]).expect_code(0);
    assert_eq!(scenario.version().await, version);
}

#[tokio::test(flavor = "multi_thread")]
async fn restore_brings_values_and_records_back() {
    for shape in Shape::both() {
        let scenario = settled(shape).await;
        let filled = scenario.version().await;
        scenario.append(50).await;
        scenario.alter("p", &["--sql", "a + b", "--on-change", "recompute_all"]);
        assert_eq!(scenario.refresh().assigned("p"), 450);
        scenario.delete("id < 50").await;
        scenario.restore(filled).await;
        expect_computed(&scenario, 0).await;
        assert_eq!(scenario.rows().await.len(), 400);
        scenario.append_batch(standard(5_000..5_020)).await;
        expect_computed(&scenario, 20).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overwritten_table_detaches_its_columns() {
    for shape in Shape::both() {
        let scenario = settled(shape).await;
        scenario.overwrite(standard(0..70)).await;
        let status = scenario.status();
        assert_eq!(status.column("p").state, "detached");
        let version = scenario.version().await;
        scenario.run(&["refresh"], &[]).expect_code(0);
        assert_eq!(scenario.version().await, version);
        scenario.add("p", "a + b", &[]);
        let report = scenario.refresh();
        assert_eq!(report.assigned("p"), 70);
        scenario
            .check_int("p", |row| Some(row.int("a")? + row.int("b")?))
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "until history lands"]
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

#[tokio::test(flavor = "multi_thread")]
#[ignore = "until history lands"]
async fn a_shallow_clone_neither_recomputes_nor_spends() {
    let scenario = settled(Shape::default()).await;
    let clone = scenario
        .folder
        .path()
        .join("clone.lance")
        .display()
        .to_string();
    let mut dataset = scenario.open().await;
    let version = dataset.version_id();
    dataset
        .shallow_clone(&clone, version, None)
        .await
        .expect("clones");
    let status = Report::read(run(&["status", &clone]).expect_code(0).json());
    assert_eq!(
        status.column("p").rows_current,
        400,
        "records are read through the parent"
    );
    let before = crate::support::table::files_below(clone.as_ref());
    let report = Report::read(run(&["refresh", &clone]).json());
    assert!(
        report
            .columns
            .iter()
            .all(|column| column.rows_assigned == 0)
    );
    assert_eq!(crate::support::table::files_below(clone.as_ref()), before);
}
