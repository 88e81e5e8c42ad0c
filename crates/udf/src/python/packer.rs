//! Packing a function: its code and its environment, by the Python side, and what it says of itself.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;

use arrow_schema::DataType;
use bytes::Bytes;
use lance_backfill_core::checkpoint::Fault;
use lance_backfill_ports::{Error, Result};
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use super::artifacts::{Artifacts, code_path, digest_of, lock_path, wheel_path};
use super::described::Described;
use super::frame::Mode;
use super::host::{Host, Started, scratch};
use super::interpreter::Python;
use super::limits::Limits;
use super::lock::{Distribution, EnvironmentKind, EnvironmentLock, this_platform};
use super::start::{Launch, base_environment};

/// What is to be packed.
#[derive(Debug, Clone, Serialize)]
pub struct PackRequest {
    /// `module:name`.
    pub entrypoint: String,
    /// Folder, file or wheel.
    pub from: PathBuf,
    /// What it runs in.
    pub environment: EnvironmentChoice,
    /// What it is packed for.
    pub target: Target,
}

/// What a function is packed to run in.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum EnvironmentChoice {
    /// The interpreter and its packages, on this machine only.
    Current,
    /// What a requirements file names.
    Requirements {
        /// The file.
        file: PathBuf,
    },
    /// What the interpreter has installed.
    Capture,
    /// A worker image.
    Image {
        /// `NAME@sha256:…`.
        image: String,
    },
}

/// A platform and a Python; this machine's without.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Target {
    /// Such as `linux-x86_64`.
    pub platform: Option<String>,
    /// Such as `3.13`.
    pub python: Option<String>,
}

/// A packed function; its files are in a folder that goes with it.
#[derive(Debug)]
pub struct Packed {
    /// `module:name`.
    pub entrypoint: String,
    /// Digest of the code.
    pub artifact: String,
    /// Size of the code.
    pub artifact_bytes: u64,
    /// Digest of the environment's lock.
    pub environment: String,
    /// The lock.
    pub lock: EnvironmentLock,
    /// Lines worth telling.
    pub notes: Vec<String>,
    files: BTreeMap<String, PathBuf>,
    _work: tempfile::TempDir,
}

#[derive(Deserialize)]
struct Said {
    ok: bool,
    error: Option<String>,
    artifact: Option<SaidFile>,
    environment: Option<SaidFile>,
    #[serde(default)]
    wheels: Vec<SaidFile>,
    #[serde(default)]
    notes: Vec<String>,
}

#[derive(Deserialize)]
struct SaidFile {
    sha256: String,
    path: PathBuf,
}

