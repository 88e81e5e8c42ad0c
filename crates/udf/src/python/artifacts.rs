//! Packed code and environments: content-addressed in the state store, unpacked once on each machine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use bytes::Bytes;
use lance_backfill_core::checkpoint::Fault;
use lance_backfill_ports::state_store::{Created, StateStore};
use lance_backfill_ports::{Error, Result};
use sha2::{Digest, Sha256};
use tokio::process::Command;

use super::interpreter::Python;
use super::lock::{Distribution, EnvironmentKind, EnvironmentLock, this_platform};
use super::package::hex;
use super::start::environment_fault;

/// SHA-256 of some bytes, in hexadecimal digits.
pub fn digest_of(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub(super) fn code_path(digest: &str) -> String {
    format!("artifacts/{digest}.zip")
}

pub(super) fn lock_path(digest: &str) -> String {
    format!("environments/{digest}.json")
}

pub(super) fn wheel_path(wheel: &Distribution) -> String {
    format!("wheels/{}/{}", wheel.sha256, wheel.filename)
}

/// Where artifacts come from.
#[derive(Clone)]
pub struct Artifacts {
    /// Own store first, then those of tables that this one was copied from.
    stores: Vec<Arc<dyn StateStore>>,
    /// Files that are packed and not stored yet, by their path in the store.
    packed: BTreeMap<String, PathBuf>,
}

/// Unpacked, and checked against this machine.
#[derive(Debug, Clone)]
pub(super) struct Unpacked {
    pub(super) python: PathBuf,
    pub(super) isolated: bool,
    pub(super) code: PathBuf,
    pub(super) site: Option<PathBuf>,
    /// Full version that the interpreter must have.
    pub(super) python_full: Option<String>,
}

impl Artifacts {
    /// Of state stores, the first of which is written to.
    pub fn new(stores: Vec<Arc<dyn StateStore>>) -> Self {
        Self {
            stores,
            packed: BTreeMap::new(),
        }
    }

    /// The same with files that lie on this machine, by their path in the store.
    #[must_use]
    pub(super) fn with_files(mut self, packed: BTreeMap<String, PathBuf>) -> Self {
        self.packed.extend(packed);
        self
    }

    /// Stores an object under a path that names its digest; one that is there stays.
    pub async fn put(&self, path: &str, bytes: Bytes) -> Result<()> {
        let store = self.stores.first();
        let store = store.ok_or_else(|| Error::internal("there is no store for artifacts"))?;
        match store.create(path, bytes.clone()).await? {
            Created::New => Ok(()),
            Created::AlreadyThere => match store.get(path).await? {
                Some(found) if found == bytes => Ok(()),
                _ => Err(Error::invalid(format!(
                    "'{path}' in the state store is not what its name says: somebody changed it; delete it and try again"
                ))),
            },
        }
    }

    /// An object by its path, if it is anywhere.
    pub async fn get(&self, path: &str) -> Result<Option<Bytes>> {
        if let Some(file) = self.packed.get(path) {
            let bytes = tokio::fs::read(file).await;
            return bytes.map(|bytes| Some(bytes.into())).map_err(|error| {
                Error::internal(format!("cannot read '{}'", file.display())).with_source(error)
            });
        }
        for store in &self.stores {
            if let Some(found) = store.get(path).await? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Paths of all objects under a folder.
    pub async fn names(&self, folder: &str) -> Result<std::collections::BTreeSet<String>> {
        let mut names = std::collections::BTreeSet::new();
        for store in &self.stores {
            names.extend(
                store
                    .list(folder)
                    .await?
                    .into_iter()
                    .map(|listed| listed.path),
            );
        }
        Ok(names)
    }

    /// An object whose bytes have this digest.
    async fn fetch(&self, path: &str, digest: &str) -> std::result::Result<Bytes, Fault> {
        let found = self.get(path).await;
        let found = found.map_err(|error| environment_fault(error.one_line()))?;
        let bytes = found.ok_or_else(|| {
            environment_fault(format!(
                "'{path}' is not in the state store: declare the function again"
            ))
        })?;
        let actual = digest_of(&bytes);
        match actual == digest {
            true => Ok(bytes),
            false => Err(environment_fault(format!(
                "'{path}' in the state store was changed: its SHA-256 is {actual}; declare the function again"
            ))),
        }
    }

    /// The lock of an environment.
    pub async fn lock(&self, digest: &str) -> std::result::Result<EnvironmentLock, Fault> {
        let bytes = self.fetch(&lock_path(digest), digest).await?;
        serde_json::from_slice(&bytes).map_err(|error| {
            environment_fault(format!("environment {digest} cannot be read: {error}"))
        })
    }

    /// Code and environment, ready for a host of this machine; unpacked if they are not yet.
    pub(super) async fn unpack(
        &self,
        code: &str,
        environment: &str,
        python: &Python,
    ) -> std::result::Result<Unpacked, Fault> {
        let lock = self.lock(environment).await?;
        let (interpreter, python_full) = match &lock.kind {
            EnvironmentKind::Current {
                executable,
                python_full,
            } => {
                if !super::start::is_program(executable) {
                    return Err(environment_fault(format!(
                        "the function runs with the interpreter '{}' of the machine where it was declared ('--env current'), and it is not on this one: declare it with --env capture or --requirements",
                        executable.display()
                    )));
                }
                (executable.clone(), Some(python_full.clone()))
            }
            EnvironmentKind::Wheels { .. } => {
                let here = this_platform();
                if lock.platform != here {
                    return Err(environment_fault(format!(
                        "the function was packed for {}, and this machine is {here}: pack it with --target {here}",
                        lock.platform
                    )));
                }
                (python.of_version(&lock.python).await?, None)
            }
            EnvironmentKind::Image { image } => {
                let here = python.environment.get("LANCE_BACKFILL_IMAGE");
                if here != Some(image) {
                    let here = here.map_or("no image".to_owned(), |here| format!("image {here}"));
                    return Err(environment_fault(format!(
                        "the function runs in image {image}, and this worker says that it is in {here} (LANCE_BACKFILL_IMAGE)"
                    )));
                }
                (python.of_version(&lock.python).await?, None)
            }
        };
        let isolated = matches!(lock.kind, EnvironmentKind::Wheels { .. });
        let code = self.unpack_code(code, &interpreter, python).await?;
        let site = match &lock.kind {
            EnvironmentKind::Wheels { distributions } => Some(
                self.unpack_site(environment, distributions, &interpreter, python)
                    .await?,
            ),
            _ => None,
        };
        Ok(Unpacked {
            python: interpreter,
            isolated,
            code,
            site,
            python_full,
        })
    }

    pub(super) async fn unpack_code(
        &self,
        digest: &str,
        interpreter: &Path,
        python: &Python,
    ) -> std::result::Result<PathBuf, Fault> {
        let home = python.cache.join(format!("code-{digest}"));
        if home.is_dir() {
            return Ok(home);
        }
        let bytes = self.fetch(&code_path(digest), digest).await?;
        let draft = draft(&python.cache)?;
        let zip = draft.path().join("code.zip");
        let folder = draft.path().join("code");
        write(&zip, &bytes)?;
        let arguments = [Path::new("--zip"), &zip, &folder];
        run_unpacker(interpreter, python, &arguments).await?;
        rename(&folder, &home)?;
        Ok(home)
    }

    async fn unpack_site(
        &self,
        digest: &str,
        distributions: &[Distribution],
        interpreter: &Path,
        python: &Python,
    ) -> std::result::Result<PathBuf, Fault> {
        let home = python.cache.join(format!("site-{digest}"));
        if home.is_dir() {
            return Ok(home);
        }
        let draft = draft(&python.cache)?;
        let wheels = draft.path().join("wheels");
        std::fs::create_dir(&wheels).map_err(|error| cannot_write(&wheels, &error))?;
        for wheel in distributions {
            if wheel.filename.contains(['/', '\\']) {
                return Err(environment_fault(format!(
                    "'{}' is no name of a wheel",
                    wheel.filename
                )));
            }
            let bytes = self.fetch(&wheel_path(wheel), &wheel.sha256).await?;
            write(&wheels.join(&wheel.filename), &bytes)?;
        }
        let folder = draft.path().join("site");
        run_unpacker(interpreter, python, &[&wheels, &folder]).await?;
        rename(&folder, &home)?;
        Ok(home)
    }
}

fn draft(cache: &Path) -> std::result::Result<tempfile::TempDir, Fault> {
    std::fs::create_dir_all(cache)
        .and_then(|()| tempfile::Builder::new().prefix("draft-").tempdir_in(cache))
        .map_err(|error| cannot_write(cache, &error))
}

fn write(path: &Path, bytes: &[u8]) -> std::result::Result<(), Fault> {
    std::fs::write(path, bytes).map_err(|error| cannot_write(path, &error))
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Fault {
    environment_fault(format!("cannot write '{}': {error}", path.display()))
}

/// Gives an unpacked folder its name; the first of several that unpack the same stands.
fn rename(folder: &Path, home: &Path) -> std::result::Result<(), Fault> {
    match std::fs::rename(folder, home) {
        Ok(()) => Ok(()),
        Err(_) if home.is_dir() => Ok(()),
        Err(error) => Err(cannot_write(home, &error)),
    }
}

async fn run_unpacker(
    interpreter: &Path,
    python: &Python,
    arguments: &[&Path],
) -> std::result::Result<(), Fault> {
    let output = Command::new(interpreter)
        .args(["-I", "-S"])
        .arg(python.package()?.join("unpack_main.py"))
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| {
            environment_fault(format!("cannot start '{}': {error}", interpreter.display()))
        })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rev().find(|line| !line.trim().is_empty());
    Err(environment_fault(format!(
        "the function cannot be unpacked: {}",
        last.unwrap_or("no reason was given")
    )))
}
