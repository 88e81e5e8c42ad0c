//! The program that takes the batches of a class in a pod: long batches, deaths, and how it ends.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::deployment::{Deployment, Settings};
use crate::python::{IMAGE, call, through};
use crate::support::program::{finish, say, setting};
use crate::support::serving::{eventually, now};
use crate::support::table::Shape;
use crate::support::{Functions, Row, Scenario};

const PATIENCE: Duration = Duration::from_secs(90);
/// How long a message is hidden: short, so that a test sees what follows.
const VISIBILITY_S: u64 = 5;
/// Asks for more kills than the ordinary run has.
const KILLS: &str = "LANCE_BACKFILL_KILLS";
/// Takes as long as the flag says, for a batch; it may say otherwise meanwhile.
const CODE: &str = r#"
@udf(data_type=pa.int64(), batch_size=1000)
def slow(id: pa.Array) -> pa.Array:
    note("call", len(id), os.getpid())
    begun = time.time()
    while time.time() - begun < float(open(FLAG).read()):
        time.sleep(0.02)
    note("return", len(id))
    return pc.multiply(id, 2)
"#;

/// A worker that runs beside the test.
pub(crate) struct Worker {
    child: Child,
    logs: TempDir,
}

impl Worker {
    pub(crate) fn start(
        service: &Deployment,
        class: &str,
        name: &str,
        more: &[(&str, &str)],
    ) -> Self {
        Self::start_with(service, &["--class", class, "--name", name], more)
    }

    fn start_with(service: &Deployment, options: &[&str], more: &[(&str, &str)]) -> Self {
        let logs = tempfile::tempdir().expect("a temporary folder");
        let log = std::fs::File::create(logs.path().join("log")).expect("a file");
        let mut command = call(service, &[&["worker"], options].concat());
        command
            .args(["--cache", &logs.path().join("cache").display().to_string()])
            // What it writes is counted.
            .env("AWS_ENDPOINT_URL", service.proxy.endpoint())
            .envs(more.iter().copied())
            .stdout(Stdio::piped())
            .stderr(log);
        Self {
            child: command.spawn().expect("the binary starts"),
            logs,
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.logs.path().join("log")).unwrap_or_default()
    }

    fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args([signal, &id]).status();
        assert!(sent.expect("kill starts").success());
    }

    /// Stops it by a signal, or waits for its end without; what it says it did.
    pub(crate) fn stop(self, signal: &str) -> Value {
        self.signal(signal);
        self.ended()
    }

    fn ended(mut self) -> Value {
        let started = now();
        while self.child.try_wait().expect("a child").is_none() {
            assert!(
                started.elapsed() < PATIENCE,
                "it does not end:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        let log = self.log();
        let Self { child, logs: _logs } = self;
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(0), "{log}");
        serde_json::from_slice(&output.stdout).expect("one document")
    }

    fn kill(mut self) {
        self.child.kill().expect("it is there");
        self.child.wait().expect("it is gone");
    }
}

