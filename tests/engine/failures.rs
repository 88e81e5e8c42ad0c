//! Rows that cannot be computed: they fail alone, are listed exactly, and are bounded by a budget.

use crate::support::{Row, Scenario, Shape, ints};

/// An expression, the kind of its error, and its value or none where it fails.
struct Case {
    sql: &'static str,
    message: &'static str,
    value: fn(&Row) -> Result<Option<i64>, ()>,
}

const CASES: &[Case] = &[
    Case {
        sql: "100 / b",
        message: "zero",
        value: |row| match row.int("b") {
            Some(0) => Err(()),
            b => Ok(b.map(|b| 100 / b)),
        },
    },
    Case {
        sql: "a % b",
        message: "zero",
        value: |row| match (row.int("a"), row.int("b")) {
            (Some(_), Some(0)) => Err(()),
            (a, b) => Ok(a.zip(b).map(|(a, b)| a % b)),
        },
    },
    Case {
        sql: "CAST(CASE WHEN id % 10 = 4 THEN s ELSE CAST(id AS VARCHAR) END AS BIGINT)",
        message: "cast",
        value: |row| match row.id() % 10 {
            4 => Err(()),
            _ => Ok(Some(row.id())),
        },
    },
    Case {
        sql: "CASE WHEN id % 20 = 7 THEN 9223372036854775807 ELSE 1 END * (b + 2)",
        message: "overflow",
        value: |row| match (row.id() % 20, row.int("b")) {
            (7, Some(_)) => Err(()),
            (_, b) => Ok(b.map(|b| b + 2)),
        },
    },
];

