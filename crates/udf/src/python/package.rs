//! The Python package that the binary carries, written out once for each state of its files.

use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Path below the package, and contents.
const FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/package.rs"));

/// Digest of all files: hosts and workers of one digest speak the same protocol.
fn digest() -> String {
    let mut digest = Sha256::new();
    for (name, contents) in FILES {
        for part in [name.as_bytes(), contents] {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
    }
    hex(&digest.finalize()).chars().take(16).collect()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The folder `lance_backfill` with all files, below a cache folder.
///
/// Idempotent: the folder is written aside and renamed, and the first of several writers stands.
pub(super) fn install(cache: &Path) -> io::Result<PathBuf> {
    let home = cache.join(format!("package-{}", digest()));
    let package = home.join("lance_backfill");
    if package.is_dir() {
        return Ok(package);
    }
    std::fs::create_dir_all(cache)?;
    let draft = tempfile::Builder::new()
        .prefix("draft-")
        .tempdir_in(cache)?;
    for (name, contents) in FILES {
        let path = draft.path().join("lance_backfill").join(name);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(path, contents)?;
    }
    settle(draft, &home)?;
    Ok(package)
}

/// Gives a finished draft its name; somebody else's finished one is as good.
pub(super) fn settle(draft: tempfile::TempDir, home: &Path) -> io::Result<()> {
    match std::fs::rename(draft.path(), home) {
        Ok(()) => {
            // It has another name now, and is not to be removed.
            let _ = draft.keep();
            Ok(())
        }
        Err(_) if home.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_package_is_written_once_and_whole() {
        let cache = tempfile::tempdir().expect("a folder");
        let package = install(cache.path()).expect("written");
        for (name, contents) in FILES {
            assert_eq!(
                std::fs::read(package.join(name)).expect("a file"),
                *contents
            );
        }
        assert!(package.join("launch.py").is_file());
        assert_eq!(install(cache.path()).expect("found"), package);
        assert_eq!(
            std::fs::read_dir(cache.path()).expect("a folder").count(),
            1
        );
    }
}
