//! Which files of a table a process opens, from a trace of its system calls.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::child;

/// What a file of a table is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Manifest,
    Snapshot,
    Ledger,
    Checkpoint,
    Coverage,
    Data,
    Transaction,
    VersionHint,
    Listing,
    Other,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::Snapshot => "coverage snapshot",
            Self::Ledger => "plan ledger",
            Self::Checkpoint => "checkpoint manifest",
            Self::Coverage => "coverage record",
            Self::Data => "data file",
            Self::Transaction => "transaction",
            Self::VersionHint => "hint at the newest version",
            Self::Listing => "folder listed",
            Self::Other => "other",
        }
    }

    fn of(path: &str, listing: bool) -> Self {
        let parts: Vec<&str> = path.split('/').collect();
        match parts.as_slice() {
            _ if listing => Self::Listing,
            ["_versions", "latest_version_hint.json"] => Self::VersionHint,
            ["_versions", ..] => Self::Manifest,
            ["_transactions", ..] => Self::Transaction,
            ["data", ..] => Self::Data,
            ["_backfill", _, "snapshot", ..] => Self::Snapshot,
            ["_backfill", _, "ledger", ..] => Self::Ledger,
            ["_backfill", _, "checkpoints", ..] => Self::Checkpoint,
            ["_backfill", _, "coverage", ..] => Self::Coverage,
            _ => Self::Other,
        }
    }
}

/// Different files opened below the table, by kind; why not, if it cannot be counted here.
pub(crate) fn count(
    command: &Command,
    table: &Path,
) -> Result<Result<BTreeMap<Kind, usize>, String>> {
    if !Command::new("strace")
        .arg("-V")
        .output()
        .is_ok_and(|found| found.status.success())
    {
        return Ok(Err("strace is not installed".to_owned()));
    }
    let folder = tempfile::tempdir()?;
    let log = folder.path().join("trace");
    let mut traced = Command::new("strace");
    traced
        .args(["-f", "-qq", "-s", "4096", "-e", "trace=open,openat", "-o"])
        .arg(&log)
        .arg(command.get_program())
        .args(command.get_args());
    if let Err(error) = child::run(&mut traced) {
        return Ok(Err(format!("strace does not work here: {error:#}")));
    }
    let trace = fs::read_to_string(&log).context("cannot read the trace")?;
    Ok(Ok(by_kind(&trace, table)))
}

fn by_kind(trace: &str, table: &Path) -> BTreeMap<Kind, usize> {
    let root = format!("{}/", table.display());
    let mut opened: BTreeMap<(Kind, String), usize> = BTreeMap::new();
    // A call that another thread interrupts is cut in two; the first half has the path.
    for line in trace.lines().filter(|line| !line.contains("= -1 ")) {
        let Some(path) = line.split('"').nth(1) else {
            continue;
        };
        let listing = line.contains("O_DIRECTORY");
        if let Some(below) = path.strip_prefix(&root) {
            *opened
                .entry((Kind::of(below, listing), below.to_owned()))
                .or_default() += 1;
        }
    }
    let mut counts = BTreeMap::new();
    for ((kind, _), _) in opened {
        *counts.entry(kind).or_default() += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opened_files_are_told_apart_and_counted_once() {
        let trace = r#"
12 openat(AT_FDCWD, "/t/x.lance/_versions/18446744073709551613.manifest", O_RDONLY|O_CLOEXEC) = 9
13 openat(AT_FDCWD, "/t/x.lance/_versions/18446744073709551613.manifest", O_RDONLY|O_CLOEXEC <unfinished ...>
12 openat(AT_FDCWD, "/t/x.lance/_versions", O_RDONLY|O_DIRECTORY) = 9
12 openat(AT_FDCWD, "/t/x.lance/_backfill/b1/ledger/0001.json", O_RDONLY) = 10
12 openat(AT_FDCWD, "/t/x.lance/_backfill/b1/ledger/0002.json", O_RDONLY) = -1 ENOENT (No such file)
12 openat(AT_FDCWD, "/t/x.lance/data/1.lance", O_RDONLY) = 10
12 openat(AT_FDCWD, "/etc/hosts", O_RDONLY) = 10
"#;
        let counts = by_kind(trace, Path::new("/t/x.lance"));
        let expected = [
            (Kind::Manifest, 1),
            (Kind::Ledger, 1),
            (Kind::Data, 1),
            (Kind::Listing, 1),
        ];
        assert_eq!(counts, expected.into_iter().collect());
    }
}
