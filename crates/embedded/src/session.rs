//! An embedded session: a lock file that is held for as long as the process lives.
//!
//! Another process on this machine that finds the lock free knows that the session is dead and
//! takes its open batches over at once; elsewhere their deadline decides.

use std::fs::File;
use std::path::PathBuf;

use lance_backfill_ports::{Error, ErrorKind, Result};

/// Age of a free lock that nobody needs any more: far above a batch's deadline.
const SWEEP_AFTER: std::time::Duration = std::time::Duration::from_secs(7 * 24 * 3_600);

/// Names the folder, and so this machine's part of it: a lock that is not in it is gone.
const FOLDER_NAME: &str = "name";

/// The lock of one process.
pub(crate) struct Session {
    /// Name of the folder and a random token; written into ledger entries.
    pub(crate) id: String,
    folder: PathBuf,
    _lock: File,
}

/// What is known of another session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Liveness {
    /// It holds its lock.
    Alive,
    /// Its lock is free: the process is gone.
    Dead,
    /// Its lock is not on this machine.
    Elsewhere,
}

impl Session {
    /// Takes the lock of a new session; `name` is for a folder that has none.
    pub(crate) fn start(token: &str, name: &str, folder: PathBuf) -> Result<Self> {
        let failed = |error: std::io::Error| {
            Error::new(ErrorKind::Invalid, format!("cannot keep a session lock in '{}': set LANCE_BACKFILL_CACHE to a folder that you can write", folder.display()))
                .with_source(error)
        };
        std::fs::create_dir_all(&folder).map_err(failed)?;
        sweep(&folder);
        let name = folder_name(&folder, name).map_err(failed)?;
        let id = format!("{name}-{token}");
        let lock = File::create(folder.join(lock_name(&id))).map_err(failed)?;
        lock.lock().map_err(failed)?;
        Ok(Self {
            id,
            folder,
            _lock: lock,
        })
    }

    /// Whether another session lives.
    pub(crate) fn look(&self, id: &str) -> Liveness {
        if id == self.id {
            return Liveness::Alive;
        }
        let path = self.folder.join(lock_name(id));
        let Ok(lock) = File::open(&path) else {
            let folder = |id: &str| id.split_once('-').map(|(name, _)| name.to_owned());
            return match folder(id).is_some() && folder(id) == folder(&self.id) {
                // It lay here, and goes only when nothing of the session is open or its time is long up.
                true => Liveness::Dead,
                false => Liveness::Elsewhere,
            };
        };
        match lock.try_lock() {
            Ok(()) => Liveness::Dead,
            Err(_) => Liveness::Alive,
        }
    }

    /// Removes the lock file: called when no batch of this session is open any more.
    pub(crate) fn forget(&self) {
        // A file that stays behind is free, which says the same.
        let _ = std::fs::remove_file(self.folder.join(lock_name(&self.id)));
    }
}

/// The folder's name, given to it by whoever comes first.
fn folder_name(folder: &std::path::Path, new: &str) -> std::io::Result<String> {
    let path = folder.join(FOLDER_NAME);
    loop {
        match std::fs::read_to_string(&path) {
            Ok(name) if !name.is_empty() => return Ok(name),
            Ok(_) => std::fs::remove_file(&path)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        // Written aside and linked: nobody sees half a name, and the first stands.
        let draft = folder.join(format!("{FOLDER_NAME}.{new}"));
        std::fs::write(&draft, new)?;
        let linked = std::fs::hard_link(&draft, &path);
        std::fs::remove_file(&draft)?;
        match linked {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
}

/// Removes locks of sessions that died long ago: their batches are past every deadline.
fn sweep(folder: &std::path::Path) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    let locks = |entry: &std::fs::DirEntry| entry.file_name() != FOLDER_NAME;
    for entry in entries.flatten().filter(locks) {
        let old = entry
            .metadata()
            .and_then(|found| found.modified())
            .is_ok_and(|modified| modified.elapsed().is_ok_and(|age| age > SWEEP_AFTER));
        let free = old && File::open(entry.path()).is_ok_and(|lock| lock.try_lock().is_ok());
        if free {
            // Somebody else may have swept it already.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

fn lock_name(id: &str) -> String {
    format!("{id}.lock")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_tells_the_living_from_the_dead() {
        let folder =
            std::env::temp_dir().join(format!("lance-backfill-session-{}", std::process::id()));
        let start = |token| Session::start(token, "here", folder.clone()).expect("starts");
        let watcher = start("watcher");
        let other = start("other");
        assert_eq!(other.id, "here-other");
        assert_eq!(watcher.look("here-other"), Liveness::Alive);
        assert_eq!(watcher.look("there-other"), Liveness::Elsewhere);
        drop(other);
        assert_eq!(watcher.look("here-other"), Liveness::Dead);
        let third = start("third");
        third.forget();
        assert_eq!(watcher.look("here-third"), Liveness::Dead);
        drop(watcher);
        std::fs::remove_dir_all(folder).expect("removes");
    }
}
