//! The interpreters of this machine, and where files for them are kept.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use lance_backfill_core::checkpoint::Fault;
use lance_backfill_ports::{Error, Result};
use tokio::process::Command;

use super::package;
use super::start::{environment_fault, is_program, on_path};

/// What this process may use for Python functions.
#[derive(Debug, Clone)]
pub struct Python {
    /// The interpreter that was asked for.
    pub interpreter: Option<PathBuf>,
    /// The process's environment: hosts get a part of it, and the values of secrets.
    pub environment: BTreeMap<String, String>,
    /// Folder for unpacked code and environments.
    pub cache: PathBuf,
}

impl Python {
    /// The interpreter for packing: asked for, or of the active virtual environment, or `python3`.
    pub fn for_packing(&self) -> Result<PathBuf> {
        if let Some(asked) = &self.interpreter {
            let found = match asked.components().count() {
                1 => on_path(&asked.to_string_lossy(), &self.environment),
                _ => is_program(asked).then(|| asked.clone()),
            };
            return found.ok_or_else(|| {
                Error::invalid(format!("there is no interpreter '{}'", asked.display()))
            });
        }
        let active = (self.environment.get("VIRTUAL_ENV"))
            .map(|home| Path::new(home).join("bin/python"))
            .filter(|python| is_program(python));
        active
            .or_else(|| on_path("python3", &self.environment))
            .or_else(|| on_path("python", &self.environment))
            .ok_or_else(|| {
                Error::invalid("there is no python3 on PATH: install Python, or name an interpreter with --interpreter")
            })
    }

    /// An interpreter of exactly this minor version, such as `3.11`.
    ///
    /// The one that was asked for if it fits, else one of that name on `PATH`.
    pub(super) async fn of_version(&self, version: &str) -> std::result::Result<PathBuf, Fault> {
        if let Ok(own) = self.for_packing()
            && minor_version(&own).await.as_deref() == Some(version)
        {
            return Ok(own);
        }
        on_path(&format!("python{version}"), &self.environment).ok_or_else(|| {
            environment_fault(format!(
                "the function's environment needs Python {version}, and there is no python{version} on PATH: install it, or name one with --interpreter"
            ))
        })
    }

    /// The folder of the Python package of this binary.
    pub(super) fn package(&self) -> std::result::Result<PathBuf, Fault> {
        package::install(&self.cache).map_err(|error| {
            environment_fault(format!(
                "cannot write the Python package to '{}': {error}",
                self.cache.display()
            ))
        })
    }
}

/// Major and minor version of an interpreter, such as `3.11`.
async fn minor_version(interpreter: &Path) -> Option<String> {
    let print = "import sys; print('%d.%d' % sys.version_info[:2])";
    let output = Command::new(interpreter)
        .args(["-I", "-S", "-c", print])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    let printed = String::from_utf8(output.await.ok()?.stdout).ok()?;
    Some(printed.trim().to_owned())
}
