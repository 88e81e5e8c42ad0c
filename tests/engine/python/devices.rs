//! Functions on devices, which are made up here: what hosts share, and what they answer for them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use futures::future::join_all;
use lance_backfill_core::calls::End;
use lance_backfill_embedded::catalog::Catalog;
use lance_backfill_embedded::python::PythonFunctions;
use lance_backfill_embedded::{ArtifactSource, Engine, EngineOptions, Python};
use lance_backfill_lance::OpenOptions;
use lance_backfill_ports::compute::{Answer, Call, Compute};

use crate::support::in_process::{InProcess, Setup};
use crate::support::program::finish;
use crate::support::{Functions, Outcome, Report, Row, Scenario, Shape};

fn next(row: &Row) -> Option<i64> {
    Some(row.id() + 1)
}

/// Runs a command that may use so many devices.
fn run(
    functions: &Functions,
    scenario: &Scenario,
    gpus: &str,
    words: &[&str],
    options: &[&str],
) -> Outcome {
    let mut command = functions.command(scenario, words, options);
    command.env("LANCE_BACKFILL_GPUS", gpus);
    finish(command)
}

/// Declares a column with a function that asks for a device.
fn add(functions: &Functions, scenario: &Scenario, column: &str, function: &str) {
    let (entrypoint, from) = (format!("udfs:{function}"), functions.path());
    let options = [column, "--udf", &entrypoint, "--from", &from];
    run(functions, scenario, "8", &["column", "add"], &options).expect_code(0);
    functions.take_log();
}

/// A process that may use so many devices.
fn process(functions: &Functions, scenario: &Scenario, gpus: &str) -> EngineOptions {
    let cache = scenario.cache().to_owned();
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .chain([("LANCE_BACKFILL_GPUS".to_owned(), gpus.to_owned())])
        .collect();
    let python = Python {
        interpreter: Some(functions.interpreter().to_owned()),
        environment,
        cache: cache.join("python"),
    };
    EngineOptions {
        open: OpenOptions::default(),
        workers: 1,
        most_rows_per_batch: None,
        cache,
        // One core: what needs a device does not wait for it.
        python: Arc::new(PythonFunctions::new(python, 1)),
        artifacts: ArtifactSource::Table,
    }
}

/// The functions of all columns of a table, which is opened for them.
async fn opened(process: &EngineOptions, scenario: &Scenario) -> Vec<Arc<dyn Compute>> {
    let engine = Engine::open(&scenario.uri, process.clone()).await;
    let engine = engine.expect("opens");
    let version = engine.latest().await.expect("a version");
    let catalog = Catalog::read(version.view()).expect("a catalog");
    let surveyed = engine.survey(&version, &catalog, &|_| true).await;
    let mut columns: Vec<_> = surveyed
        .expect("surveys")
        .into_iter()
        .map(|(column, _)| (column.name().to_owned(), column.function))
        .collect();
    columns.sort_by(|(one, _), (other, _)| one.cmp(other));
    columns.into_iter().map(|(_, function)| function).collect()
}

async fn call(function: &Arc<dyn Compute>, rows: i64) -> Answer {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
    let call = Call {
        rows: RecordBatch::try_from_iter([("id", ids)]).expect("rows"),
        wait: Duration::ZERO,
        most_wait: None,
        batch: "b",
    };
    let answer = function.call(call).await.expect("no fault");
    assert_eq!(answer.end, End::Complete);
    answer
}

/// Lines of the log that begin like this, without that.
fn noted<'a>(log: &'a [String], what: &str) -> Vec<&'a str> {
    let lines = log.iter().filter_map(|line| line.strip_prefix(what));
    lines.map(str::trim).collect()
}

