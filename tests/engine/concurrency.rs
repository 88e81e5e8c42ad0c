//! Other writers, and other processes of ours, while a refresh runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::fill::product;
use crate::support::program::run;
use crate::support::watch::{CheckpointLog, rows_called};
use crate::support::{Outcome, Report, Row, Scenario, Shape, ints, texts};

/// Starts a command in a thread of its own.
async fn apart(scenario: &Arc<Scenario>, options: &'static [&'static str]) -> Outcome {
    let scenario = scenario.clone();
    let call = move || run(&scenario.arguments(&["refresh"], options));
    tokio::task::spawn_blocking(call).await.expect("runs")
}

#[tokio::test(flavor = "multi_thread")]
async fn two_refreshes_at_once_share_the_rows() {
    for shape in Shape::both() {
        for options in [
            &["--batch-rows", "100"][..],
            &["--batch-rows", "30"][..],
            &[][..],
        ] {
            let scenario = Scenario::standard(shape.fragments_of(300), 3_000).await;
            scenario.add("p", "a * b", &[]);
            let scenario = Arc::new(scenario);
            let (one, two) = tokio::join!(apart(&scenario, options), apart(&scenario, options));
            let assigned: u64 = [one, two]
                .map(|outcome| Report::read(outcome.expect_code(0).json()).assigned("p"))
                .iter()
                .sum();
            assert_eq!(assigned, 3_000, "each row is computed once: {options:?}");
            scenario.check_int("p", product).await;
            scenario.expect_rest().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_refreshes_at_once_share_a_chain_of_columns() {
    let scenario = Scenario::standard(Shape::default().fragments_of(200), 1_000).await;
    scenario.add("p", "a * b", &[]);
    scenario.add("q", "p + 1", &[]);
    let scenario = Arc::new(scenario);
    let options = &["--batch-rows", "60"];
    let outcomes = tokio::join!(
        apart(&scenario, options),
        apart(&scenario, options),
        apart(&scenario, options)
    );
    let reports = [outcomes.0, outcomes.1, outcomes.2].map(|outcome| Report::read(outcome.json()));
    for column in ["p", "q"] {
        let assigned: u64 = reports.iter().map(|report| report.assigned(column)).sum();
        assert!(
            assigned <= 1_000,
            "no row of '{column}' is computed twice: {assigned}"
        );
    }
    scenario.refresh();
    scenario.check_int("p", product).await;
    scenario.check_int("q", |row| Some(product(row)? + 1)).await;
    scenario.expect_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_loops_beside_a_writer_compute_each_row_once() {
    for shape in Shape::both() {
        let scenario = Scenario::standard(shape.fragments_of(100), 300).await;
        scenario.add("p", "a * b", &[]);
        let scenario = Arc::new(scenario);
        let log = CheckpointLog::start(&scenario);
        let written = Arc::new(AtomicBool::new(false));
        let planners: Vec<_> = [&["--batch-rows", "40"][..], &["--batch-rows", "1000"][..]]
            .into_iter()
            .map(|options| {
                let (scenario, written) = (scenario.clone(), written.clone());
                tokio::spawn(async move {
                    let mut assigned = 0;
                    loop {
                        let last = written.load(Ordering::Acquire);
                        let outcome = apart(&scenario, options).await;
                        // Rows that came in meanwhile are left to the next refresh.
                        assert!([0, 1].contains(&outcome.code), "{outcome:#?}");
                        assigned += Report::read(outcome.json()).assigned("p");
                        if last {
                            return assigned;
                        }
                    }
                })
            })
            .collect();
        for _ in 0..10 {
            scenario.append(60).await;
        }
        written.store(true, Ordering::Release);
        let mut assigned = 0;
        for planner in planners {
            assigned += planner.await.expect("no refresh fails");
        }
        let rest = scenario.refresh();
        assert_eq!(assigned + rest.assigned("p"), 900, "{shape:?}");
        assert!(rows_called(&log.finish()) <= 900, "calls, {shape:?}");
        assert_eq!(scenario.check_int("p", product).await, 900);
        scenario.expect_rest().await;
    }
}

/// Refreshes in two processes for as long as `write` writes; then once more, and all is right.
async fn refresh_during<F: Future<Output = ()>>(
    shape: Shape,
    write: impl FnOnce(Arc<Scenario>) -> F,
) -> Arc<Scenario> {
    let scenario = Scenario::standard(shape.fragments_of(200), 800).await;
    scenario.add("p", "a * b", &[]);
    let scenario = Arc::new(scenario);
    let written = Arc::new(AtomicBool::new(false));
    let refreshers: Vec<_> = [&["--batch-rows", "50"][..], &[][..]]
        .into_iter()
        .map(|options| {
            let (scenario, written) = (scenario.clone(), written.clone());
            tokio::spawn(async move {
                let mut runs = 0;
                while !written.load(Ordering::Relaxed) || runs == 0 {
                    let outcome = apart(&scenario, options).await;
                    // Rows that came in meanwhile are left to the next refresh, which says so.
                    assert!([0, 1].contains(&outcome.code), "{outcome:#?}");
                    Report::read(outcome.json());
                    runs += 1;
                }
            })
        })
        .collect();
    write(scenario.clone()).await;
    written.store(true, Ordering::Relaxed);
    for refresher in refreshers {
        refresher.await.expect("no refresh fails");
    }
    scenario.refresh();
    let rows = scenario.check_int("p", product).await as u64;
    let report = scenario.expect_rest().await;
    assert_eq!(report.column("p").rows_current, rows);
    scenario
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_while_refreshes_run_are_all_computed() {
    for shape in Shape::both() {
        refresh_during(shape, |scenario| async move {
            for _ in 0..15 {
                scenario.append(40).await;
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deletes_while_refreshes_run_stay_deleted() {
    for shape in Shape::both() {
        let scenario = refresh_during(shape, |scenario| async move {
            for rest in 0..12 {
                scenario.delete(&format!("id % 40 = {rest}")).await;
            }
        })
        .await;
        assert!(scenario.rows().await.iter().all(|row| row.id() % 40 >= 12));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_columns_replaced_while_refreshes_run_cost_nothing() {
    let scenario = refresh_during(Shape::default(), |scenario| async move {
        for turn in 0..12 {
            let fragment = turn % 4;
            let values = (0..200).map(|_| Some(format!("turn {turn}")));
            scenario.replace(fragment, "s", texts(values)).await;
        }
    })
    .await;
    let last = |row: &Row| Some(format!("turn {}", 8 + row.fragment));
    scenario.check("s", last).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn inputs_replaced_while_refreshes_run_never_leave_a_stale_value() {
    for shape in Shape::both() {
        refresh_during(shape, |scenario| async move {
            for turn in 0..16 {
                let values = (0..200).map(|place| Some(turn * 1_000 + place));
                let fragment = u64::try_from(turn % 4).expect("small");
                scenario.replace(fragment, "b", ints(values)).await;
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn index_builds_while_refreshes_run_disturb_nothing() {
    refresh_during(Shape::stable(), |scenario| async move {
        for column in ["id", "b", "a"] {
            scenario.index(column).await;
            scenario.append(20).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_declared_at_once_are_all_declared() {
    let scenario = Arc::new(Scenario::standard(Shape::default(), 100).await);
    let declare = |column: &'static str, sql: &'static str| {
        let scenario = scenario.clone();
        tokio::task::spawn_blocking(move || scenario.try_add(column, sql, &[]))
    };
    let (p, q, r) = tokio::join!(
        declare("p", "a * b"),
        declare("q", "a + b"),
        declare("r", "b")
    );
    for outcome in [p, q, r] {
        outcome.expect("runs").expect_code(0);
    }
    let report = scenario.refresh();
    assert_eq!(report.columns.len(), 3);
    scenario.check_int("p", product).await;
    scenario.check_int("r", |row| row.int("b")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_declarations_of_one_column_at_most_one_stands() {
    let scenario = Arc::new(Scenario::standard(Shape::default(), 100).await);
    let declare = |sql: &'static str| {
        let scenario = scenario.clone();
        tokio::task::spawn_blocking(move || scenario.try_add("p", sql, &[]))
    };
    let (one, two) = tokio::join!(declare("a * b"), declare("a * b + 0"));
    let outcomes = [one.expect("runs"), two.expect("runs")];
    let stood = outcomes.iter().filter(|outcome| outcome.code == 0).count();
    assert!(stood >= 1, "{outcomes:#?}");
    let report = scenario.refresh();
    assert_eq!(report.columns.len(), 1, "{outcomes:#?}");
    scenario.check_int("p", product).await;
    scenario.expect_rest().await;
}
