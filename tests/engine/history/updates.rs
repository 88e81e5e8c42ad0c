//! Updates, upserts and values that others supply: exactly the rows in need are computed.

use super::{expect_computed, settled};
use crate::fill::product;
use crate::support::table::{batch, standard};
use crate::support::{Row, Scenario, Shape, ints, texts};

#[tokio::test(flavor = "multi_thread")]
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
async fn an_upsert_of_equal_values_recomputes_nothing() {
    let scenario = settled(Shape::stable()).await;
    let all = scenario.full_batch().await;
    scenario.upsert(all).await;
    expect_computed(&scenario, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
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
            ("s", texts([Some("x"), Some("y")])),
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
            .replace(2, "b", ints((0..100).map(|_| Some(1_000))))
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
