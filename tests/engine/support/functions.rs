//! Python functions for tests: code in a folder, and a log of what was called.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, Mutex, PoisonError};

use serde_json::Value;
use tempfile::TempDir;

use super::program::{Outcome, command, finish, skip};
use super::scenario::Scenario;

/// The interpreter with pyarrow that `scripts/python-env` makes.
static INTERPRETER: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/python-env");
    let output = Command::new(script).output().ok()?;
    let folder = String::from_utf8(output.stdout).ok()?;
    let python = Path::new(folder.trim()).join("bin/python");
    (output.status.success() && python.is_file()).then_some(python)
});

/// A module `udfs` in a folder, and where it notes its calls.
pub(crate) struct Functions {
    folder: TempDir,
    interpreter: PathBuf,
    /// How many bytes of the log were looked at.
    seen: Mutex<usize>,
}

/// What each module begins with: `note(...)` writes a line to the log.
const HEAD: &str = r#"
import os, signal, sys, time
import pyarrow as pa
import pyarrow.compute as pc
import lance_backfill
from lance_backfill import udf

def note(*words):
    with open(LOG, "a") as log:
        log.write(" ".join(map(str, words)) + "\n")

note("start", os.getpid())
"#;

impl Functions {
    /// None, after saying so, where there is no Python to run them.
    pub(crate) fn new(code: &str) -> Option<Self> {
        let Some(interpreter) = INTERPRETER.clone() else {
            skip("Python functions: scripts/python-env does not run here");
            return None;
        };
        let functions = Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            interpreter,
            seen: Mutex::new(0),
        };
        functions.write(code);
        Some(functions)
    }

    /// Replaces the code.
    pub(crate) fn write(&self, code: &str) {
        let log = format!("LOG = {:?}\n", self.log_path());
        self.write_file("udfs.py", &[&log, HEAD, code].concat());
    }

    pub(crate) fn write_file(&self, name: &str, text: &str) {
        let code = self.folder.path().join("code");
        std::fs::create_dir_all(&code).expect("a folder");
        std::fs::write(code.join(name), text).expect("written");
    }

    /// The folder with the code.
    pub(crate) fn path(&self) -> String {
        let path = self.folder.path().join("code");
        path.to_str().expect("a path in UTF-8").to_owned()
    }

    /// A path that the code can look for.
    pub(crate) fn flag(&self) -> PathBuf {
        self.folder.path().join("flag")
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// What was noted since the last look, without the words of starts.
    pub(crate) fn calls(&self) -> Vec<String> {
        let all = self.take_log();
        all.into_iter()
            .filter(|line| !line.starts_with("start"))
            .collect()
    }

    /// What was noted since the last look.
    pub(crate) fn take_log(&self) -> Vec<String> {
        // One that is not there was not written.  It stays where it is: a function that has it open
        // would write into one that is removed.
        let log = std::fs::read_to_string(self.log_path()).unwrap_or_default();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let new = &log[*seen..];
        let whole = new.rfind('\n').map_or(0, |end| end + 1);
        *seen += whole;
        new[..whole].lines().map(str::to_owned).collect()
    }

    pub(crate) fn interpreter(&self) -> &Path {
        &self.interpreter
    }

    /// Runs a command on a scenario's table with this interpreter.
    pub(crate) fn run(&self, scenario: &Scenario, words: &[&str], options: &[&str]) -> Outcome {
        finish(self.command(scenario, words, options))
    }

    /// The same, not started yet.
    pub(crate) fn command(&self, scenario: &Scenario, words: &[&str], options: &[&str]) -> Command {
        let mut command = command(&scenario.arguments(words, options));
        command.arg("--json");
        command.env("LANCE_BACKFILL_PYTHON", &self.interpreter);
        // Whatever this machine has.
        command.env("LANCE_BACKFILL_GPUS", "0");
        command
    }

    /// Declares a column; what describing the function noted is forgotten.
    pub(crate) fn add(
        &self,
        scenario: &Scenario,
        column: &str,
        function: &str,
        options: &[&str],
    ) -> Value {
        let added = self.try_add(scenario, column, function, options);
        let added = added.expect_code(0).json();
        self.take_log();
        added
    }

    pub(crate) fn try_add(
        &self,
        scenario: &Scenario,
        column: &str,
        function: &str,
        options: &[&str],
    ) -> Outcome {
        let (entrypoint, from) = (format!("udfs:{function}"), self.path());
        let mut all = vec![column, "--udf", &entrypoint, "--from", &from];
        all.extend_from_slice(options);
        self.run(scenario, &["column", "add"], &all)
    }

    pub(crate) fn alter(
        &self,
        scenario: &Scenario,
        column: &str,
        function: &str,
        options: &[&str],
    ) -> Value {
        let (entrypoint, from) = (format!("udfs:{function}"), self.path());
        let mut all = vec![column, "--udf", &entrypoint, "--from", &from];
        all.extend_from_slice(options);
        let altered = self.run(scenario, &["column", "alter"], &all);
        let altered = altered.expect_code(0).json();
        self.take_log();
        altered
    }
}
