//! Exit codes, and the signals that end the program.

use std::io::Write;
use std::sync::{Mutex, PoisonError};

use lance_backfill_ports::{Error, ErrorKind};

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Nothing is left to do.
    Done,
    /// Failed, held, or the error budget is exceeded.
    Failed,
    /// Bad input; nothing was changed.
    BadInput,
    /// Stopped by this signal.
    Signal(u8),
}

impl Exit {
    const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::BadInput => 2,
            Self::Signal(number) => 128 + number,
        }
    }
}

impl From<&Error> for Exit {
    fn from(error: &Error) -> Self {
        match error.kind {
            ErrorKind::Invalid => Self::BadInput,
            ErrorKind::Unavailable
            | ErrorKind::Indeterminate
            | ErrorKind::Corrupt
            | ErrorKind::Internal => Self::Failed,
        }
    }
}

/// Ends the process without taking its memory apart, which the system does in a fifth of the time.
///
/// It is `_exit`, for which this crate has a safe wrapper: nothing is called at exit.
pub(crate) fn leave(exit: Exit) -> ! {
    // What cannot be printed any more has nobody to tell.
    let _ = std::io::stdout().flush();
    signal_hook::low_level::exit(exit.code().into())
}

/// What becomes of the work if a signal ends this program now, where a command has said so.
static LEFT_BEHIND: Mutex<Option<String>> = Mutex::new(None);

/// Says what a signal leaves behind from now on.
pub(crate) fn leave_behind(line: Option<String>) {
    *LEFT_BEHIND.lock().unwrap_or_else(PoisonError::into_inner) = line;
}

/// What a command said of that.
pub(crate) fn left_behind() -> Option<String> {
    (LEFT_BEHIND.lock().unwrap_or_else(PoisonError::into_inner)).take()
}

/// Waits for Ctrl-C or SIGTERM.
pub(crate) async fn signal() -> Exit {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            return tokio::select! {
                _ = tokio::signal::ctrl_c() => Exit::Signal(2),
                _ = terminate.recv() => Exit::Signal(15),
            };
        }
    }
    match tokio::signal::ctrl_c().await {
        Ok(()) => Exit::Signal(2),
        Err(_) => std::future::pending().await,
    }
}
