//! A `serve` that runs beside the test.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::program::command;
use super::scenario::Scenario;

/// Longest wait for anything: far above what it takes on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
const TIME_TO_COUNT: Duration = Duration::from_secs(10);

/// A process that serves.
pub(crate) struct Serving {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    stdout: JoinHandle<String>,
}

impl Serving {
    /// Serves the scenario's table. What happens within a minute happens because of events.
    pub(crate) fn table(scenario: &Scenario) -> Self {
        Self::start(&scenario.arguments(&["serve"], &["--poll-s", "600"]))
    }

    /// Serves a folder, with the cache of a scenario.
    pub(crate) fn folder(folder: &Path, scenario: &Scenario) -> Self {
        let mut arguments = scenario.arguments(&["serve"], &["--poll-s", "600"]);
        arguments[1] = folder.to_str().expect("a path in UTF-8");
        Self::start(&arguments)
    }

    /// Starts the command and waits until it has looked around.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut child = command(arguments)
            .arg("--json")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        let kept = lines.clone();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                kept.lock().expect("a lock").push(line);
            }
        });
        let mut pipe = child.stdout.take().expect("a pipe");
        let stdout = std::thread::spawn(move || {
            let mut text = String::new();
            pipe.read_to_string(&mut text).expect("text");
            text
        });
        let serving = Self {
            child,
            lines,
            stdout,
        };
        serving.wait_line("serving");
        serving
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("a lock").clone()
    }

    /// Lines that contain a text.
    pub(crate) fn count(&self, text: &str) -> usize {
        let lines = self.lines();
        lines.iter().filter(|line| line.contains(text)).count()
    }

    /// Memory that it holds now, as the system says it.
    pub(crate) fn memory(&self) -> String {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.unwrap_or("not known").trim().to_owned()
    }

    /// Waits for a line that contains a text.
    pub(crate) fn wait_line(&self, text: &str) {
        let started = now();
        while self.count(text) == 0 {
            assert!(
                started.elapsed() < PATIENCE,
                "'{text}' in {:#?}",
                self.lines()
            );
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// Rows that it says it computed of a column until now.
    fn rows(&self, table: &str, column: &str) -> u64 {
        let begin = format!("{table}: {column} +");
        let rows = |line: &String| -> Option<u64> {
            let (number, _) = line.split_once(&begin)?.1.split_once(' ')?;
            number.replace(',', "").parse().ok()
        };
        self.lines().iter().filter_map(rows).sum()
    }

    /// Stops it; it must end in time and in order, and say what it did.
    pub(crate) fn stop(mut self, signal: &str, code: i32) -> Value {
        let started = now();
        let id = self.child.id().to_string();
        let sent = std::process::Command::new("kill")
            .args([signal, &id])
            .status();
        assert!(sent.expect("kill").success());
        let status = self.child.wait().expect("ends");
        let took = started.elapsed();
        assert_eq!(status.code(), Some(code), "{:#?}", self.lines());
        assert!(took < Duration::from_secs(5), "it took {took:?}");
        let stdout = self.stdout.join().expect("reads");
        assert_eq!(
            self.lines
                .lock()
                .expect("a lock")
                .iter()
                .filter(|line| line.contains("panicked"))
                .count(),
            0
        );
        serde_json::from_str(&stdout)
            .unwrap_or_else(|error| panic!("stdout is not one JSON document: {error}\n{stdout}"))
    }
}

/// What a `serve` says that it computed of a column of the scenario's table.
pub(crate) fn served(document: &Value, table: &str, column: &str) -> u64 {
    let tables = document["tables"].as_array().expect("tables");
    let found = tables.iter().find(|found| found["table"] == table);
    let columns = found.expect("the table")["columns"].as_array();
    let found = columns.expect("columns").iter();
    found
        .filter(|found| found["column"] == column)
        .map(|found| found["rows_assigned"].as_u64().expect("a number"))
        .sum()
}

/// Gives it time to count what it did, which it does later than the values are there.
pub(crate) fn wait_served(serving: &Serving, table: &str, column: &str, rows: u64) {
    let started = now();
    // It tells only of rounds in which it published.
    while serving.rows(table, column) < rows && started.elapsed() < TIME_TO_COUNT {
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// Waits until something holds.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let started = now();
    while !holds().await {
        assert!(started.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// The clock that patience is measured with.
#[expect(
    clippy::disallowed_methods,
    reason = "a test that waits for another process has only this clock"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
