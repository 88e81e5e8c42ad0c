//! How a host process is started.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use lance_backfill_core::checkpoint::{Fault, FaultKind};
use tokio::process::{Child, Command};

use super::limits::Limits;

/// Variables of the worker that a host gets: what interpreters, GPUs, locales and proxies need.
const PASSED_ON: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "TZ",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
];
const PASSED_ON_PREFIXES: &[&str] = &["LC_", "XDG_", "CUDA_", "NVIDIA_", "ROCR_", "HIP_"];
/// Libraries that would each take all cores, although hosts run side by side.
const THREADS: &[&str] = &[
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "RAYON_NUM_THREADS",
];

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
    let passed_on = |name: &str| {
        PASSED_ON.contains(&name)
            || PASSED_ON_PREFIXES
                .iter()
                .any(|prefix| name.starts_with(prefix))
    };
    let mut base: BTreeMap<String, String> = (worker.iter())
        .filter(|(name, _)| passed_on(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let threads = format!("{:.0}", limits.cpus.floor().max(1.0));
    for name in THREADS {
        base.insert((*name).to_owned(), threads.clone());
    }
    base
}

impl Launch {
    /// Starts the process; it waits for its first frame.
    pub(super) fn spawn(&self) -> Result<Child, Fault> {
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
            .current_dir(&self.scratch)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            // Ctrl-C is the worker's to handle.
            .process_group(0);
        command.spawn().map_err(|error| {
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
