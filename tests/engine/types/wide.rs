//! Rows so wide that they are read in pieces.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::{ArrayRef, FixedSizeListArray, Float32Array, LargeBinaryArray};
use arrow_schema::{DataType, Field};

use crate::support::table::batch;
use crate::support::{Scenario, Shape, Table, ints};

/// Above what is read at once, if all are taken together.
const ROWS: i64 = 130;
const BYTES: i64 = 300_000;
const NULLS: i64 = 30;
/// Floats of one vector.
const WIDTH: i32 = 75_000;

/// The first ones are NULL: they do not show how wide the others are.
fn bodies(ids: Range<i64>) -> ArrayRef {
    let body = |id: i64| vec![id as u8; usize::try_from(BYTES + id).expect("bytes")];
    let bodies: LargeBinaryArray = ids.map(|id| (id >= NULLS).then(|| body(id))).collect();
    Arc::new(bodies)
}

/// Vectors that begin with the id.
fn vectors(ids: Range<i64>) -> ArrayRef {
    let floats = ids.flat_map(|id| {
        (0..WIDTH).map(move |place| if place == 0 { id as f32 } else { place as f32 })
    });
    let floats = Float32Array::from_iter_values(floats);
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    Arc::new(FixedSizeListArray::try_new(item, WIDTH, Arc::new(floats), None).expect("vectors"))
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_hundreds_of_kilobytes_get_their_own_values() {
    for shape in Shape::of_every_version() {
        let rows = |ids: Range<i64>| {
            batch(&[
                ("id", ints(ids.clone().map(Some))),
                ("body", bodies(ids.clone())),
                ("vector", vectors(ids)),
            ])
        };
        let scenario = Scenario::on(Table::of(shape, rows(0..ROWS)).await);
        scenario.delete("id = 4 OR id = 99").await;
        scenario.add("size", "octet_length(body)", &["--where", "id % 3 <> 1"]);
        scenario.add("first", "cast(vector[1] AS bigint)", &[]);
        scenario.add(
            "both",
            "octet_length(body) + cast(vector[1] AS bigint)",
            &[],
        );
        let report = scenario.refresh();
        let filtered = (0..ROWS).filter(|id| id % 3 == 1).count() - 1;
        let live = u64::try_from(ROWS - 2).expect("rows");
        assert_eq!(report.assigned("size"), live - filtered as u64, "{shape:?}");
        assert_eq!(report.assigned("first"), live, "{shape:?}");
        assert_eq!(report.assigned("both"), live, "{shape:?}");
        for wrong in [
            format!("id % 3 <> 1 AND id >= {NULLS} AND (size IS NULL OR size <> {BYTES} + id)"),
            format!("(id % 3 = 1 OR id < {NULLS}) AND size IS NOT NULL"),
            "first IS NULL OR first <> id".to_owned(),
            format!("id >= {NULLS} AND (both IS NULL OR both <> {BYTES} + 2 * id)"),
        ] {
            let ids = scenario.ids_where(&wrong).await;
            assert_eq!(ids, Vec::<i64>::new(), "{shape:?}: {wrong}");
        }
        scenario.expect_rest().await;
    }
}
