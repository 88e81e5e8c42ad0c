//! Exit codes, and the signals that end the program.

use std::process::ExitCode;

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

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Done => Self::SUCCESS,
            Exit::Failed => Self::from(1),
            Exit::BadInput => Self::from(2),
            Exit::Signal(number) => Self::from(128 + number),
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
