//! The programs that are measured: lance-backfill itself, and lancedb where it can be had.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::child::{self, Ran};
use crate::table::Table;

/// The real binary.
#[derive(Debug)]
pub(crate) struct LanceBackfill {
    binary: PathBuf,
    /// Locks of its sessions, apart from those of the user.
    cache: PathBuf,
}

impl LanceBackfill {
    /// The given binary, or the one beside this program.
    pub(crate) fn find(binary: Option<&Path>, scratch: &Path) -> Result<Self> {
        let binary = match binary {
            Some(binary) => binary.to_owned(),
            None => {
                let own = std::env::current_exe()?;
                own.parent().context("a folder")?.join("lance-backfill")
            }
        };
        ensure!(
            binary.is_file(),
            "'{}' is missing: build it with 'cargo build --release --workspace'",
            binary.display()
        );
        let cache = scratch.join("cache");
        Ok(Self { binary, cache })
    }

    /// A call that is not started yet.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .args(arguments)
            .arg("--cache")
            .arg(&self.cache)
            .arg("--json");
        command.env_remove("LANCE_BACKFILL_LOG");
        command
    }

    /// Declares a column, which is not part of any measurement.
    pub(crate) fn declare(
        &self,
        table: &Table,
        column: &str,
        sql: &str,
        more: &[&str],
    ) -> Result<()> {
        let uri = table.uri();
        let mut arguments = vec!["column", "add", &uri, column, "--sql", sql];
        arguments.extend(more);
        child::run(&mut self.command(&arguments))?;
        Ok(())
    }

    pub(crate) fn refresh(&self, table: &Table, more: &[&str]) -> Result<Refresh> {
        let uri = table.uri();
        let mut arguments = vec!["refresh", &uri];
        arguments.extend(more);
        let ran = child::run(&mut self.command(&arguments))?;
        let rows_assigned = ran.number("/columns/0/rows_assigned")?;
        let rows_remaining = ran.number("/columns/0/rows_remaining")?;
        ensure!(
            rows_remaining == 0.0,
            "a refresh left {rows_remaining} rows undone"
        );
        Ok(Refresh { ran, rows_assigned })
    }

    /// Seconds from starting the process to its end when it has nothing to do.
    pub(crate) fn start(&self) -> Result<f64> {
        let mut command = Command::new(&self.binary);
        Ok(child::run(command.arg("--version"))?.seconds)
    }
}

/// What a refresh did.
pub(crate) struct Refresh {
    pub(crate) ran: Ran,
    pub(crate) rows_assigned: f64,
}

/// The Python package lancedb.
#[derive(Debug)]
pub(crate) struct Lancedb {
    python: PathBuf,
    script: PathBuf,
    pub(crate) version: String,
}

impl Lancedb {
    /// The package as this interpreter has it; why not, if it does not.
    pub(crate) fn find(python: &Path, scratch: &Path) -> Result<Self> {
        let script = scratch.join("refresh_column.py");
        std::fs::write(&script, include_str!("../python/refresh_column.py"))?;
        let print = "import lancedb; print(lancedb.__version__)";
        let ran = child::run(Command::new(python).args(["-c", print]))?;
        Ok(Self {
            python: python.to_owned(),
            script,
            version: ran.stdout.trim().to_owned(),
        })
    }

    pub(crate) fn declare(&self, table: &Table, column: &str, sql: &str) -> Result<()> {
        self.call("declare", table, column, sql).map(|_| ())
    }

    pub(crate) fn refresh(&self, table: &Table, column: &str, sql: &str) -> Result<Ran> {
        self.call("refresh", table, column, sql)
    }

    fn call(&self, what: &str, table: &Table, column: &str, sql: &str) -> Result<Ran> {
        let folder = table.path.parent().context("a table lies in a folder")?;
        let name = table.path.file_stem().context("a table has a name")?;
        let mut command = Command::new(&self.python);
        command
            .arg(&self.script)
            .arg(what)
            .arg(folder)
            .arg(name)
            .arg(column)
            .arg(sql);
        child::run(&mut command)
    }
}