/// What functions need of a worker.
fn of_python(functions: &Functions) -> [(&'static str, String); 3] {
    let interpreter = functions.interpreter().display().to_string();
    [
        ("LANCE_BACKFILL_PYTHON", interpreter),
        ("LANCE_BACKFILL_IMAGE", IMAGE.to_owned()),
        // The tests have no device: one is made believe.
        ("LANCE_BACKFILL_GPUS", "1".to_owned()),
    ]
}

struct Setup {
    functions: Functions,
    service: Deployment,
    scenario: Scenario,
}

impl Setup {
    /// A table with a column of the function, for the class `a10g`; each call takes so long.
    async fn new(rows: i64, batch_rows: Option<u64>, seconds: &str) -> Option<Self> {
        let functions = Functions::new("")?;
        let flag = format!("FLAG = {:?}\n", functions.flag());
        functions.write(&[&flag, CODE].concat());
        std::fs::write(functions.flag(), seconds).expect("written");
        let settings = Settings {
            classes: vec!["a10g"],
            visibility_s: VISIBILITY_S,
            batch_rows,
            ..Settings::default()
        };
        let service = Deployment::start(settings)?;
        let scenario = service.table("gpu.lance", Shape::default(), rows).await;
        let environment = format!("image:{IMAGE}");
        let from = functions.path();
        let mut add = call(
            &service,
            &[
                "column",
                "add",
                &scenario.uri,
                "d",
                "--udf",
                "udfs:slow",
                "--from",
                &from,
                "--env",
                &environment,
                "--pool",
                "gpu",
                "--gpu-class",
                "a10g",
            ],
        );
        add.envs(of_python(&functions));
        let added = finish(add).expect_code(0).json();
        assert_eq!(added["definition"]["resources"]["gpu_class"], "a10g");
        functions.take_log();
        Some(Self {
            functions,
            service,
            scenario,
        })
    }

    fn worker(&self, name: &str, options: &[&str]) -> Worker {
        let environment = of_python(&self.functions);
        let environment = environment
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        let words = [&["--class", "a10g", "--name", name], options].concat();
        Worker::start_with(&self.service, &words, &environment)
    }

    async fn wait_filled(&self) {
        let filled = async || {
            let rows = self.scenario.rows().await;
            rows.iter().all(|row| row.int("d") == doubled(row))
        };
        (self.service.eventually("'d' is filled", PATIENCE, filled)).await;
    }

    /// Workers that the service knows of, by name, with the batches that they have.
    fn seen(&self) -> Vec<(String, usize)> {
        let status = through(&self.service, &["service", "status"]);
        let status = status.expect_code(0).json();
        let workers = status["classes"]["a10g"]["workers"].as_array();
        let worker = |it: &Value| {
            let busy = it["busy"].as_array().map_or(0, Vec::len);
            (it["name"].as_str().unwrap_or_default().to_owned(), busy)
        };
        workers.expect("workers").iter().map(worker).collect()
    }

    fn count(&self, word: &str, calls: &[String]) -> usize {
        calls.iter().filter(|line| line.starts_with(word)).count()
    }
}

fn doubled(row: &Row) -> Option<i64> {
    Some(2 * row.id())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_three_times_the_visibility_is_delivered_once() {
    let seconds = (3 * VISIBILITY_S + 1).to_string();
    let Some(setup) = Setup::new(60, None, &seconds).await else {
        return;
    };
    // A second worker would get it.
    let workers = ["w-0", "w-1"].map(|name| setup.worker(name, &[]));
    eventually("one of them is busy", async || {
        let mut seen = setup.seen();
        seen.sort();
        let busy: Vec<usize> = seen.iter().map(|(_, busy)| *busy).collect();
        seen.len() == 2 && busy.iter().sum::<usize>() == 1
    })
    .await;
    setup.wait_filled().await;
    let calls = setup.functions.calls();
    assert_eq!(setup.count("call", &calls), 1, "{calls:?}");
    assert_eq!(setup.service.proxy.rows_computed(), 60);
    let ended = workers.map(|worker| worker.stop("-TERM"));
    let sum = |what: &str| ended.iter().filter_map(|it| it[what].as_u64()).sum::<u64>();
    assert_eq!((sum("done"), sum("failed"), sum("lost")), (1, 0, 0));
    assert_eq!(setup.seen(), [], "who ends says so");
    eventually("all is done", async || setup.service.is_drained().await).await;
    assert!(setup.service.all_dead().await.is_empty());
    // The class has four batches at work at once, each as fast as this one was.
    let plan = ["plan", &setup.scenario.uri, "--column", "d", "--recompute"];
    let plan = through(&setup.service, &plan).expect_code(0).json();
    let estimate = &plan["columns"][0]["estimate"];
    let expected = Duration::from_secs(3 * VISIBILITY_S + 1).as_secs_f64() / 4.0;
    let told = estimate["seconds"].as_f64().expect("an estimate");
    assert!((expected..expected * 1.5).contains(&told), "{estimate}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_batch_is_read_while_the_device_works_on_one() {
    let Some(setup) = Setup::new(30, Some(30), "3600").await else {
        return;
    };
    // Another fragment, so that each batch has a file of its own.
    setup.scenario.append(30).await;
    let sent = async || {
        let sent = setup.service.proxy.sent();
        (sent.iter().filter(|it| it.queue.contains("a10g"))).count() == 2
    };
    (setup.service)
        .eventually("both batches are sent", PATIENCE, sent)
        .await;
    let read: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    let seen = read.clone();
    setup.service.proxy.rule(move |request| {
        if request.class == "GET data" {
            seen.lock().expect("no panic").insert(request.what.clone());
        }
        None
    });
    let worker = setup.worker("w-0", &[]);
    let mut calls = vec![];
    // No file of values is there yet: these are the inputs of the one batch and of the other.
    (setup.service)
        .eventually("both are read", PATIENCE, async || {
            calls.extend(setup.functions.calls());
            setup.count("call", &calls) > 0 && read.lock().expect("no panic").len() > 1
        })
        .await;
    calls.extend(setup.functions.calls());
    assert_eq!(setup.count("call", &calls), 1, "{calls:?}");
    assert_eq!(setup.count("return", &calls), 0, "{calls:?}");
    // By its name: it is read all the time.
    let flag = setup.functions.flag();
    let next = flag.with_extension("next");
    std::fs::write(&next, "0").expect("written");
    std::fs::rename(next, flag).expect("renamed");
    setup.wait_filled().await;
    eventually("all is done", async || setup.service.is_drained().await).await;
    calls.extend(setup.functions.calls());
    assert_eq!(setup.count("call", &calls), 2, "{calls:?}");
    let ended = worker.stop("-TERM");
    assert_eq!(ended["done"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_killed_costs_its_batch_another_delivery_and_no_row() {
    let kills = usize::try_from(setting(KILLS).unwrap_or(3)).expect("a number");
    let batches = kills + 2;
    let rows = 30 * batches;
    let all = i64::try_from(rows).expect("a number");
    let Some(setup) = Setup::new(all, Some(30), "0.5").await else {
        return;
    };
    let mut calls = vec![];
    for life in 0..kills {
        // Now and then one of the same name as its predecessor.
        let worker = setup.worker(&format!("w-{}", life / 2), &["--at-once", "1"]);
        let (called, returned) = (setup.count("call", &calls), setup.count("return", &calls));
        // The first goes at once, each other when it has done a batch and has another.
        let (calls_to_come, returns_to_come) = if life == 0 { (1, 0) } else { (2, 1) };
        (setup.service)
            .eventually("a batch is at work", PATIENCE, async || {
                calls.extend(setup.functions.calls());
                setup.count("call", &calls) >= called + calls_to_come
                    && setup.count("return", &calls) >= returned + returns_to_come
            })
            .await;
        worker.kill();
    }
    let worker = setup.worker("w-last", &[]);
    setup.wait_filled().await;
    // Who was killed with a batch on record left its message: that comes once more.
    eventually("all is done", async || setup.service.is_drained().await).await;
    calls.extend(setup.functions.calls());
    let log = worker.log();
    let ended = worker.stop("-TERM");
    // Where the machine is too busy to keep a message in time, it is delivered once more, too.
    let late = usize::try_from(ended["lost"].as_u64().unwrap_or(0)).expect("a number");
    let called = setup.count("call", &calls);
    assert!(
        called <= batches + kills + late,
        "{called} calls for {batches} batches, {late} late: {calls:#?}\n{log}"
    );
    assert_eq!(setup.scenario.check_int("d", doubled).await, rows);
    let computed = setup.service.proxy.rows_computed();
    assert_eq!(computed, rows as u64, "each row counts once");
    assert!(setup.service.all_dead().await.is_empty());
    say(&format!(
        "{kills} kills of workers: {called} calls for {batches} batches, no row lost"
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_drains_a_worker_and_what_fits_into_the_grace_is_finished() {
    let Some(setup) = Setup::new(120, Some(30), "2").await else {
        return;
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let place = |name: &str| folder.path().join(name);
    let drain = folder.path().display().to_string();
    let options = ["--at-once", "1", "--grace", "40", "--drain", &drain];
    let worker = setup.worker("w-0", &options);
    let mut calls = vec![];
    eventually("a batch is at work", async || {
        calls.extend(setup.functions.calls());
        setup.count("call", &calls) > 0
    })
    .await;
    std::fs::write(place("request"), "").expect("written");
    let ended = worker.ended();
    calls.extend(setup.functions.calls());
    assert!(place("done-w-0").exists());
    assert_eq!(
        setup.count("call", &calls),
        setup.count("return", &calls),
        "{calls:?}"
    );
    assert_eq!(
        ended["done"].as_u64(),
        Some(setup.count("call", &calls) as u64)
    );
    assert!(Path::new(&drain).exists());
    // While the request stands nobody starts; then the rest is done.
    let idle = setup.worker("w-1", &options).ended();
    assert_eq!(
        (idle["done"].as_u64(), place("done-w-1").exists()),
        (Some(0), true)
    );
    std::fs::remove_file(place("request")).expect("removed");
    let worker = setup.worker("w-0", &options);
    setup.wait_filled().await;
    assert!(!place("done-w-0").exists(), "of an earlier life");
    calls.extend(setup.functions.calls());
    assert_eq!(setup.count("call", &calls), 4, "no batch twice: {calls:?}");
    worker.stop("-INT");
    assert!(place("done-w-0").exists());
}
