//! The real binary, run as a child process.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use serde_json::Value;

/// The binary beside the test executable: `scripts/test` builds the workspace first.
static BINARY: LazyLock<PathBuf> = LazyLock::new(|| built("lance-backfill"));

/// A program of the workspace.
pub(crate) fn built(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the test has a path");
    let folder = test.parent().and_then(|deps| deps.parent());
    let program = folder.expect("a target folder").join(name);
    assert!(
        program.is_file(),
        "'{}' is missing: build it with 'cargo build --release --workspace'",
        program.display()
    );
    program
}

/// How a command ended, and what it printed.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    /// Exit code; -1 after a signal.
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    /// The one document on stdout.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("stdout is not one JSON document: {error}\n{self:#?}"))
    }

    pub(crate) fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "exit code of {self:#?}");
        self
    }

    /// A refusal: this exit code, one line that says why, one document, no sign of a panic.
    pub(crate) fn expect_refusal(self, codes: &[i32], about: &str) -> Self {
        assert!(codes.contains(&self.code), "exit code of {self:#?}");
        let lines: Vec<&str> = self.stderr.lines().collect();
        assert_eq!(lines.len(), 1, "one line of explanation in {self:#?}");
        assert!(
            lines[0].starts_with("error: "),
            "an error line in {self:#?}"
        );
        assert!(
            self.stderr.to_lowercase().contains(&about.to_lowercase()),
            "'{about}' in {self:#?}"
        );
        assert!(self.json().get("error").is_some(), "an error in {self:#?}");
        self
    }
}

/// A call of the binary that is not started yet.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(&*BINARY);
    command
        .args(arguments)
        .env_remove("LANCE_BACKFILL_CACHE")
        .env_remove("LANCE_BACKFILL_LOG")
        .env_remove("AWS_PROFILE")
        .env_remove("AWS_SESSION_TOKEN")
        .env_remove("AWS_ENDPOINT_URL")
        .env("NO_PROXY", "127.0.0.1")
        .stdin(Stdio::null());
    command
}

/// Path of the binary.
pub(crate) fn binary() -> PathBuf {
    BINARY.clone()
}

/// Runs a command to its end. With `--json` stdout must be one document, whatever happened.
pub(crate) fn finish(mut command: Command) -> Outcome {
    let output = command.output().expect("the binary starts");
    let outcome = Outcome {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).expect("text"),
        stderr: String::from_utf8(output.stderr).expect("text"),
    };
    assert!(!outcome.stderr.contains("panicked"), "{outcome:#?}");
    if command.get_args().any(|argument| argument == "--json") {
        outcome.json();
    }
    outcome
}

/// Runs the binary with `--json`.
pub(crate) fn run(arguments: &[&str]) -> Outcome {
    let mut call = command(arguments);
    call.arg("--json");
    finish(call)
}

/// A setting of the test run.
#[expect(
    clippy::disallowed_methods,
    reason = "tests have no command line of their own"
)]
pub(crate) fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is a number")),
    )
}

/// Says something that a log shows also when the test passes: the harness captures what is printed.
pub(crate) fn say(line: &str) {
    // Nobody reads along: the test decides without it.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// A case that this machine cannot run: said aloud, and an error where nobody reads along.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that decides whether skipping is allowed"
)]
pub(crate) fn skip(why: &str) {
    say(&format!("SKIPPED: {why}"));
    assert!(
        std::env::var("CI").is_err(),
        "a case was skipped, which CI=true does not allow: {why}"
    );
}
