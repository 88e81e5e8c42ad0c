//! Where the demo's table is.

use std::path::{Path, PathBuf};

use lance_backfill_ports::{Error, ErrorKind, Result};
use tempfile::TempDir;

use super::TABLE;

/// The folder of the table: removed at the end, or the user's.
pub(super) enum Place {
    Temporary(TempDir),
    Kept(PathBuf),
}

impl Place {
    pub(super) fn new(keep: Option<&Path>) -> Result<Self> {
        match keep {
            None => TempDir::with_prefix("lance-backfill-demo-")
                .map(Self::Temporary)
                .map_err(|error| {
                    Error::new(ErrorKind::Invalid, "cannot create a temporary folder: set TMPDIR to one that you can write, or give --keep FOLDER")
                        .with_source(error)
                }),
            Some(folder) => match std::fs::create_dir(folder) {
                Ok(()) => Ok(Self::Kept(folder.to_owned())),
                Err(error) => Err(Error::invalid(format!(
                    "cannot create folder '{}': --keep needs a new folder in one that exists",
                    folder.display()
                ))
                .with_source(error)),
            },
        }
    }

    pub(super) fn table(&self) -> PathBuf {
        match self {
            Self::Temporary(folder) => folder.path().join(TABLE),
            Self::Kept(folder) => folder.join(TABLE),
        }
    }
}
