//! Floats are encoded by what they look like, and come back as they were.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array};
use lance_file::version::LanceFileVersion;

use crate::support::table::batch;
use crate::support::{Scenario, Shape, Table, ints};

/// More than are computed at once: only the first ones are looked at before a file is begun.
const ROWS: u64 = 100_000;
const AT_ONCE: u64 = 65_536;

/// From 0 to 1, and no two alike.
fn scattered(ids: Range<i64>) -> ArrayRef {
    let value = |id: i64| f64::from((id as u32).wrapping_mul(2_654_435_761)) / f64::from(u32::MAX);
    Arc::new(Float64Array::from_iter_values(ids.map(value)))
}

#[tokio::test(flavor = "multi_thread")]
async fn floats_that_use_their_bits_take_eight_bytes_and_few_different_ones_much_less() {
    for shape in Shape::of_every_version() {
        let rows = |ids: Range<i64>| {
            batch(&[
                ("id", ints(ids.clone().map(Some))),
                ("x", scattered(ids.clone())),
            ])
        };
        let scenario = Scenario::on(Table::of(shape, rows(0..ROWS as i64)).await);
        scenario.add("half", "x / 2", &[]);
        scenario.add("side", "cast(round(x) AS double)", &[]);
        // The first rows do not show what comes after them.
        let late = format!("CASE WHEN id < {AT_ONCE} THEN x ELSE 0.5 END");
        scenario.add("late", &late, &[]);
        let report = scenario.refresh();
        let written = |column: &str| report.column(column).bytes_written;
        // Packed they would be smaller by two bits of 64 each.
        let plain = 8 * ROWS..8 * ROWS + ROWS / 10;
        assert!(plain.contains(&written("half")), "{shape:?}");
        assert!(written("late") < plain.end, "{shape:?}");
        // Older versions have no dictionaries of floats.
        if shape.storage == LanceFileVersion::V2_2 {
            assert!(written("side") < ROWS, "{shape:?}");
        }
        scenario
            .append_batch(rows(ROWS as i64..ROWS as i64 + 3))
            .await;
        scenario.refresh();
        assert!(scenario.compact().await, "{shape:?}");
        for wrong in [
            "half IS NULL OR half <> x / 2".to_owned(),
            "side IS NULL OR side <> round(x)".to_owned(),
            format!(
                "late IS NULL OR (id < {AT_ONCE} AND late <> x) OR (id >= {AT_ONCE} AND late <> 0.5)"
            ),
        ] {
            let ids = scenario.ids_where(&wrong).await;
            assert_eq!(ids, Vec::<i64>::new(), "{shape:?}: {wrong}");
        }
        assert_eq!(scenario.refresh().assigned("half"), 0, "{shape:?}");
    }
}
