//! Hosts and what they start end with the work, whatever they are at.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::support::{Functions, Report, Scenario, Shape};

fn lives(pid: u32) -> bool {
    // A process that nobody waited for yet is gone, too.
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn pids(functions: &Functions) -> Vec<u32> {
    let parse = |line: &String| line.parse().expect("a process id");
    functions.calls().iter().map(parse).collect()
}

#[expect(clippy::disallowed_methods, reason = "waits for other processes")]
fn await_that(what: &str, happened: impl Fn() -> bool) {
    let started = Instant::now();
    while !happened() {
        assert!(started.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_killed_takes_along_what_it_started() {
    let code = r#"
import subprocess

@udf(row_timeout=1, num_cpus=64)
def waits(id: int) -> int:
    if id == 3:
        child = subprocess.Popen(["sleep", "600"])
        note(child.pid)
        child.wait()
    return id
"#;
    let Some(functions) = Functions::new(code) else {
        return;
    };
    let scenario = Scenario::standard(Shape::default(), 10).await;
    functions.add(&scenario, "p", "waits", &[]);
    let outcome = functions.run(&scenario, &["refresh"], &[]).expect_code(0);
    assert_eq!(Report::read(outcome.json()).assigned("p"), 9);
    assert_eq!(scenario.failures("p")[0].kind, "timeout");
    let started = pids(&functions);
    assert_eq!(started.len(), 1);
    await_that("its child lives on", || !lives(started[0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_stuck_ends_with_its_worker() {
    let code = r#"
import re

@udf(num_cpus=64)
def stuck(id: int) -> bool:
    note(os.getpid())
    return bool(re.match(r"(a+)+$", "a" * 64 + "b"))
"#;
    let Some(functions) = Functions::new(code) else {
        return;
    };
    let scenario = Scenario::standard(Shape::default(), 10).await;
    functions.add(&scenario, "p", "stuck", &[]);
    let mut worker = functions
        .command(&scenario, &["refresh"], &[])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("it starts");
    let called = Cell::new(None);
    await_that("it was never called", || {
        called.set(pids(&functions).pop());
        called.get().is_some()
    });
    let host = called.get().expect("a host");
    assert!(lives(host));
    worker.kill().expect("kill -9");
    worker.wait().expect("gone");
    await_that("the host lives on", || !lives(host));
}
