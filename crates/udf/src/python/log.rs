//! What a function prints: logged line by line with the batch it was printed for, and its end remembered.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt};

use super::redact::Redactor;

/// Lines that are remembered for whoever asks why a host died.
const REMEMBERED_LINES: usize = 40;
/// Characters of a line that are kept.
const LONGEST_LINE: usize = 4_096;
/// Bytes of a line that are waited for: longer ones are told in pieces.
const LONGEST_HELD: usize = 1 << 20;

/// Cuts output into lines; a progress bar goes back with a carriage return, and may never end its line.
#[derive(Default)]
struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    fn add(&mut self, bytes: &[u8], tell: &impl Fn(&[u8])) {
        for &byte in bytes {
            match byte {
                b'\n' | b'\r' => self.end(tell),
                _ => self.begun.push(byte),
            }
            if self.begun.len() >= LONGEST_HELD {
                self.end(tell);
            }
        }
    }

    fn end(&mut self, tell: &impl Fn(&[u8])) {
        if !self.begun.is_empty() {
            tell(&self.begun);
            self.begun.clear();
        }
    }
}

/// As much of a line as is kept; cut after its secrets were masked, so that no half of one is left.
fn short(line: &str) -> String {
    match line.char_indices().nth(LONGEST_LINE) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line.to_owned(),
    }
}

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
            let mut output = output;
            let mut lines = Lines::default();
            let mut bytes = vec![0; 16 << 10];
            let tell = |line: &[u8]| {
                let line = short(&redactor.mask(String::from_utf8_lossy(line).trim_end()));
                let batch = log.push(line.clone());
                tracing::info!(target: "lance_backfill::function", function, batch, "{line}");
            };
            while let Ok(read) = output.read(&mut bytes).await
                && read > 0
            {
                lines.add(bytes.get(..read).unwrap_or_default(), &tell);
            }
            lines.end(&tell);
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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn lines_end_at_each_break_and_none_grows_without_end() {
        let told = RefCell::new(vec![]);
        let tell = |line: &[u8]| told.borrow_mut().push(line.len());
        let mut lines = Lines::default();
        for part in [&b"one\ntw"[..], b"o\r\n\n", b"10%\r20%\r", b"rest"] {
            lines.add(part, &tell);
        }
        lines.end(&tell);
        assert_eq!(told.take(), [3, 3, 3, 3, 4]);
        lines.add(&vec![b'x'; 3 * LONGEST_HELD / 2], &tell);
        lines.end(&tell);
        assert_eq!(told.take(), [LONGEST_HELD, LONGEST_HELD / 2]);
    }

    #[tokio::test]
    async fn what_is_printed_without_an_end_is_told_and_masked_before_it_is_cut() {
        let secrets = [("KEY".to_owned(), "s3cr3t-value".to_owned())];
        let redactor = Redactor::new(&secrets.into());
        let log = Log::default();
        let line = format!("{}s3cr3t-value", "x".repeat(LONGEST_LINE - 4));
        let output = std::io::Cursor::new(line.into_bytes());
        let followed = log.follow(output, "f".to_owned(), redactor);
        followed.await.expect("it ends");
        let told = log.tail().expect("a line");
        assert!(told.ends_with("x***"), "{}", &told[told.len() - 20..]);
    }
}
