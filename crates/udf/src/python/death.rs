//! How a host died, and waiting for it.

use std::time::Duration;

use tokio::process::Child;

use super::process::Process;
use super::watch::wait;

/// How often a host whose pipes stay open is looked for.
const LOOK_FOR_DEATH: Duration = Duration::from_millis(100);
/// How long a dying host may take to be gone.
pub(super) const REAP: Duration = Duration::from_secs(5);

/// Returns when a process is gone; it is not asked in the first moment, in which most calls are over.
pub(super) async fn gone(child: &mut Child) {
    loop {
        wait(LOOK_FOR_DEATH).await;
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
    }
}

/// How a host died.
pub(super) struct Death {
    pub(super) kind: &'static str,
    pub(super) text: String,
    /// Somebody else's kill, as of a system that runs out of memory: perhaps no row is to blame.
    pub(super) from_outside: bool,
}

/// Waits until a host is gone, which it should be by itself, and ends what it leaves behind.
pub(super) async fn reap(process: &mut Process) -> Death {
    use std::os::unix::process::ExitStatusExt;
    let ended = tokio::time::timeout(REAP, process.child.wait()).await;
    process.kill();
    let status = match ended {
        Ok(Ok(status)) => status,
        // It closed its pipes and lived on: it is of no use any more.
        _ => {
            let _ = tokio::time::timeout(REAP, process.child.wait()).await;
            return Death {
                kind: "crashed",
                text: "closed its pipes".to_owned(),
                from_outside: false,
            };
        }
    };
    match (status.signal(), status.code()) {
        (Some(9), _) => Death {
            kind: "killed",
            text: "was killed by signal 9, as the system does when memory runs out".to_owned(),
            from_outside: true,
        },
        (Some(signal), _) => Death {
            kind: "crashed",
            text: format!("was ended by signal {signal}{}", name_of(signal)),
            from_outside: signal == 15,
        },
        (None, code) => Death {
            kind: "exited",
            text: format!("exited with code {}", code.unwrap_or_default()),
            from_outside: false,
        },
    }
}

fn name_of(signal: i32) -> &'static str {
    match signal {
        4 => " (illegal instruction)",
        6 => " (abort)",
        7 => " (bus error)",
        8 => " (arithmetic error)",
        11 => " (segmentation fault)",
        15 => " (terminated)",
        _ => "",
    }
}
