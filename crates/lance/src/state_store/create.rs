//! Creating an object that nobody else has created, where answers may be lost.

use std::time::Duration;

use bytes::Bytes;
use lance_backfill_ports::state_store::Created;
use object_store::path::Path;
use object_store::{Error, ObjectStore, PutMode, PutOptions};

/// Attempts; the object store's client makes several of its own in each, where the store says that it
/// did nothing.
pub(super) const MOST_ATTEMPTS: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// What is done about the error of an attempt.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// There is an object.
    AlreadyThere,
    /// Whether there is one is not known.
    Again,
    /// Another attempt would end alike.
    Final,
}

/// Creates an object unless there is one.
///
/// SUBTLE: The connection breaks after the store wrote the object: the next attempt finds it and says
/// `AlreadyThere`, which may then be our own write. S3 answers 409 while another request about the same
/// key is under way: we wrote nothing, and the other may be a deletion or fail, so that nothing need be
/// there. The client takes that for an object that is there. If we did so too, values that were never
/// written would be committed. Hence 409 is no answer but a reason to ask again.
pub(super) async fn create(
    store: &dyn ObjectStore,
    path: &Path,
    bytes: Bytes,
    most_attempts: u32,
) -> Result<Created, Error> {
    let mut pause = FIRST_PAUSE;
    let mut attempt = 1;
    loop {
        let options = PutOptions {
            mode: PutMode::Create,
            ..PutOptions::default()
        };
        let Err(error) = store.put_opts(path, bytes.clone().into(), options).await else {
            return Ok(Created::New);
        };
        match answer(&error) {
            Answer::AlreadyThere => return Ok(Created::AlreadyThere),
            Answer::Again if attempt < most_attempts => {
                tracing::debug!(%path, attempt, %error, "an object may not have been created");
            }
            Answer::Again | Answer::Final => return Err(error),
        }
        wait(pause).await;
        pause *= 4;
        attempt += 1;
    }
}

fn answer(error: &Error) -> Answer {
    // The client hides the status of an answer in the text of its error.
    const STATUS: &str = "status code: ";
    match error {
        Error::AlreadyExists { source, .. } if source.to_string().contains("status code: 409") => {
            Answer::Again
        }
        Error::AlreadyExists { .. } | Error::Precondition { .. } => Answer::AlreadyThere,
        // With a status it is an answer, after as many attempts as the client makes.
        Error::Generic { source, .. } if source.to_string().contains(STATUS) => Answer::Final,
        Error::Generic { .. } => Answer::Again,
        _ => Answer::Final,
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "waits for an object store, which no test can hurry"
)]
async fn wait(time: Duration) {
    tokio::time::sleep(time).await;
}
