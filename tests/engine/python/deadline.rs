//! What is left of a batch whose worker has no more time.

use std::sync::Arc;
use std::time::Duration;

use lance_backfill_core::batch::Lane;
use lance_backfill_core::checkpoint::{CheckpointManifest, FaultKind};
use lance_backfill_embedded::catalog::Catalog;
use lance_backfill_embedded::python::PythonFunctions;
use lance_backfill_embedded::{ArtifactSource, Engine, EngineOptions, Python};
use lance_backfill_lance::OpenOptions;
use lance_backfill_ports::{ErrorKind, Result};
use lance_backfill_service::{End, Until};
use lance_backfill_stages::execute::{Attempted, OpenBatch};
use lance_backfill_stages::plan::{Order, PlanOutcome};
use tokio::time::{Instant, sleep_until};

use crate::support::{Functions, Row, Scenario, Shape};

const ROWS: i64 = 40;
const PATIENCE: Duration = Duration::from_secs(60);

/// A function that stays in one row until there is a file.
fn staying_in(row: i64, functions: &Functions) -> String {
    let flag = functions.flag();
    format!(
        r#"
@udf(batch_size=10)
def slow(id: int) -> int:
    note(id)
    while id == {row} and not os.path.exists({flag:?}):
        time.sleep(0.02)
    return id + 1
"#
    )
}

async fn engine(scenario: &Scenario, functions: &Functions) -> Engine {
    let cache = scenario.cache().to_owned();
    let python = Python {
        interpreter: Some(functions.interpreter().to_owned()),
        environment: std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect(),
        cache: cache.join("python"),
    };
    let options = EngineOptions {
        open: OpenOptions::default(),
        workers: 1,
        most_rows_per_batch: None,
        cache,
        python: Arc::new(PythonFunctions::new(python, 1)),
        artifacts: ArtifactSource::Table,
    };
    Engine::open(&scenario.uri, options).await.expect("opens")
}

/// Does the rows in need as one batch, whose time ends in a row; what of it is recorded.
async fn work_until(
    engine: &Engine,
    functions: &Functions,
    row: i64,
    end: End,
) -> Result<Arc<CheckpointManifest>> {
    let version = engine.latest().await.expect("a version");
    let catalog = Catalog::read(version.view()).expect("a catalog");
    let surveyed = engine.survey(&version, &catalog, &|_| true).await;
    let (column, survey) = surveyed.expect("surveys").pop().expect("a column");
    let mut limits = engine.limits(&column, &survey);
    limits.rows_per_s = 1_000.0;
    let order = Order {
        job: None,
        lane: Lane::Bulk,
        session: None,
        approved: 0,
    };
    let handed_out = engine.hand_out(&column, &survey, &limits, order).await;
    let PlanOutcome::Dispatched(entry) = handed_out.expect("plans") else {
        panic!("rows are in need");
    };
    let (batch, work) = entry.work().pop().expect("a batch");
    let (stop, until) = Until::stopped();
    let open = OpenBatch {
        batch: &batch,
        job: None,
        work: &work,
        at: Some(&version),
        until: &until,
        attempted: Attempted::Perhaps,
    };
    let deadline = Instant::now() + PATIENCE;
    let stopping = async {
        while !functions.calls().contains(&row.to_string()) {
            assert!(Instant::now() < deadline, "row {row} is not called");
            sleep_until(Instant::now() + Duration::from_millis(10)).await;
        }
        stop.now(end);
    };
    let (manifest, ()) = futures::join!(engine.execute(&column, open), stopping);
    manifest
}

fn next(row: &Row) -> Option<i64> {
    Some(row.id() + 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_keeps_what_it_finished_and_the_rest_is_planned_again() {
    let Some(functions) = Functions::new("") else {
        return;
    };
    functions.write(&staying_in(30, &functions));
    let scenario = Scenario::standard(Shape::default(), ROWS).await;
    functions.add(&scenario, "p", "slow", &[]);
    let engine = engine(&scenario, &functions).await;
    let worked = work_until(&engine, &functions, 30, End::Spent).await;
    let manifest = worked.expect("what is finished");
    assert_eq!((manifest.rows_computed(), manifest.rows_failed()), (30, 0));
    assert_eq!(manifest.fault, None);
    std::fs::write(functions.flag(), "").expect("written");
    functions.run(&scenario, &["refresh"], &[]).expect_code(0);
    // Of the call that was given up nothing counts.
    let mut called = functions.calls();
    called.sort_unstable();
    let expected: Vec<String> = (30..ROWS).map(|id| id.to_string()).collect();
    assert_eq!(called, expected);
    assert_eq!(scenario.check_int("p", next).await, 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_longer_than_all_the_time_is_a_fault_and_a_worker_that_must_stop_is_none() {
    let Some(functions) = Functions::new("") else {
        return;
    };
    functions.write(&staying_in(0, &functions));
    let scenario = Scenario::standard(Shape::default(), ROWS).await;
    functions.add(&scenario, "p", "slow", &[]);
    let called_off = engine(&scenario, &functions).await;
    let worked = work_until(&called_off, &functions, 0, End::CalledOff).await;
    let error = worked.expect_err("nothing is recorded");
    assert_eq!(error.kind, ErrorKind::Unavailable);
    // The batch is open: whoever gets it next may have more time.
    let other = Scenario::standard(Shape::default(), ROWS).await;
    functions.add(&other, "p", "slow", &[]);
    let spent = engine(&other, &functions).await;
    let worked = work_until(&spent, &functions, 0, End::Spent).await;
    let manifest = worked.expect("it is recorded that it took too long");
    assert_eq!((manifest.rows_computed(), manifest.rows_failed()), (0, 0));
    let fault = manifest.fault.as_ref().expect("a fault");
    assert_eq!(fault.kind, FaultKind::Function);
    assert!(fault.message.contains("fewer rows a call"), "{fault:?}");
}