/// Packs a function; nothing but a folder of its own and pip's cache is written.
pub async fn pack(request: &PackRequest, python: &Python) -> Result<Packed> {
    let interpreter = python.for_packing()?;
    let io = |what: &str| {
        let what = format!("cannot {what} for packing");
        move |error: std::io::Error| Error::invalid(what.clone()).with_source(error)
    };
    std::fs::create_dir_all(&python.cache).map_err(io("make a folder"))?;
    let work = tempfile::Builder::new()
        .prefix("pack-")
        .tempdir_in(&python.cache);
    let work = work.map_err(io("make a folder"))?;
    let files = work.path().join("files");
    std::fs::create_dir(&files).map_err(io("make a folder"))?;
    let mut document = serde_json::to_value(request).unwrap_or_default();
    if let Some(document) = document.as_object_mut() {
        document.insert("work".to_owned(), serde_json::json!(files));
    }
    let asked = work.path().join("request.json");
    std::fs::write(&asked, document.to_string()).map_err(io("write the request"))?;
    let package = python.package().map_err(refused)?;
    let output = Command::new(&interpreter)
        .arg(package.join("pack_main.py"))
        .arg(&asked)
        .env_clear()
        .envs(&python.environment)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| {
            Error::invalid(format!("cannot start '{}'", interpreter.display())).with_source(error)
        })?;
    let said: Said = serde_json::from_slice(&output.stdout).map_err(|_| {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().rev().find(|line| !line.trim().is_empty());
        Error::invalid(format!(
            "'{}' cannot pack: {}",
            interpreter.display(),
            last.unwrap_or("it said nothing")
        ))
    })?;
    match (said.ok, said.artifact, said.environment) {
        (true, Some(artifact), Some(environment)) => {
            let text = std::fs::read(&environment.path).map_err(io("read the lock"))?;
            let lock: EnvironmentLock = serde_json::from_slice(&text)
                .map_err(|error| Error::internal("the lock is not one").with_source(error))?;
            let artifact_bytes = std::fs::metadata(&artifact.path).map_or(0, |found| found.len());
            let mut paths = BTreeMap::from([
                (code_path(&artifact.sha256), artifact.path),
                (lock_path(&environment.sha256), environment.path),
            ]);
            let wheels: BTreeMap<String, PathBuf> = (said.wheels.into_iter())
                .map(|wheel| (wheel.sha256, wheel.path))
                .collect();
            for wheel in distributions(&lock) {
                let path = wheels.get(&wheel.sha256);
                let path = path.ok_or_else(|| Error::internal("a wheel was not packed"))?;
                paths.insert(wheel_path(wheel), path.clone());
            }
            Ok(Packed {
                entrypoint: request.entrypoint.clone(),
                artifact: artifact.sha256,
                artifact_bytes,
                environment: environment.sha256,
                lock,
                notes: said.notes,
                files: paths,
                _work: work,
            })
        }
        _ => {
            Err(Error::invalid(said.error.unwrap_or_else(|| {
                "the function cannot be packed".to_owned()
            })))
        }
    }
}

fn distributions(lock: &EnvironmentLock) -> &[Distribution] {
    match &lock.kind {
        EnvironmentKind::Wheels { distributions } => distributions,
        EnvironmentKind::Current { .. } | EnvironmentKind::Image { .. } => &[],
    }
}

impl Packed {
    /// Writes what was packed into a state store; what is there already stays.
    ///
    /// Idempotent: each object's path has its digest.
    pub async fn store(&self, artifacts: &Artifacts) -> Result<()> {
        for (path, file) in &self.files {
            let bytes = tokio::fs::read(file).await.map_err(|error| {
                Error::internal(format!("cannot read '{}'", file.display())).with_source(error)
            })?;
            let named = path.split(['/', '.']).any(|part| part == digest_of(&bytes));
            if !named {
                return Err(Error::internal(format!(
                    "'{path}' changed while it was packed"
                )));
            }
            artifacts.put(path, Bytes::from(bytes)).await?;
        }
        Ok(())
    }

    /// A store that has these files too.
    #[must_use]
    pub fn artifacts(&self, stored: Artifacts) -> Artifacts {
        stored.with_files(self.files.clone())
    }

    /// Bytes that are stored.
    pub fn bytes(&self) -> u64 {
        let sizes = self
            .files
            .values()
            .map(|file| std::fs::metadata(file).map_or(0, |it| it.len()));
        sizes.sum()
    }
}

/// What a packed function says of itself: it is imported in its own environment if that fits this
/// machine, and otherwise in the interpreter that packed it.
pub async fn describe(packed: &Packed, python: &Python) -> Result<(Described, DataType)> {
    let fits = match &packed.lock.kind {
        EnvironmentKind::Current { .. } => true,
        EnvironmentKind::Wheels { .. } => {
            packed.lock.platform == this_platform()
                && python.of_version(&packed.lock.python).await.is_ok()
        }
        EnvironmentKind::Image { image } => {
            python.environment.get("LANCE_BACKFILL_IMAGE") == Some(image)
        }
    };
    let artifacts = packed.artifacts(Artifacts::new(vec![]));
    let launch = launch_to_describe(packed, &artifacts, python, fits)
        .await
        .map_err(refused)?;
    let limits = Limits {
        cpus: 1.0,
        gpus: 0.0,
        row_timeout: None,
        init_timeout: std::time::Duration::from_secs(600),
        memory_bytes: None,
        batch_size: None,
        batch_bytes: None,
        max_attempts: 1,
    };
    let started = start_to_describe(&launch, python, &limits).await?;
    let output = started
        .output
        .ok_or_else(|| Error::internal("a function has no type"))?;
    Ok((started.host.described.clone(), output))
}

