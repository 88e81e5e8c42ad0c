//! Good neighbours: pausing a table for others, and compacting it around our work.

use crate::fill::product;
use crate::support::{Report, Row, Scenario, Shape};

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_published_while_a_table_is_paused() {
    for shape in Shape::both() {
        let scenario = Scenario::filled(shape.fragments_of(100), 250).await;
        scenario.add("t", "b * 2", &[]);
        scenario.refresh();
        scenario.append(100).await;
        let version = scenario.version().await;
        let paused = scenario.run(&["pause"], &[]).expect_code(0).json();
        let for_ms = paused["paused_for_ms"].as_u64().expect("a number");
        assert!((1_700_000..=1_800_000).contains(&for_ms), "{paused:#}");
        // What can be computed is computed, once, and waits.
        for batches in [true, false] {
            let outcome = scenario.run(&["refresh"], &[]).expect_code(1);
            assert!(
                outcome.stderr.contains("paused for another"),
                "{outcome:#?}"
            );
            let report = Report::read(outcome.json());
            assert_eq!(report.column("p").batches > 0, batches, "{report:#?}");
            assert_eq!(report.column("p").rows_remaining, 100);
        }
        let status = scenario.run(&["status"], &[]).expect_code(0).json();
        assert!(status["paused_for_ms"].as_u64().is_some(), "{status:#}");
        // Others who change the schema or compact would disturb the one who paused.
        for (words, options) in [
            (&["column", "add"][..], &["q", "--sql", "a + 1"][..]),
            (&["column", "drop"], &["p", "--drop-values"]),
            (&["optimize"], &[]),
        ] {
            let outcome = scenario.run(words, options);
            outcome.expect_refusal(&[1], "paused");
        }
        assert_eq!(scenario.version().await, version, "nothing was committed");
        let resumed = scenario.run(&["resume"], &[]).expect_code(0).json();
        assert_eq!(resumed["was_paused"], true);
        let report = scenario.refresh();
        assert_eq!(
            report.column("p").batches,
            0,
            "what was computed is published"
        );
        scenario.check_int("p", product).await;
        scenario.expect_rest().await;
        let resumed = scenario.run(&["resume"], &[]).expect_code(0).json();
        assert_eq!(resumed["was_paused"], false);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_ends_by_itself_and_the_last_word_counts() {
    let scenario = Scenario::filled(Shape::default(), 50).await;
    scenario.append(10).await;
    scenario.run(&["pause"], &["--for", "1h"]).expect_code(0);
    scenario.run(&["pause"], &["--for", "1s"]).expect_code(0);
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    let status = scenario.run(&["status"], &[]).expect_code(0).json();
    assert!(status.get("paused_for_ms").is_none(), "{status:#}");
    assert_eq!(scenario.refresh().assigned("p"), 10);
    // With nothing to publish a pause is in nobody's way.
    scenario.run(&["pause"], &[]).expect_code(0);
    scenario.expect_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_that_cannot_be_read_is_one() {
    let scenario = Scenario::filled(Shape::default(), 50).await;
    scenario.append(10).await;
    scenario.run(&["pause"], &[]).expect_code(0);
    let folder = scenario.state_folder().join("pauses");
    let file = std::fs::read_dir(folder).expect("a folder").next();
    let file = file.expect("a file").expect("reads").path();
    for (damage, about) in [
        ("{", "pauses/"),
        (r#"{"version":2,"body":{"kind":"pause"}}"#, "upgrade"),
    ] {
        std::fs::write(&file, damage).expect("writes");
        scenario
            .run(&["refresh"], &[])
            .expect_refusal(&[1, 2], about);
    }
    std::fs::remove_file(&file).expect("removes");
    scenario.refresh();
    scenario.check_int("p", product).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_times_are_refused() {
    let scenario = Scenario::filled(Shape::default(), 10).await;
    for time in ["0s", "8d", "soon", ""] {
        let outcome = scenario.run(&["pause"], &["--for", time]);
        assert_eq!(outcome.code, 2, "{time}: {outcome:#?}");
    }
    assert!(!scenario.state_folder().join("pauses").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn optimizing_recomputes_nothing() {
    for shape in Shape::both() {
        let scenario = Scenario::standard(shape.fragments_of(100), 450).await;
        scenario.add("p", "nullif(a, 50) * b", &["--where", "b <> 4"]);
        scenario.add("q", "10 / b", &["--max-failed-fraction", "1"]);
        scenario.add("r", "p + q", &[]);
        let before = scenario.refresh();
        let version = scenario.version().await;
        let dry = scenario.run(&["optimize"], &["--dry-run"]).expect_code(0);
        assert_eq!(dry.json()["fragments_rewritten"], 5, "{dry:#?}");
        assert_eq!(scenario.version().await, version);
        let document = scenario.run(&["optimize"], &[]).expect_code(0).json();
        assert_eq!(document["fragments_before"], 5, "{document:#}");
        assert_eq!(document["fragments_after"], 1, "{document:#}");
        assert_eq!(document["fragments_in_flight"], 0, "{document:#}");
        // Even a cleanup right after it loses nothing.
        scenario.cleanup().await;
        let after = scenario.expect_rest_of_columns().await;
        for column in &before.columns {
            let now = after.column(&column.column);
            assert_eq!(now.rows_current, column.rows_current, "{now:#?}");
            assert_eq!(now.rows_failed, column.rows_failed, "{now:#?}");
            assert_eq!(now.rows_filtered, column.rows_filtered, "{now:#?}");
            assert_eq!(now.rows_unknown, 0, "{now:#?}");
        }
        let again = scenario.run(&["optimize"], &[]).expect_code(0).json();
        assert_eq!(again["fragments_rewritten"], 0, "{again:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn optimizing_leaves_alone_what_is_in_flight() {
    for shape in Shape::both() {
        let scenario = Scenario::filled(shape.fragments_of(100), 400).await;
        scenario.append(100).await;
        scenario.append(100).await;
        // Computed and not published: the last two fragments.
        scenario.run(&["pause"], &[]).expect_code(0);
        scenario.run(&["refresh"], &[]).expect_code(1);
        scenario.run(&["resume"], &[]).expect_code(0);
        let document = scenario.run(&["optimize"], &[]).expect_code(0).json();
        assert_eq!(document["fragments_in_flight"], 2, "{document:#}");
        assert_eq!(document["fragments_after"], 3, "{document:#}");
        let report = scenario.refresh();
        assert_eq!(report.column("p").batches, 0, "nothing is computed twice");
        let rows = scenario.check_int("p", product).await;
        assert_eq!(rows, 600);
        scenario.expect_rest().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn optimizing_a_table_without_computed_columns_works() {
    let scenario = Scenario::standard(Shape::default().fragments_of(100), 300).await;
    let document = scenario.run(&["optimize"], &[]).expect_code(0).json();
    assert_eq!(document["fragments_after"], 1, "{document:#}");
    let rows = scenario.rows().await;
    assert!(rows.iter().all(|row: &Row| row.fragment == 3), "rewritten");
}
