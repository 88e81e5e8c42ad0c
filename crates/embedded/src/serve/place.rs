//! A path that was given: a table, or a folder of tables, here or in an object store.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind as IoErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lance_backfill_lance::{OpenOptions, Places};
use lance_backfill_ports::{Error, ErrorKind, Result};

use super::watch::Watcher;

/// An object store charges for listings, one for each table below a place.
const LEAST_REMOTE_SCAN_MS: u64 = 60_000;
/// Lance keeps one file for each version of a table in this folder.
pub(super) const VERSIONS: &str = "_versions";
/// The end of such a file's name.
pub(super) const MANIFEST: &str = ".manifest";

/// A path that was given.
pub(super) enum Place {
    /// On this machine.
    Local {
        /// As the user wrote it; tables below it are named after it.
        given: String,
        root: PathBuf,
    },
    /// In an object store.
    Remote { given: String, places: Places },
}

impl Place {
    /// `Invalid` if there is nothing.
    pub(super) async fn reach(given: &str, options: &OpenOptions) -> Result<Self> {
        let nothing = || {
            Error::invalid(format!(
                "there is neither a table nor a folder at '{given}': check the path"
            ))
        };
        if let Some(root) = local_path(given) {
            let found = fs::metadata(&root).map_err(|error| nothing().with_source(error))?;
            if !found.is_dir() {
                return Err(nothing());
            }
            return Ok(Self::Local {
                given: given.to_owned(),
                root,
            });
        }
        let places = Places::reach(given, options).await?;
        if places.tables().await?.is_empty() {
            return Err(Error::invalid(format!(
                "there is no table at or below '{given}': check the URI"
            )));
        }
        Ok(Self::Remote {
            given: given.to_owned(),
            places,
        })
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Self::Local { given, .. } | Self::Remote { given, .. } => given,
        }
    }

    /// How often it is scanned without an event.
    pub(super) fn scan_ms(&self, poll: Duration) -> u64 {
        let poll_ms = u64::try_from(poll.as_millis()).unwrap_or(u64::MAX);
        match self {
            Self::Local { .. } => poll_ms,
            Self::Remote { .. } => poll_ms.max(LEAST_REMOTE_SCAN_MS),
        }
    }

    /// The table here, or those directly below; asks for events on all that may change the answer.
    pub(super) async fn tables(
        &self,
        index: usize,
        watcher: &mut Watcher,
    ) -> Result<BTreeSet<String>> {
        match self {
            Self::Remote { places, .. } => Ok(places.tables().await?.into_iter().collect()),
            Self::Local { given, root } => {
                local_tables(given, root, index, watcher).map_err(|error| {
                    Error::new(ErrorKind::Unavailable, format!("cannot list '{given}'"))
                        .with_source(error)
                })
            }
        }
    }
}

fn local_path(given: &str) -> Option<PathBuf> {
    match given.split_once("://") {
        Some(("file", path)) => Some(PathBuf::from(path)),
        Some(_) => None,
        None => Some(PathBuf::from(given)),
    }
}

/// SUBTLE: a folder is watched before it is read. Read first, and a table that appears between the
/// two is found by neither; this way it is found by one of them, or by both, which is harmless.
fn local_tables(
    given: &str,
    root: &Path,
    index: usize,
    watcher: &mut Watcher,
) -> std::io::Result<BTreeSet<String>> {
    watcher.watch_folder(index, root);
    if is_table(given, root, index, watcher)? {
        return Ok(BTreeSet::from([given.to_owned()]));
    }
    let mut tables = BTreeSet::new();
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        // It may come back; until then it holds nothing.
        Err(error) if error.kind() == IoErrorKind::NotFound => return Ok(tables),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        // Lance's own folders, ours, and hidden ones.
        if name.starts_with(['.', '_']) || !entry.path().is_dir() {
            continue;
        }
        let table = format!("{}/{name}", given.trim_end_matches('/'));
        watcher.watch_folder(index, &entry.path());
        // A folder that we may not read is no reason to overlook the others.
        if is_table(&table, &entry.path(), index, watcher).unwrap_or(false) {
            tables.insert(table);
        }
    }
    Ok(tables)
}

/// Whether the folder has a version of a table; its versions are watched from now on.
fn is_table(
    name: &str,
    folder: &Path,
    index: usize,
    watcher: &mut Watcher,
) -> std::io::Result<bool> {
    let versions = folder.join(VERSIONS);
    watcher.watch_versions(name, index, &versions);
    let entries = match fs::read_dir(&versions) {
        Ok(entries) => entries,
        Err(error)
            if matches!(
                error.kind(),
                IoErrorKind::NotFound | IoErrorKind::NotADirectory
            ) =>
        {
            return Ok(false);
        }
        Err(error) => return Err(error),
    };
    for entry in entries {
        if entry?.file_name().to_string_lossy().ends_with(MANIFEST) {
            return Ok(true);
        }
    }
    Ok(false)
}
