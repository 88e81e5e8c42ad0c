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
    store_error(kind, doing, one_line(&error))
}

/// Where an object store's text says what is wrong, ours says what to do.
const ADVICE: [(&[&str], &str); 4] = [
    (&["NoSuchBucket"], "there is no such bucket: check the path"),
    (
        &[
            "Failed to get AWS credentials",
            "InvalidAccessKeyId",
            "SignatureDoesNotMatch",
            "ExpiredToken",
            "InvalidToken",
        ],
        "no valid credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give them with --storage-option",
    ),
    (
        &["AccessDenied", "403 Forbidden"],
        "no permission: these credentials must be allowed to read and write the table",
    ),
    (
        &["error sending request", "dns error"],
        "the object store cannot be reached: check the network and the endpoint",
    ),
];
/// Characters of an object store's text that follow our advice: it may hold whole documents, and more
/// than a line or two nobody reads.
const MOST_OF_TEXT: usize = 200;

fn store_error(kind: ErrorKind, doing: &str, text: String) -> Error {
    let known = ADVICE
        .iter()
        .find(|(signs, _)| signs.iter().any(|sign| text.contains(sign)));
    let Some((signs, advice)) = known else {
        return Error::new(kind, doing).with_source(text);
    };
    let mut told: String = text.chars().take(MOST_OF_TEXT).collect();
    if told.len() < text.len() {
        told.push('…');
    }
    // Buckets do not vanish in the middle of work: this one was never there.
    let kind = match kind {
        ErrorKind::Unavailable if signs.contains(&"NoSuchBucket") => ErrorKind::Invalid,
        kind => kind,
    };
    Error::new(kind, doing).with_source(format!("{advice} ({told})"))
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
    store_error(kind, doing, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_errors_of_object_stores_say_what_to_do_and_no_more_than_a_line() {
        for (signs, advice) in ADVICE {
            for sign in signs {
                let document = "é".repeat(999);
                let text = format!("oh: {sign} <Error>{document}</Error>");
                let error = store_error(ErrorKind::Indeterminate, "cannot open 't'", text.clone());
                assert_eq!(error.kind, ErrorKind::Indeterminate, "what is known stays");
                let line = error.one_line();
                let start = format!("cannot open 't': {advice} (");
                assert!(line.starts_with(&start), "{line}");
                assert!(line.chars().count() < 450, "{line}");
                let kind = store_error(ErrorKind::Unavailable, "cannot open 't'", text).kind;
                assert_eq!(kind == ErrorKind::Invalid, *sign == "NoSuchBucket");
            }
        }
        let error = store_error(
            ErrorKind::Internal,
            "cannot open 't'",
            "who knows".to_owned(),
        );
        assert_eq!(error.one_line(), "cannot open 't': who knows");
        assert_eq!(error.kind, ErrorKind::Internal);
    }
}
