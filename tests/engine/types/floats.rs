//! Floats are encoded by what they look like, and come back as they were.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array};
use lance_file::version::LanceFileVersion;

use crate::support::table::batch;
use crate::support::{Scenario, Shape, Table, ints};

const ROWS: i64 = 50_000;

/// From 0 to 1, and no two alike.
fn scattered(ids: Range<i64>) -> ArrayRef {
    let value = |id: i64| f64::from((id as u32).wrapping_mul(2_654_435_761)) / f64::from(u32::MAX);
    Arc::new(Float64Array::from_iter_values(ids.map(value)))
}

#[tokio::test(flavor = "multi_thread")]
async fn floats_take_eight_bytes_at_most_and_few_different_ones_much_less() {
    for storage in [
        LanceFileVersion::V2_0,
        LanceFileVersion::V2_1,
        LanceFileVersion::V2_2,
    ] {
        let shape = Shape {
            storage,
            ..Shape::default()
        };
        let rows = |ids: Range<i64>| {
            batch(&[
                ("id", ints(ids.clone().map(Some))),
                ("x", scattered(ids.clone())),
            ])
        };
        let scenario = Scenario::on(Table::of(shape, rows(0..ROWS)).await);
        scenario.add("half", "x / 2", &[]);
        scenario.add("side", "cast(round(x) AS double)", &[]);
        // The first rows do not show what comes after them.
        scenario.add("late", "CASE WHEN id < 5000 THEN x ELSE 0.5 END", &[]);
        let report = scenario.refresh();
        let bytes_of_row = |column: &str| report.column(column).bytes_written / ROWS as u64;
        assert!(bytes_of_row("half") <= 8, "{storage:?}");
        assert!(bytes_of_row("late") <= 8, "{storage:?}");
        // Older versions have no dictionaries of floats.
        if storage == LanceFileVersion::V2_2 {
            assert!(bytes_of_row("side") <= 1, "{storage:?}");
        }
        scenario.append_batch(rows(ROWS..ROWS + 3)).await;
        scenario.refresh();
        assert!(scenario.compact().await, "{storage:?}");
        for wrong in [
            "half IS NULL OR half <> x / 2",
            "side IS NULL OR side <> round(x)",
            "late IS NULL OR (id < 5000 AND late <> x) OR (id >= 5000 AND late <> 0.5)",
        ] {
            let ids = scenario.ids_where(wrong).await;
            assert_eq!(ids, Vec::<i64>::new(), "{storage:?}: {wrong}");
        }
        assert_eq!(scenario.refresh().assigned("half"), 0, "{storage:?}");
    }
}