#[tokio::test(flavor = "multi_thread")]
async fn failing_rows_fail_alone_and_are_listed_exactly() {
    for case in CASES {
        let scenario = Scenario::standard(Shape::default().fragments_of(90), 300).await;
        scenario.delete("id % 50 = 0").await;
        scenario.add("p", case.sql, &["--max-failed-fraction", "0.5"]);
        let mut failing: Vec<(u64, u32)> = (scenario.rows().await.iter())
            .filter(|row| (case.value)(row).is_err())
            .map(|row| (row.fragment, row.offset))
            .collect();
        failing.sort_unstable();
        let outcome = scenario.run(&["refresh"], &[]).expect_code(0);
        assert!(
            outcome.stderr.contains("failed"),
            "stderr counts them: {outcome:#?}"
        );
        let report = crate::support::Report::read(outcome.json());
        assert_eq!(
            report.column("p").rows_failed,
            failing.len() as u64,
            "{}",
            case.sql
        );
        assert_eq!(
            report.assigned("p"),
            294 - failing.len() as u64,
            "{}",
            case.sql
        );
        scenario
            .check_int("p", |row| (case.value)(row).unwrap_or(None))
            .await;
        let failures = scenario.failures("p");
        let failed: Vec<(u64, u32)> = (failures.iter())
            .map(|failure| (failure.fragment, failure.offset))
            .collect();
        assert_eq!(failed, failing, "{}", case.sql);
        for failure in &failures {
            let text = format!("{} {}", failure.kind, failure.message).to_lowercase();
            assert!(
                text.contains(case.message),
                "'{}' in {failure:?}",
                case.message
            );
        }
        scenario.expect_rest().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_rows_are_computed_again_when_their_inputs_change() {
    let scenario = Scenario::standard(Shape::default().fragments_of(70), 140).await;
    scenario.add("p", "100 / b", &["--max-failed-fraction", "0.5"]);
    assert_eq!(scenario.refresh().column("p").rows_failed, 20);
    scenario
        .replace(0, "b", ints((0..70).map(|_| Some(40))))
        .await;
    let report = scenario.refresh();
    assert_eq!(report.column("p").rows_failed, 10);
    assert_eq!(report.assigned("p"), 70);
    scenario
        .check_int("p", |row| 100_i64.checked_div(row.int("b")?))
        .await;
    scenario.expect_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exceeded_budget_stops_with_a_message_and_keeps_what_is_finished() {
    let budgets: &[&[&str]] = &[
        &["--max-failed-rows", "3", "--max-failed-fraction", "1"],
        &["--max-failed-fraction", "0.05"],
        &[],
        &["--on-error", "fail"],
    ];
    let mut kept = 0;
    for budget in budgets {
        let scenario = Scenario::standard(Shape::default().fragments_of(100), 1_000).await;
        // Good fragments, and one in which each row fails; which batch comes first is not said.
        let sql = "CASE WHEN id >= 800 AND id < 900 THEN 1 / (b - b) ELSE a END";
        scenario.add("p", sql, budget);
        let options = ["--batch-rows", "100", "--workers", "1"];
        let outcome = scenario.run(&["refresh"], &options).expect_code(1);
        assert!(outcome.stderr.contains("budget"), "{outcome:#?}");
        let report = crate::support::Report::read(outcome.json());
        assert!(report.column("p").stopped.is_some(), "{budget:?}");
        let current = report.column("p").rows_current;
        // The failing rows take a batch, and a second one if the first stopped half-way.
        let finished = report.column("p").batches.saturating_sub(2);
        assert!(
            current >= 100 * finished,
            "{budget:?} keeps what is finished: {report:#?}"
        );
        kept += current;
        let done = scenario
            .rows()
            .await
            .iter()
            .filter(|row| row.text("p").is_some())
            .count();
        assert_eq!(done > 0, current > 0, "{budget:?}");
        // With a wider budget the rest is computed, and nothing twice. What had a checkpoint manifest
        // when the first refresh stopped is only published, which does not count as assigned.
        scenario.alter(
            "p",
            &[
                "--max-failed-rows",
                "1000",
                "--max-failed-fraction",
                "1",
                "--on-error",
                "skip",
            ],
        );
        let report = scenario.refresh();
        assert_eq!(report.column("p").rows_failed, 100, "{budget:?}");
        assert!(report.assigned("p") <= 900 - current, "{budget:?}");
        assert_eq!(report.column("p").rows_current, 900, "{budget:?}");
        scenario
            .check_int("p", |row| {
                row.int("a").filter(|_| !(800..900).contains(&row.id()))
            })
            .await;
        scenario.expect_rest().await;
    }
    // That the failing batch came first each time is as good as impossible.
    assert!(kept > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_of_which_all_rows_fail_has_no_values_and_rests() {
    for options in [&[][..], &["--batch-rows", "40"][..]] {
        let scenario = Scenario::standard(Shape::default().fragments_of(100), 200).await;
        scenario.add("p", "CAST(s AS BIGINT)", &["--max-failed-fraction", "1"]);
        let version = scenario.version().await;
        let report = scenario.refresh_with(options);
        assert_eq!(report.column("p").rows_failed, 200);
        assert_eq!(report.assigned("p"), 0);
        assert_eq!(scenario.version().await, version, "no value, no commit");
        assert_eq!(scenario.failures("p").len(), 200);
        scenario.check_int("p", |_| None).await;
        scenario.expect_rest().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_is_not_judged_below_a_hundred_rows() {
    let scenario = Scenario::standard(Shape::default(), 70).await;
    scenario.add("p", "100 / b", &[]);
    assert_eq!(scenario.refresh().column("p").rows_failed, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_row_keeps_the_value_that_it_had() {
    let scenario = Scenario::filled(Shape::default().fragments_of(100), 140).await;
    scenario.alter(
        "p",
        &[
            "--sql",
            "100 / b",
            "--on-change",
            "recompute_all",
            "--max-failed-fraction",
            "0.5",
        ],
    );
    let report = scenario.refresh();
    assert_eq!(report.column("p").rows_failed, 20);
    scenario
        .check_int("p", |row| match row.int("b") {
            Some(0) => crate::fill::product(row),
            b => b.map(|b| 100 / b),
        })
        .await;
    scenario.expect_rest().await;
}
