//! Watching a host at work: how much memory it has, and whether it moves.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use super::limits::Limits;

/// How often a host is looked at: a runaway allocation gets about this far beyond its limit.
const LOOK: Duration = Duration::from_millis(10);
/// A scalar host outside of the function converts values; it may take this long at least.
const CONVERTING: Duration = Duration::from_secs(60);

#[expect(
    clippy::disallowed_methods,
    reason = "a host is watched by the time that passes for it"
)]
pub(super) fn now() -> Instant {
    Instant::now()
}

#[expect(
    clippy::disallowed_methods,
    reason = "waits for another process, which no test can hurry"
)]
pub(super) async fn wait(time: Duration) {
    tokio::time::sleep(time).await;
}

/// Why a host must be killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It had this much memory.
    Memory(u64),
    /// It did not move for so long.
    Hung(Duration),
}

/// The row that a scalar function is at, which its host keeps in a file.
pub(super) struct Marks {
    file: tempfile::NamedTempFile,
}

impl Marks {
    pub(super) fn create(folder: &std::path::Path) -> std::io::Result<Self> {
        let mut file = tempfile::Builder::new()
            .prefix("marks-")
            .tempfile_in(folder)?;
        std::io::Write::write_all(&mut file, &[0; 16])?;
        Ok(Self { file })
    }

    pub(super) fn path(&self) -> &std::path::Path {
        self.file.path()
    }

    /// Place of the row that a call is at.
    pub(super) fn row(&self, call: u64) -> Option<usize> {
        let (id, row) = read_marks(self.file.as_file())?;
        (id == call).then_some(row?)
    }
}

/// The call, and the place of its row unless the function is not at work.
fn read_marks(file: &File) -> Option<(u64, Option<usize>)> {
    let mut bytes = [0; 16];
    file.read_exact_at(&mut bytes, 0).ok()?;
    let (id, row) = bytes.split_at(8);
    let row = u64::from_ne_bytes(row.try_into().ok()?);
    let row = usize::try_from(row).ok()?.checked_sub(1);
    Some((u64::from_ne_bytes(id.try_into().ok()?), row))
}

/// Returns when the host exceeds a limit; never if there is none.
pub(super) async fn watch(pid: u32, marks: Option<&Marks>, call: u64, limits: &Limits) -> Verdict {
    if limits.memory_bytes.is_none() && limits.row_timeout.is_none() {
        return std::future::pending().await;
    }
    let look = match limits.row_timeout {
        Some(timeout) => LOOK.min(timeout / 4).max(Duration::from_millis(1)),
        None => LOOK,
    };
    let mut seen = None;
    let mut since = now();
    loop {
        wait(look).await;
        if let (Some(most), Some(found)) = (limits.memory_bytes, resident_bytes(pid))
            && found > most
        {
            return Verdict::Memory(found);
        }
        if let Some(timeout) = limits.row_timeout {
            let row = marks.and_then(|marks| marks.row(call));
            if row != seen {
                (seen, since) = (row, now());
            }
            let most = match (marks, row) {
                (Some(_), None) => timeout.max(CONVERTING),
                _ => timeout,
            };
            let still = since.elapsed();
            if still > most {
                return Verdict::Hung(still);
            }
        }
    }
}

/// Resident memory of a process, where the system tells.
pub(super) fn resident_bytes(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
