//! Indices, renames, drops, casts, restore, overwrite and clones.

use super::{expect_computed, settled};
use crate::support::table::{batch, standard};
use crate::support::{Row, Shape, ints};

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
