//! The one error of all adapters and stages.

use std::error::Error as StdError;
use std::fmt;

use lance_backfill_core::format::FormatError;

/// Result with the one error.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong while doing what, and what the caller may do about it.
#[derive(Debug)]
pub struct Error {
    /// What the caller may do.
    pub kind: ErrorKind,
    /// What was attempted, and with what: a lower-case fragment for a person.
    pub context: String,
    /// What the layer below said.
    pub source: Option<Box<dyn StdError + Send + Sync>>,
}

/// Kinds of errors, by what the caller does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Definitely not done; may work later. Retry while the deadline allows.
    Unavailable,
    /// May have been done. Look before trying again.
    Indeterminate,
    /// Can never work as asked. Tell the user; nothing was changed.
    Invalid,
    /// Stored data contradicts what must hold. Stop and tell.
    Corrupt,
    /// A bug of ours. Stop and tell.
    Internal,
}

impl Error {
    /// An error without a source.
    pub fn new(kind: ErrorKind, context: impl Into<String>) -> Self {
        Self {
            kind,
            context: context.into(),
            source: None,
        }
    }

    /// The request can never work.
    pub fn invalid(context: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, context)
    }

    /// A bug of ours.
    pub fn internal(context: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, context)
    }

    /// Adds what the layer below said.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The chain as one line.
    pub fn one_line(&self) -> String {
        let mut line = self.context.clone();
        let mut next: Option<&(dyn StdError + 'static)> =
            self.source.as_deref().map(|source| source as _);
        while let Some(source) = next {
            let text = source.to_string();
            if !line.contains(&text) {
                line.push_str(": ");
                line.push_str(&text);
            }
            next = source.source();
        }
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.context)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl From<FormatError> for Error {
    fn from(error: FormatError) -> Self {
        let kind = match &error {
            FormatError::Newer { .. } => ErrorKind::Invalid,
            FormatError::Damaged { .. } => ErrorKind::Corrupt,
        };
        Self::new(kind, error.to_string())
    }
}
