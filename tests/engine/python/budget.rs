//! What counts against the error budget, and what is left when it stops a job.

use crate::support::{Functions, Report, Row, Scenario, Shape};

const CODE: &str = r#"
@udf
def some(id: int) -> int:
    if 900 <= id < 940:
        raise ValueError("a bad stretch")
    return id + 1

@udf
def none(id: int) -> int:
    raise ValueError("never")
"#;

fn next(row: &Row) -> Option<i64> {
    Some(row.id() + 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_rows_side_by_side_are_judged_among_all_rows_of_the_job() {
    let Some(functions) = Functions::new(CODE) else {
        return;
    };
    let scenario = Scenario::standard(Shape::default().fragments_of(100), 1_000).await;
    functions.add(&scenario, "p", "some", &[]);
    let outcome = functions.run(
        &scenario,
        &["refresh"],
        &["--batch-rows", "100", "--workers", "1"],
    );
    let report = Report::read(outcome.expect_code(0).json());
    assert_eq!(report.assigned("p"), 960);
    let expected = |row: &Row| next(row).filter(|_| !(900..940).contains(&row.id()));
    scenario.check_int("p", expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_found_before_the_budget_stopped_a_job_is_published() {
    let Some(functions) = Functions::new(CODE) else {
        return;
    };
    // One fragment in ten batches: none of its parts is complete when the job stops.
    let scenario = Scenario::standard(Shape::default(), 1_000).await;
    functions.add(&scenario, "p", "none", &[]);
    let outcome = functions.run(
        &scenario,
        &["refresh"],
        &["--batch-rows", "100", "--workers", "1"],
    );
    let report = Report::read(outcome.expect_code(1).json());
    let failed = report.column("p").rows_failed;
    assert!((100..1_000).contains(&failed), "{failed}");
    let failures = scenario.failures("p");
    assert_eq!(failures.len() as u64, failed);
    assert!(failures[0].message.contains("never"), "{failures:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batched_function_of_all_rows_is_stopped_and_stores_nothing() {
    let code = r#"
import pyarrow as pa
import pyarrow.compute as pc

@udf(batch_size=100, data_type="double")
def share(id: pa.Array) -> pa.Array:
    return pa.array([pc.mean(id).as_py()])
"#;
    let Some(functions) = Functions::new(code) else {
        return;
    };
    let scenario = Scenario::standard(Shape::default(), 1_000).await;
    functions.add(&scenario, "p", "share", &[]);
    let outcome = functions.run(&scenario, &["refresh"], &[]).expect_code(1);
    assert!(
        outcome.stderr.contains("one value for each row"),
        "{outcome:#?}"
    );
    let column = Report::read(outcome.json());
    let column = column.column("p");
    assert_eq!((column.rows_current, column.rows_failed), (0, 0));
}
