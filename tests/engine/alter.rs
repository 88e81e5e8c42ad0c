//! Changing, pausing, dropping and taking over columns.

use crate::fill::product;
use crate::support::table::batch;
use crate::support::{Row, Scenario, Shape, Table, ints};

mod inputs;

fn sum(row: &Row) -> Option<i64> {
    Some(row.int("a")? + row.int("b")?)
}

#[tokio::test(flavor = "multi_thread")]
async fn only_new_keeps_old_values_and_computes_new_rows_anew() {
    let scenario = Scenario::filled(Shape::default().fragments_of(150), 400).await;
    let told = scenario.alter("p", &["--sql", "a + b"]);
    assert_eq!(told["rows_stale_if_recompute_all"], 400);
    assert_eq!(told["rows_stale_if_only_new"], 0);
    assert_eq!(scenario.refresh().assigned("p"), 0);
    scenario.check_int("p", product).await;
    scenario.append(50).await;
    assert_eq!(scenario.refresh().assigned("p"), 50);
    let expected = |row: &Row| {
        if row.id() < 400 {
            product(row)
        } else {
            sum(row)
        }
    };
    scenario.check_int("p", expected).await;
    let report = scenario.expect_rest().await;
    assert_eq!(report.column("p").rows_current, 450);
    let generations = scenario.status().column("p").generations.clone();
    let mut rows: Vec<u64> = generations.into_values().collect();
    rows.sort_unstable();
    assert_eq!(rows, [50, 400]);
    // Decided later: what the present expression made stays.
    let told = scenario.alter("p", &["--on-change", "recompute_all"]);
    assert_eq!(told["rows_stale_if_recompute_all"], 400);
    assert_eq!(scenario.refresh().assigned("p"), 400);
    scenario.check_int("p", sum).await;
    scenario.expect_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recompute_all_computes_each_row_and_there_and_back_again() {
    for shape in Shape::both() {
        let scenario = Scenario::filled(shape.fragments_of(150), 400).await;
        scenario.alter("p", &["--sql", "a + b", "--on-change", "recompute_all"]);
        let status = scenario.status();
        assert_eq!(status.column("p").rows_current, 0, "none counts as current");
        assert_eq!(status.column("p").rows_remaining, 400);
        assert_eq!(scenario.refresh().assigned("p"), 400);
        scenario.check_int("p", sum).await;
        scenario.expect_rest().await;
        scenario.alter("p", &["--sql", "a * b", "--on-change", "recompute_all"]);
        assert_eq!(scenario.refresh().assigned("p"), 400);
        scenario.check_int("p", product).await;
        scenario.expect_rest().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn there_and_back_with_only_new_recomputes_nothing_and_recompute_all_only_the_others() {
    let scenario = Scenario::filled(Shape::default().fragments_of(150), 400).await;
    scenario.alter("p", &["--sql", "a + b"]);
    scenario.append(60).await;
    assert_eq!(scenario.refresh().assigned("p"), 60);
    scenario.alter("p", &["--sql", "a * b"]);
    assert_eq!(scenario.refresh().assigned("p"), 0);
    let mixed = |row: &Row| {
        if row.id() < 400 {
            product(row)
        } else {
            sum(row)
        }
    };
    scenario.check_int("p", mixed).await;
    scenario.alter("p", &["--sql", "a + b"]);
    scenario.alter("p", &["--sql", "a * b", "--on-change", "recompute_all"]);
    let status = scenario.status();
    assert_eq!(status.column("p").rows_current, 400);
    assert_eq!(
        scenario.refresh().assigned("p"),
        60,
        "the others are of this generation"
    );
    scenario.check_int("p", product).await;
    scenario.expect_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alter_during_unfinished_parts_leaves_nothing_of_the_old_expression() {
    let scenario = Scenario::standard(Shape::default().fragments_of(300), 600).await;
    // The budget stops the refresh half-way, with finished parts and open batches behind it.
    let sql = "CASE WHEN id = 250 THEN 1 / (b - b) ELSE a END";
    scenario.add("p", sql, &["--on-error", "fail"]);
    let options = ["--batch-rows", "40", "--workers", "1"];
    scenario.run(&["refresh"], &options).expect_code(1);
    scenario.alter(
        "p",
        &[
            "--sql",
            "a * b",
            "--on-change",
            "recompute_all",
            "--on-error",
            "skip",
        ],
    );
    let report = scenario.refresh_with(&["--batch-rows", "40"]);
    assert_eq!(report.assigned("p"), 600);
    scenario.check_int("p", product).await;
    scenario.expect_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_and_texts_of_the_same_meaning_recompute_nothing() {
    let scenario = Scenario::filled(Shape::default().fragments_of(150), 400).await;
    let edits: &[&[&str]] = &[
        &["--max-failed-rows", "5"],
        &["--max-failed-fraction", "0.9"],
        &["--on-error", "fail"],
        &["--sql", "\"a\"  *  B", "--on-change", "recompute_all"],
    ];
    for edit in edits {
        scenario.alter("p", edit);
        assert_eq!(scenario.refresh().assigned("p"), 0, "{edit:?}");
        scenario.expect_rest().await;
    }
    scenario.check_int("p", product).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_column_is_left_alone_until_it_is_resumed() {
    let scenario = Scenario::filled(Shape::default(), 100).await;
    scenario.run(&["column", "pause"], &["p"]).expect_code(0);
    scenario.append(30).await;
    let outcome = scenario.run(&["refresh"], &[]).expect_code(0);
    assert!(outcome.stderr.contains("paused"), "{outcome:#?}");
    let status = scenario.status();
    assert_eq!(status.column("p").state, "paused");
    assert_eq!(status.column("p").rows_remaining, 30);
    assert_eq!(status.column("p").rows_current, 100);
    scenario.run(&["column", "resume"], &["p"]).expect_code(0);
    assert_eq!(scenario.refresh().assigned("p"), 30);
    scenario.check_int("p", product).await;
    scenario.expect_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_column_keeps_its_values_and_can_be_adopted_again() {
    let scenario = Scenario::filled(Shape::default().fragments_of(60), 100).await;
    scenario.run(&["column", "drop"], &["p"]).expect_code(0);
    assert!(scenario.status().columns.is_empty());
    scenario.append(20).await;
    assert!(scenario.refresh().columns.is_empty());
    let kept = |row: &Row| product(row).filter(|_| row.id() < 100);
    scenario.check_int("p", kept).await;
    scenario
        .try_add("p", "a + b", &[])
        .expect_refusal(&[2], "--adopt");
    scenario.add("p", "a + b", &["--adopt"]);
    scenario.refresh();
    let expected = |row: &Row| kept(row).or_else(|| sum(row));
    scenario.check_int("p", expected).await;
    scenario.expect_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_dropped_with_its_values_starts_anew_under_the_same_name() {
    let scenario = Scenario::filled(Shape::default().fragments_of(60), 100).await;
    scenario
        .run(&["column", "drop"], &["p", "--drop-values"])
        .expect_code(0);
    assert!(
        scenario
            .rows()
            .await
            .iter()
            .all(|row| row.text("p").is_none())
    );
    scenario.add("p", "a + b", &[]);
    assert_eq!(scenario.refresh().assigned("p"), 100);
    scenario.check_int("p", sum).await;
    scenario.expect_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_column_of_an_old_name_is_never_written_to() {
    let scenario = Scenario::filled(Shape::default().fragments_of(60), 100).await;
    scenario.drop_column("p").await;
    assert_eq!(scenario.status().column("p").state, "detached");
    scenario.run(&["refresh"], &[]).expect_code(0);
    let rows: Vec<i64> = scenario.rows().await.iter().map(Row::id).collect();
    let mut dataset = scenario.open().await;
    dataset
        .add_columns(
            lance::dataset::NewColumnTransform::SqlExpressions(vec![(
                "p".to_owned(),
                "CAST(NULL AS BIGINT)".to_owned(),
            )]),
            None,
            None,
        )
        .await
        .expect("a user's column");
    scenario.append(10).await;
    let outcome = scenario.run(&["refresh"], &[]).expect_code(0);
    assert!(outcome.stderr.contains("left out"), "{outcome:#?}");
    assert_eq!(scenario.check_int("p", |_| None).await, rows.len() + 10);
    assert_eq!(scenario.status().column("p").state, "detached");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adopted_column_keeps_its_values_and_gets_the_missing_ones() {
    for shape in Shape::both() {
        let rows = batch(&[
            ("id", ints((0..200).map(Some))),
            ("a", ints((0..200).map(|id| (id % 5 != 0).then_some(id)))),
            ("b", ints((0..200).map(|_| Some(2)))),
            ("p", ints((0..200).map(|id| (id % 2 == 0).then_some(-id)))),
        ]);
        let scenario = Scenario::on(Table::of(shape.fragments_of(70), rows).await);
        scenario
            .try_add("p", "a * b", &[])
            .expect_refusal(&[2], "--adopt");
        scenario.add("p", "a * b", &["--adopt"]);
        let report = scenario.refresh();
        assert_eq!(report.assigned("p"), 100);
        assert_eq!(
            report.column("p").rows_current,
            200,
            "supplied values are current"
        );
        let expected = |row: &Row| match row.id() % 2 {
            0 => Some(-row.id()),
            _ => product(row),
        };
        scenario.check_int("p", expected).await;
        scenario.expect_rest().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_input_renamed_before_anything_was_computed_is_named_again() {
    let scenario = Scenario::standard(Shape::default(), 20).await;
    scenario.add("p", "a * b", &[]);
    scenario.rename_column("b", "c").await;
    scenario
        .run(&["refresh"], &[])
        .expect_refusal(&[1, 2], "column alter --sql");
    scenario.alter("p", &["--sql", "a * c", "--on-change", "recompute_all"]);
    assert_eq!(scenario.refresh().assigned("p"), 20);
    scenario
        .check_int("p", |row| Some(row.int("a")? * row.int("c")?))
        .await;
    scenario.expect_rest().await;
}
