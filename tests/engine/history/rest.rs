//! Fragments without values that are settled all the same, and histories that nobody can read any more.

use super::settled;
use crate::fill::product;
use crate::support::{Report, Row, Scenario, Shape};

/// Four fragments: NULL results only, failures only, values, and half of it not selected.
const SQL: &str = "CASE WHEN id < 100 THEN NULL WHEN id < 200 THEN 1 / (b - b) ELSE a + 1 END";
const FILTER: &str = "id < 350";

fn expected(row: &Row) -> Option<i64> {
    (row.int("a").map(|a| a + 1)).filter(|_| (200..350).contains(&row.id()))
}

/// Counts of a column whose rows are where they are, as the oracle has them.
async fn expect_counts(scenario: &Scenario, report: &Report) {
    let rows = scenario.rows().await;
    let count = |range: std::ops::Range<i64>| {
        rows.iter().filter(|row| range.contains(&row.id())).count() as u64
    };
    let column = report.column("p");
    assert_eq!(column.rows_failed, count(100..200), "{column:#?}");
    assert_eq!(column.rows_filtered, count(350..400), "{column:#?}");
    assert_eq!(
        column.rows_current,
        count(0..100) + count(200..350),
        "NULL is a result: {column:#?}"
    );
    assert_eq!(scenario.failures("p").len() as u64, count(100..200));
    scenario.check_int("p", expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fragments_of_nulls_and_of_failures_stay_settled_whatever_happens_to_them() {
    for shape in Shape::both() {
        for options in [&[][..], &["--batch-rows", "30"][..]] {
            let scenario = Scenario::standard(shape.fragments_of(100), 400).await;
            let tolerant = ["--where", FILTER, "--max-failed-fraction", "1"];
            scenario.add("p", SQL, &tolerant);
            let report = scenario.refresh_with(options);
            assert_eq!(report.assigned("p"), 250);
            expect_counts(&scenario, &report).await;
            for happening in 0..6 {
                match happening {
                    0 => scenario.index("id").await,
                    1 => scenario.delete("id % 50 = 7").await,
                    2 => scenario.update("s", "'other'", "id % 100 = 33").await,
                    3 => {
                        // A cache: it is worked out again from the records.
                        for path in scenario.state_files().into_keys() {
                            if path.components().any(|part| part.as_os_str() == "snapshot") {
                                std::fs::remove_file(path).expect("removes");
                            }
                        }
                    }
                    4 => assert!(scenario.compact().await),
                    _ => scenario.cleanup().await,
                }
                let report = scenario.refresh_with(options);
                assert_eq!(report.assigned("p"), 0, "{happening}, {shape:?}");
                assert_eq!(report.column("p").batches, 0, "{happening}, {shape:?}");
                expect_counts(&scenario, &report).await;
                scenario.expect_rest().await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_a_compaction_and_a_cleanup_unseen_leave_no_stale_row_counted_current() {
    for shape in Shape::both() {
        let scenario = settled(shape).await;
        scenario.update("b", "b + 1", "id >= 90 AND id < 127").await;
        assert!(scenario.compact().await);
        scenario.cleanup().await;
        let rows = scenario.rows().await;
        let with_value = rows.iter().filter(|row| row.text("p").is_some()).count() as u64;
        let status = scenario.status();
        let column = status.column("p");
        assert_eq!(column.rows_current, 0, "nobody can tell which: {column:#?}");
        assert_eq!(column.rows_unknown, with_value, "{column:#?}");
        // Trusted: they keep their values, and only rows without one are computed.
        let report = scenario.refresh();
        assert_eq!(report.assigned("p"), 400 - with_value);
        let before = |row: &Row| match row.id() {
            90..127 => Some(row.int("a")? * (row.int("b")? - 1)),
            _ => product(row),
        };
        scenario.check_int("p", before).await;
        scenario.expect_rest().await;
        // From here on all is known again.
        scenario.append(40).await;
        scenario.update("b", "b + 1", "id = 301").await;
        assert_eq!(scenario.refresh().assigned("p"), 41);
        let status = scenario.status();
        assert_eq!(status.column("p").rows_unknown, with_value - 1);
        scenario.expect_rest().await;
    }
}