/// Starts a host as a worker would. Module-level code may need a secret, and which ones it declares
/// is known only after its import: then it is imported once with all that there is, to learn them.
async fn start_to_describe(launch: &Launch, python: &Python, limits: &Limits) -> Result<Started> {
    let worker = &python.environment;
    let launch = Launch {
        base: base_environment(worker, limits),
        ..launch.clone()
    };
    let start = async |launch: &Launch| {
        let started = Host::start(launch, Mode::Describe, None, limits).await;
        started.map_err(|failed| failed.fault)
    };
    let first = match start(&launch).await {
        Ok(started) => return Ok(started),
        Err(fault) => fault,
    };
    // As secrets, so that nothing of it gets into the log.
    let with_all = Launch {
        secrets: worker.clone(),
        ..launch.clone()
    };
    let Ok(described) = start(&with_all).await else {
        return Err(refused(first));
    };
    let options = described.host.described.options.clone();
    let secrets = options.secrets.unwrap_or_default().into_iter();
    let declared = Launch {
        secrets: secrets
            .filter_map(|name| worker.get_key_value(&name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
        env: options.env.unwrap_or_default(),
        ..launch
    };
    start(&declared).await.map_err(|mut fault| {
        fault.message.push_str(
            ": it can be imported with all of your environment, of which a host gets only PATH, HOME and the like; name what it needs with secrets=[…] or env={…}",
        );
        refused(fault)
    })
}

async fn launch_to_describe(
    packed: &Packed,
    artifacts: &Artifacts,
    python: &Python,
    fits: bool,
) -> std::result::Result<Launch, Fault> {
    let scratch = scratch(&python.cache);
    std::fs::create_dir_all(&scratch).map_err(|error| {
        super::start::environment_fault(format!("cannot write '{}': {error}", scratch.display()))
    })?;
    let (interpreter, isolated, code, site) = match fits {
        true => {
            let unpacked = artifacts
                .unpack(&packed.artifact, &packed.environment, python)
                .await?;
            (
                unpacked.python,
                unpacked.isolated,
                unpacked.code,
                unpacked.site,
            )
        }
        false => {
            let interpreter = python.for_packing();
            let interpreter =
                interpreter.map_err(|error| super::start::environment_fault(error.one_line()))?;
            let code = artifacts
                .unpack_code(&packed.artifact, &interpreter, python)
                .await?;
            (interpreter, false, code, None)
        }
    };
    Ok(Launch {
        python: interpreter,
        python_full: None,
        isolated,
        package: python.package()?,
        code,
        site,
        entrypoint: packed.entrypoint.clone(),
        retry_on: vec![],
        secrets: BTreeMap::new(),
        env: BTreeMap::new(),
        base: BTreeMap::new(),
        scratch,
    })
}

/// A fault at declaration is the user's to mend; nothing was changed.
fn refused(fault: Fault) -> Error {
    let error = Error::invalid(fault.message);
    match fault.traceback {
        Some(traceback) => error.with_source(Traceback(traceback)),
        None => error,
    }
}

/// Where a function was, shown with `--verbose` and left out of the one line.
#[derive(Debug)]
struct Traceback(String);

impl std::fmt::Display for Traceback {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // One line: the innermost frame is what a reader looks for.
        let mut lines = self
            .0
            .lines()
            .filter(|line| line.trim_start().starts_with("File "));
        formatter.write_str(lines.next_back().map_or("", str::trim))
    }
}

impl std::error::Error for Traceback {}
