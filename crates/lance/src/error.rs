//! From Lance's errors to ours, in one place.

use lance::Error as LanceError;
use lance_backfill_ports::{Error, ErrorKind};

/// How a failed commit ended.
pub(crate) enum CommitFailure {
    /// Another commit touched the same place; nothing landed.
    Conflict(String),
    /// The answer was lost.
    MaybeLanded,
    /// Something else.
    Failed(Error),
}

/// Sorts the error of a commit.
pub(crate) fn commit_failure(error: LanceError, doing: &str) -> CommitFailure {
    if error.is_commit_status_unknown() {
        return CommitFailure::MaybeLanded;
    }
    match &error {
        LanceError::RetryableCommitConflict { .. }
        | LanceError::IncompatibleTransaction { .. }
        | LanceError::CommitConflict { .. }
        | LanceError::TooMuchWriteContention { .. }
        | LanceError::VersionConflict { .. } => CommitFailure::Conflict(one_line(&error)),
        // A replacement that changes nothing: somebody published the very same file.
        LanceError::InvalidInput { .. } if error.to_string().contains("no changes were made") => {
            CommitFailure::Conflict(one_line(&error))
        }
        _ => CommitFailure::Failed(from_lance(error, doing)),
    }
}

/// Any other error of Lance while doing something.
pub(crate) fn from_lance(error: LanceError, doing: &str) -> Error {
    let kind = match &error {
        LanceError::DatasetNotFound { .. }
        | LanceError::NotFound { .. }
        | LanceError::InvalidInput { .. }
        | LanceError::InvalidTableLocation { .. }
        | LanceError::NotSupported { .. }
        | LanceError::SchemaMismatch { .. }
        | LanceError::Schema { .. }
        | LanceError::DatasetAlreadyExists { .. }
        | LanceError::VersionNotFound { .. } => ErrorKind::Invalid,
        LanceError::CorruptFile { .. } => ErrorKind::Corrupt,
        LanceError::Internal { .. } => ErrorKind::Internal,
        _ if error.is_commit_status_unknown() => ErrorKind::Indeterminate,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, doing).with_source(one_line(&error))
}

/// The message without the place in Lance's source where it arose.
fn one_line(error: &LanceError) -> String {
    let text = error.to_string();
    let end = text
        .find(", /")
        .filter(|at| text[*at..].contains(".rs:"))
        .unwrap_or(text.len());
    text[..end].split_whitespace().collect::<Vec<_>>().join(" ")
}

/// An object store's error while doing something.
pub(crate) fn from_object_store(error: object_store::Error, doing: &str) -> Error {
    use object_store::Error as StoreError;
    let kind = match &error {
        StoreError::PermissionDenied { .. }
        | StoreError::Unauthenticated { .. }
        | StoreError::InvalidPath { .. }
        | StoreError::NotSupported { .. }
        | StoreError::UnknownConfigurationKey { .. } => ErrorKind::Invalid,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, doing).with_source(error)
}
