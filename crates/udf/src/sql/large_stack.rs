//! Work on a stack that is large enough whatever the caller's is.

use super::error::SqlError;
use super::guard::{caught, panic_message};

/// The bytes of the stack; only what is used of it takes memory.
const STACK: usize = 64 * 1024 * 1024;

/// What `work` returns, on a thread of its own with a large stack.
///
/// Planning recurses into an expression with some ten kilobytes a level, in more places than
/// DataFusion's own protection covers, so that an expression of the permitted depth overflows the two
/// megabytes of a usual thread.
pub(super) fn on_large_stack<T: Send>(
    work: impl FnOnce() -> Result<T, SqlError> + Send,
) -> Result<T, SqlError> {
    let failed = |message: &str| SqlError::NotCompiled {
        message: message.to_owned(),
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("sql-compile".to_owned())
            .stack_size(STACK)
            .spawn_scoped(scope, || caught(work))
            .map_err(|error| failed(&format!("no thread could be started ({error})")))?;
        match thread.join() {
            Ok(Ok(result)) => result,
            Ok(Err(payload)) | Err(payload) => Err(failed(panic_message(payload.as_ref()))),
        }
    })
}
