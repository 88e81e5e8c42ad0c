//! Groups under updates, compactions and kills in the middle of the work.

use std::process::Stdio;
use std::time::Duration;

use super::{PAIR, check, filled};
use crate::fill::product;
use crate::support::program::command;
use crate::support::table::batch;
use crate::support::{Row, Scenario, Shape, ints};

#[tokio::test(flavor = "multi_thread")]
async fn updates_upserts_and_compactions_compute_only_what_changed() {
    for shape in Shape::both() {
        let scenario = filled(shape.fragments_of(100), 350).await;
        scenario.update("s", "'x'", "id < 50").await;
        scenario.expect_computed_nothing();
        scenario.update("a", "a + 1", "id in (20, 120, 121)").await;
        assert_eq!(scenario.refresh().assigned("p,q"), 3);
        // All columns are written back, of which one row has another input.
        let all = scenario.full_batch().await;
        scenario.upsert(all.slice(0, 80)).await;
        scenario.expect_computed_nothing();
        let patched = batch(&[
            ("id", ints([Some(200), Some(201)])),
            ("b", ints([Some(9), Some(9)])),
        ]);
        scenario.patch(patched).await;
        assert_eq!(scenario.refresh().assigned("p,q"), 2);
        scenario.delete("id % 10 = 4").await;
        scenario.compact().await;
        scenario.expect_computed_nothing();
        check(&scenario).await;
        scenario.expect_rest().await;
        // Without the versions in between, values are kept.
        scenario.compact().await;
        scenario.cleanup().await;
        scenario.append(10).await;
        assert_eq!(scenario.refresh().assigned("p,q"), 10);
        check(&scenario).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_column_of_a_group_is_somebodys_own() {
    let scenario = filled(Shape::default().fragments_of(100), 200).await;
    let theirs = ints((0..100).map(|row| (row % 2 == 0).then_some(-row)));
    scenario.replace(0, "q", theirs).await;
    scenario.expect_computed_nothing();
    let q = |row: &Row| match (row.fragment, row.offset) {
        (0, offset) => (offset % 2 == 0).then(|| -i64::from(offset)),
        _ => super::sum(row),
    };
    scenario.check_int("q", q).await;
    scenario.check_int("p", product).await;
    // The rest of the fragment goes on without it.
    scenario.update("b", "b + 1", "id = 150").await;
    assert_eq!(scenario.refresh().assigned("p,q"), 1);
    scenario.expect_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn finished_parts_follow_their_rows_through_a_compaction() {
    for shape in Shape::both() {
        let scenario = Scenario::standard(shape.fragments_of(150), 600).await;
        scenario.add("p,q", PAIR, &[]);
        scenario.run(&["pause"], &[]).expect_code(0);
        let options = ["--batch-rows", "60"];
        scenario.run(&["refresh"], &options).expect_code(1);
        scenario.delete("id % 20 = 7").await;
        scenario.compact().await;
        scenario.run(&["resume"], &[]).expect_code(0);
        let report = scenario.refresh_with(&options);
        assert_eq!(report.column("p,q").rows_current, 570);
        check(&scenario).await;
        scenario.expect_rest().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_refresh_of_a_group_goes_on_where_it_was() {
    for shape in Shape::both() {
        let scenario = Scenario::standard(shape.fragments_of(150), 600).await;
        scenario.add("p,q", PAIR, &[]);
        for after_ms in [5, 30, 60, 90, 120, 160, 200] {
            let options = ["--batch-rows", "40"];
            let mut refresh = command(&scenario.arguments(&["refresh"], &options));
            refresh.stdout(Stdio::null()).stderr(Stdio::null());
            let mut child = refresh.spawn().expect("starts");
            std::thread::sleep(Duration::from_millis(after_ms));
            child.kill().expect("kills");
            child.wait().expect("ends");
            let rows = scenario.rows().await;
            let torn = (rows.iter()).find(|row| row.text("p").is_some() != row.text("q").is_some());
            assert_eq!(torn, None, "a row of which a reader sees one half");
        }
        let report = scenario.refresh_with(&["--batch-rows", "40"]);
        assert_eq!(report.column("p,q").rows_current, 600);
        check(&scenario).await;
        scenario.expect_rest().await;
    }
}
