//! Errors that pass by themselves, limits of the other side, and functions that cannot be called.

use crate::support::{Functions, Report, Row, Scenario, Shape};

fn next(row: &Row) -> Option<i64> {
    Some(row.id() + 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn transient_errors_are_tried_again_and_rate_limits_waited_for() {
    let code = r#"
class Busy(Exception):
    status_code = 503

seen = {}

@udf(max_attempts=3, num_cpus=64)
def flaky(id: int) -> int:
    seen[id] = seen.get(id, 0) + 1
    if id == 40 and seen[id] < 4:
        raise lance_backfill.RateLimited("slow down", retry_after=0.2)
    if id == 20 and seen[id] < 3:
        raise Busy("busy")
    if id == 60:
        note("hopeless")
        raise ConnectionError("gone for good")
    return id + 1
"#;
    let Some(functions) = Functions::new(code) else {
        return;
    };
    let scenario = Scenario::standard(Shape::default(), 100).await;
    functions.add(&scenario, "p", "flaky", &[]);
    let outcome = functions.run(&scenario, &["refresh"], &[]).expect_code(0);
    assert_eq!(Report::read(outcome.json()).assigned("p"), 99);
    let expected = |row: &Row| next(row).filter(|_| row.id() != 60);
    scenario.check_int("p", expected).await;
    let failures = scenario.failures("p");
    assert_eq!(
        (failures.len(), failures[0].kind.as_str()),
        (1, "ConnectionError")
    );
    assert_eq!(functions.calls(), ["hopeless"; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_down_fails_no_row() {
    let code = r#"
@udf(max_attempts=2, num_cpus=64)
def down(id: int) -> int:
    if os.path.exists(FLAG):
        raise ConnectionError("nobody answers")
    return id + 1
"#;
    let Some(functions) = Functions::new("") else {
        return;
    };
    functions.write(&format!("FLAG = {:?}\n{code}", functions.flag()));
    std::fs::write(functions.flag(), "").expect("written");
    let scenario = Scenario::standard(Shape::default(), 20).await;
    functions.add(&scenario, "p", "down", &[]);
    let outcome = functions.run(&scenario, &["refresh"], &[]).expect_code(1);
    let report = Report::read(outcome.json());
    assert_eq!(report.column("p").rows_failed, 0);
    assert!(outcome.stderr.contains("nobody answers"), "{outcome:#?}");
    std::fs::remove_file(functions.flag()).expect("removed");
    let outcome = functions.run(&scenario, &["refresh"], &[]).expect_code(0);
    assert_eq!(Report::read(outcome.json()).column("p").rows_current, 20);
    scenario.check_int("p", next).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_cannot_be_imported_touches_no_row() {
    let code = r#"
if os.path.exists(FLAG):
    import nowhere_to_be_found

@udf
def fine(id: int) -> int:
    return id + 1
"#;
    let Some(functions) = Functions::new("") else {
        return;
    };
    functions.write(&format!("FLAG = {:?}\n{code}", functions.flag()));
    let scenario = Scenario::standard(Shape::default(), 20).await;
    functions.add(&scenario, "p", "fine", &[]);
    std::fs::write(functions.flag(), "").expect("written");
    let before = (scenario.version().await, scenario.state_files());
    let outcome = functions.run(&scenario, &["refresh"], &[]).expect_code(1);
    for words in ["nowhere_to_be_found", "Traceback", "udfs.py"] {
        assert!(outcome.stderr.contains(words), "{outcome:#?}");
    }
    let report = Report::read(outcome.json());
    assert_eq!(report.column("p").rows_remaining, 20);
    assert_eq!((scenario.version().await, scenario.state_files()), before);
    std::fs::remove_file(functions.flag()).expect("removed");
    functions.run(&scenario, &["refresh"], &[]).expect_code(0);
    scenario.check_int("p", next).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_failures_stop_and_what_is_finished_stays() {
    let code = r#"
@udf
def half(id: int) -> int:
    if id % 2:
        raise ValueError("odd")
    return id + 1
"#;
    let Some(functions) = Functions::new(code) else {
        return;
    };
    let scenario = Scenario::standard(Shape::default(), 1_000).await;
    functions.add(&scenario, "p", "half", &[]);
    let outcome = functions.run(&scenario, &["refresh"], &[]).expect_code(1);
    assert!(outcome.stderr.contains("error budget"), "{outcome:#?}");
    let report = Report::read(outcome.json());
    let column = report.column("p");
    assert!(
        column.rows_current > 0 && column.rows_failed > 0,
        "{column:?}"
    );
    assert!(column.rows_remaining > 0, "{column:?}");
}