const SHARED: &str = r#"
def at_work(name, id):
    note("begin", name, os.environ["CUDA_VISIBLE_DEVICES"], os.environ.get("LANCE_BACKFILL_DEVICE_SHARE"))
    time.sleep(0.1)
    note("end", name)
    return pc.add(id, 1)
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_loaded_once_a_device_and_again_only_after_another_needed_it() {
    let code = r#"
@udf(data_type=pa.int64(), num_gpus=1)
def first(id: pa.Array) -> pa.Array: return at_work("first", id)

@udf(data_type=pa.int64(), num_gpus=1)
def other(id: pa.Array) -> pa.Array: return at_work("other", id)
"#;
    let Some(functions) = Functions::new(&[SHARED, code].concat()) else {
        return;
    };
    let scenario = Scenario::standard(Shape::default(), 10).await;
    add(&functions, &scenario, "p", "first");
    add(&functions, &scenario, "q", "other");

    let alone = process(&functions, &scenario, "1");
    let one = opened(&alone, &scenario).await;
    join_all((0..12).map(|_| call(&one[0], 3))).await;
    let log = functions.take_log();
    assert_eq!(noted(&log, "start").len(), 1, "{log:?}");
    assert_eq!(noted(&log, "begin"), ["first 0 None"; 12]);
    // Each call has the device to itself.
    let at_work: Vec<_> = log
        .iter()
        .filter(|line| !line.starts_with("start"))
        .collect();
    assert!(at_work.chunks(2).all(|pair| pair[1].starts_with("end")));

    // The model outlives the table that it was loaded for.
    drop(one);
    let one = opened(&alone, &scenario).await;
    call(&one[0], 3).await;
    let log = functions.take_log();
    assert_eq!(noted(&log, "start").len(), 0, "{log:?}");

    // The other one needs the device, and gets it once the first has nothing to do any more.
    for _ in 0..5 {
        call(&one[1], 3).await;
    }
    call(&one[0], 3).await;
    let log = functions.take_log();
    assert_eq!(noted(&log, "start").len(), 2, "{log:?}");

    // With two devices both stay, each on its own.
    let two = opened(&process(&functions, &scenario, "2"), &scenario).await;
    for _ in 0..4 {
        join_all([call(&two[0], 3), call(&two[1], 3)]).await;
    }
    let log = functions.take_log();
    assert_eq!(noted(&log, "start").len(), 2, "{log:?}");
    let used: BTreeSet<_> = noted(&log, "begin").into_iter().collect();
    assert_eq!(used.len(), 2, "{used:?}");
    let devices: BTreeSet<_> = used
        .iter()
        .filter_map(|line| line.split(' ').nth(1))
        .collect();
    assert_eq!(devices, BTreeSet::from(["0", "1"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_halves_work_side_by_side_on_one_device_and_a_third_waits() {
    let code = r#"
@udf(data_type=pa.int64(), num_gpus=0.5)
def a(id: pa.Array) -> pa.Array: return at_work("a", id)

@udf(data_type=pa.int64(), num_gpus=0.5)
def b(id: pa.Array) -> pa.Array:
    time.sleep(0.5)
    return at_work("b", id)

@udf(data_type=pa.int64(), num_gpus=0.5)
def c(id: pa.Array) -> pa.Array: return at_work("c", id)
"#;
    let Some(functions) = Functions::new(&[SHARED, code].concat()) else {
        return;
    };
    let scenario = Scenario::standard(Shape::default(), 10).await;
    for (column, function) in [("p", "a"), ("q", "b"), ("r", "c")] {
        add(&functions, &scenario, column, function);
    }
    let all = opened(&process(&functions, &scenario, "1"), &scenario).await;
    let several = |function| async move {
        for _ in 0..6 {
            call(function, 3).await;
        }
    };
    join_all(all.iter().map(several)).await;
    let log = functions.take_log();
    assert_eq!(noted(&log, "start").len(), 3, "{log:?}");
    let begun = noted(&log, "begin");
    assert_eq!(begun.len(), 18);
    assert!(begun.iter().all(|line| line.ends_with("0 0.5")), "{log:?}");
    // Two live at once, whoever they are: the third starts when one of them is gone.
    let starts: Vec<usize> = (0..log.len())
        .filter(|at| log[*at].starts_with("start"))
        .collect();
    let before: BTreeSet<_> = noted(&log[..starts[2]], "end").into_iter().collect();
    let after: BTreeSet<_> = noted(&log[starts[2]..], "end").into_iter().collect();
    assert_eq!(before.len(), 2, "{log:?}");
    assert!(after.len() <= 2, "{log:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_loads_a_model_once_for_a_hundred_batches_of_several_jobs_and_tables() {
    let code = r#"
@udf(data_type=pa.int64(), num_gpus=1)
def embed(id: pa.Array) -> pa.Array:
    note("rows", len(id))
    return pc.add(id, 1)
"#;
    let Some(functions) = Functions::new(code) else {
        return;
    };
    let mut environment: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    environment.insert("LANCE_BACKFILL_GPUS".to_owned(), "1".to_owned());
    let service = InProcess::with(Setup {
        batch_rows: 10,
        python: Some(functions.interpreter().to_owned()),
        environment,
        class: Some("a10g"),
        ..Setup::default()
    })
    .await;
    let scenario = Scenario::standard(Shape::default(), 1_000).await;
    add(&functions, &scenario, "p", "embed");
    let other = Scenario::standard(Shape::default(), 50).await;
    add(&functions, &other, "q", "embed");

    service.converge(&scenario.uri).await;
    scenario.append(50).await;
    service.converge(&scenario.uri).await;
    service.converge(&other.uri).await;
    scenario.check_int("p", next).await;
    other.check_int("q", next).await;
    let log = functions.take_log();
    let rows: Vec<usize> = (noted(&log, "rows").iter())
        .map(|rows| rows.parse().expect("rows"))
        .collect();
    assert_eq!(rows.iter().sum::<usize>(), 1_100);
    assert!(rows.len() >= 100, "{} calls", rows.len());
    assert_eq!(noted(&log, "start").len(), 1);
}

const FULL: &str = r#"
import types
torch = types.ModuleType("torch")
torch.cuda = types.SimpleNamespace(empty_cache=lambda: note("emptied"))
sys.modules["torch"] = torch

class OutOfMemoryError(RuntimeError): pass
OutOfMemoryError.__module__ = "torch"

def computed(id, room):
    note("rows", len(id))
    if len(id) > room or 77 in id.to_pylist():
        raise OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
    return pc.add(id, 1)

@udf(data_type=pa.int64(), num_gpus=1, batch_size=64)
def embed(id: pa.Array) -> pa.Array: return computed(id, 20)

@udf(data_type=pa.int64(), num_gpus=1, batch_bytes=90)
def by_bytes(id: pa.Array) -> pa.Array: return computed(id, 1_000)
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_full_device_halves_the_call_in_place_and_the_next_process_knows_the_size() {
    let Some(functions) = Functions::new(FULL) else {
        return;
    };
    let sizes = |functions: &Functions| {
        let log = functions.take_log();
        let starts = noted(&log, "start").len();
        let rows = noted(&log, "rows").into_iter();
        let rows: Vec<usize> = rows.map(|rows| rows.parse().expect("rows")).collect();
        (starts, rows)
    };
    let scenario = Scenario::standard(Shape::default(), 70).await;
    add(&functions, &scenario, "p", "embed");
    run(&functions, &scenario, "1", &["refresh"], &[]).expect_code(0);
    scenario.check_int("p", next).await;
    let (starts, rows) = sizes(&functions);
    assert_eq!(starts, 1, "it is the same host");
    assert_eq!(rows[..3], [64, 32, 16], "{rows:?}");
    assert!(rows[3..].iter().all(|rows| *rows <= 16), "{rows:?}");

    // Another process, and a row that never fits: it fails alone.
    scenario.append(30).await;
    run(&functions, &scenario, "1", &["refresh"], &[]).expect_code(0);
    let fits = |row: &Row| next(row).filter(|_| row.id() != 77);
    scenario.check_int("p", fits).await;
    let failures = scenario.failures("p");
    assert_eq!(failures.len(), 1);
    assert_eq!(failures[0].kind, "torch.OutOfMemoryError");
    let (starts, rows) = sizes(&functions);
    assert_eq!(starts, 1);
    assert!(rows.iter().all(|rows| *rows <= 16), "{rows:?}");
    assert!(rows[rows.len() - 1] > 1, "the size is as before: {rows:?}");

    // Rows of eight bytes.
    add(&functions, &scenario, "q", "by_bytes");
    run(&functions, &scenario, "1", &["refresh"], &["--column", "q"]).expect_code(0);
    scenario.check_int("q", fits).await;
    let (_, rows) = sizes(&functions);
    assert!(rows.iter().all(|rows| *rows <= 11), "{rows:?}");
    assert!(rows.contains(&10), "{rows:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_device_costs_a_host_and_fails_only_the_row_that_loses_it_each_time() {
    let code = r#"
seen = []

@udf(data_type=pa.int64(), num_gpus=1, batch_size=16, max_attempts=2)
def shaky(id: pa.Array) -> pa.Array:
    if seen:
        note("called after it lost its device")
    if not os.path.exists(FLAG):
        open(FLAG, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    if not os.path.exists(FLAG + "2"):
        open(FLAG + "2", "w").close()
        seen.append("lost")
        raise RuntimeError("CUDA error: an illegal memory access was encountered")
    if 21 in id.to_pylist():
        raise RuntimeError("CUDA error: device-side assert triggered")
    return pc.add(id, 1)

@udf(num_gpus=1, max_attempts=2)
def scalar(id: int) -> int:
    if id == 21:
        raise RuntimeError("CUDA error: device-side assert triggered")
    return id + 1
"#;
    let Some(functions) = Functions::new("") else {
        return;
    };
    functions.write(&format!("FLAG = {:?}\n{code}", functions.flag().display()));
    let scenario = Scenario::standard(Shape::default(), 40).await;
    let fine = |row: &Row| next(row).filter(|_| row.id() != 21);
    for (column, function) in [("p", "shaky"), ("q", "scalar")] {
        add(&functions, &scenario, column, function);
        let options = ["--column", column];
        let outcome = run(&functions, &scenario, "1", &["refresh"], &options).expect_code(0);
        assert_eq!(Report::read(outcome.json()).assigned(column), 39);
        scenario.check_int(column, fine).await;
        let failures = scenario.failures(column);
        assert_eq!(failures.len(), 1, "{failures:?}");
        assert_eq!(failures[0].kind, "RuntimeError");
        let log = functions.take_log();
        // Killed and lost ones give their share of the device back, and are not called again.
        assert_eq!(noted(&log, "called"), [""; 0], "{log:?}");
        let lost = noted(&log, "start").len() - 1;
        assert!((1..=12).contains(&lost), "{column}: {lost} hosts were lost");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_is_no_device_the_function_is_refused_and_its_rows_stay_in_need() {
    let code = r#"
@udf(num_gpus=1)
def needy(id: int) -> int: return id + 1

@udf(pool="gpu")
def pooled(id: int) -> int: return id + 1

@udf(num_gpus=2)
def greedy(id: int) -> int: return id + 1
"#;
    let Some(functions) = Functions::new(code) else {
        return;
    };
    let scenario = Scenario::standard(Shape::default(), 10).await;
    let from = functions.path();
    let before = (scenario.version().await, scenario.state_files());
    for (udf, gpus, about) in [
        ("udfs:needy", "0", "num_gpus"),
        ("udfs:needy", "0.5", "LANCE_BACKFILL_GPUS=0.5"),
        ("udfs:pooled", "0", "--service"),
        ("udfs:greedy", "1", "2 GPUs"),
        ("udfs:needy", "plenty", "plenty"),
    ] {
        let options = ["p", "--udf", udf, "--from", &from];
        run(&functions, &scenario, gpus, &["column", "add"], &options).expect_refusal(&[2], about);
        assert_eq!((scenario.version().await, scenario.state_files()), before);
    }
    add(&functions, &scenario, "p", "needy");
    let outcome = run(&functions, &scenario, "0", &["refresh"], &[]).expect_code(1);
    assert!(outcome.stderr.contains("asks for a GPU"), "{outcome:#?}");
    assert_eq!(Report::read(outcome.json()).column("p").rows_remaining, 10);
    run(&functions, &scenario, "1", &["refresh"], &[]).expect_code(0);
    scenario.check_int("p", next).await;
}
