//! How a host process is started.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use lance_backfill_core::checkpoint::{Fault, FaultKind};
use tokio::process::Command;

use super::limits::Limits;
use super::process::Process;

/// The variables that a host starts with; `check` of the Python package reads the same list.
const VARIABLES: &str = include_str!("../../../../python/src/lance_backfill/host/environment.txt");

/// Everything that a host is started with.
#[derive(Clone)]
pub(super) struct Launch {
    pub(super) python: PathBuf,
    /// Full version that it must have, if that was locked.
    pub(super) python_full: Option<String>,
    /// Whether the interpreter's own packages are out of sight.
    pub(super) isolated: bool,
    pub(super) package: PathBuf,
    pub(super) code: PathBuf,
    pub(super) site: Option<PathBuf>,
    pub(super) entrypoint: String,
    pub(super) retry_on: Vec<String>,
    pub(super) secrets: BTreeMap<String, String>,
    pub(super) env: BTreeMap<String, String>,
    /// The variables that the process begins with.
    pub(super) base: BTreeMap<String, String>,
    /// Folder for marks.
    pub(super) scratch: PathBuf,
}

/// What a worker's host sees of the worker's environment.
pub(super) fn base_environment(
    worker: &BTreeMap<String, String>,
    limits: &Limits,
) -> BTreeMap<String, String> {
    let cores = format!("{:.0}", limits.cpus.floor().max(1.0));
    let mut base = BTreeMap::new();
    for line in VARIABLES.lines().filter(|line| !line.starts_with('#')) {
        if let Some(name) = line.strip_suffix("=cores") {
            base.insert(name.to_owned(), cores.clone());
        } else if let Some(prefix) = line.strip_suffix('*') {
            let found = worker.iter().filter(|(name, _)| name.starts_with(prefix));
            base.extend(found.map(|(name, value)| (name.clone(), value.clone())));
        } else if let Some(value) = worker.get(line) {
            base.insert(line.to_owned(), value.clone());
        }
    }
    base
}

impl Launch {
    /// The same with more variables.
    pub(super) fn with(&self, variables: Vec<(String, String)>) -> Self {
        let mut launch = self.clone();
        launch.base.extend(variables);
        launch
    }

    /// Starts the process; it waits for its first frame.
    pub(super) async fn spawn(&self) -> Result<Process, Fault> {
        let mut command = Command::new(&self.python);
        if self.isolated {
            command.args(["-I", "-S"]);
        }
        command
            .arg("-X")
            .arg("utf8")
            .arg(self.package.join("launch.py"))
            .env_clear()
            .envs(&self.base)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("LANCE_BACKFILL_DIE_WITH_PARENT", "1")
            .current_dir(&self.scratch)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Process::spawn(command).await.map_err(|error| {
            environment_fault(format!(
                "cannot start the interpreter '{}': {error}",
                self.python.display()
            ))
        })
    }
}

pub(super) fn environment_fault(message: impl Into<String>) -> Fault {
    Fault {
        kind: FaultKind::Environment,
        message: message.into(),
        traceback: None,
    }
}

/// A program by its name, as a shell would find it.
pub(super) fn on_path(name: &str, environment: &BTreeMap<String, String>) -> Option<PathBuf> {
    let path = environment.get("PATH")?;
    std::env::split_paths(path)
        .map(|folder| folder.join(name))
        .find(|program| is_program(program))
}

pub(super) fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    let found = std::fs::metadata(path);
    found.is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}
