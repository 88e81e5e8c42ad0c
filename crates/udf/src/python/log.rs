//! What a function prints: logged line by line with the batch it was printed for, and its end remembered.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

use super::redact::Redactor;

/// Lines that are remembered for whoever asks why a host died.
const REMEMBERED_LINES: usize = 40;
/// Bytes of a line that are kept.
const LONGEST_LINE: usize = 4_096;

/// The last lines of one host, and what it works on.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    batch: String,
    last: VecDeque<String>,
}

impl Log {
    /// Reads a host's output until it ends.
    pub(super) fn follow(
        &self,
        output: impl AsyncRead + Unpin + Send + 'static,
        function: String,
        redactor: Redactor,
    ) -> tokio::task::JoinHandle<()> {
        let log = self.clone();
        tokio::spawn(async move {
            let mut lines = BufReader::new(output);
            let mut bytes = vec![];
            while let Ok(read) = lines.read_until(b'\n', &mut bytes).await
                && read > 0
            {
                let kept = bytes
                    .get(..bytes.len().min(LONGEST_LINE))
                    .unwrap_or_default();
                let line = redactor.mask(String::from_utf8_lossy(kept).trim_end());
                let batch = log.push(line.clone());
                tracing::info!(target: "lance_backfill::function", function, batch, "{line}");
                bytes.clear();
            }
        })
    }

    /// Names what the host works on now.
    pub(super) fn at(&self, batch: &str) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.batch != batch {
            batch.clone_into(&mut state.batch);
        }
    }

    /// The last lines.
    pub(super) fn tail(&self) -> Option<String> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lines: Vec<&str> = state.last.iter().map(String::as_str).collect();
        (!lines.is_empty()).then(|| lines.join("\n"))
    }

    fn push(&self, line: String) -> String {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.last.len() >= REMEMBERED_LINES {
            state.last.pop_front();
        }
        state.last.push_back(line);
        state.batch.clone()
    }
}
