//! An embedded session: a lock file that is held for as long as the process lives.
//!
//! Another process on this machine that finds the lock free knows that the session is dead and
//! takes its open batches over at once; elsewhere their deadline decides.

use std::fs::File;
use std::path::PathBuf;

use lance_backfill_ports::{Error, ErrorKind, Result};

/// Age of a free lock that nobody needs any more: far above a batch's deadline.
const SWEEP_AFTER: std::time::Duration = std::time::Duration::from_secs(7 * 24 * 3_600);

/// The lock of one process.
pub(crate) struct Session {
    /// Random id, written into ledger entries.
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
    /// Takes the lock of a new session.
    pub(crate) fn start(id: String, folder: PathBuf) -> Result<Self> {
        let failed = |error: std::io::Error| {
            Error::new(ErrorKind::Invalid, format!("cannot keep a session lock in '{}': set LANCE_BACKFILL_CACHE to a folder that you can write", folder.display()))
                .with_source(error)
        };
        std::fs::create_dir_all(&folder).map_err(failed)?;
        sweep(&folder);
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
            return Liveness::Elsewhere;
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

/// Removes locks of sessions that died long ago: their batches are past every deadline.
fn sweep(folder: &std::path::Path) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
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
        let watcher = Session::start("watcher".to_owned(), folder.clone()).expect("starts");
        let other = Session::start("other".to_owned(), folder.clone()).expect("starts");
        assert_eq!(watcher.look("other"), Liveness::Alive);
        assert_eq!(watcher.look("nobody"), Liveness::Elsewhere);
        drop(other);
        assert_eq!(watcher.look("other"), Liveness::Dead);
        drop(watcher);
        std::fs::remove_dir_all(folder).expect("removes");
    }
}
