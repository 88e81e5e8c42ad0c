//! Progress on stderr: a bar for a person, lines of JSON for a program that asks, nothing for a pipe.

use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use lance_backfill_embedded::converge::Progress;

use crate::args::ProgressArgument;
use crate::output;

/// Lines of JSON for a program come no faster than this.
const BETWEEN_LINES: Duration = Duration::from_millis(200);

/// What the command line asked for.
static ASKED: OnceLock<ProgressArgument> = OnceLock::new();

/// Chooses once, at start, what is said of progress.
pub(crate) fn choose(progress: ProgressArgument) {
    // Only the first choice counts, and there is one.
    let _ = ASKED.set(progress);
}

/// Draws a bar per column while somebody watches.
pub(crate) struct Bar {
    watched: bool,
    /// When the last line of JSON was written, if there are any.
    lines: Option<Mutex<Option<Instant>>>,
    bar: Mutex<Option<(String, ProgressBar)>>,
    noted: Mutex<String>,
    /// Of the job that is followed.
    failed: Mutex<Option<u64>>,
}

impl Bar {
    pub(crate) fn new() -> Self {
        Self {
            watched: output::is_watched() && ASKED.get() == Some(&ProgressArgument::Auto),
            lines: (ASKED.get() == Some(&ProgressArgument::Json)).then(Mutex::default),
            bar: Mutex::new(None),
            noted: Mutex::new(String::new()),
            failed: Mutex::default(),
        }
    }

    pub(crate) fn finish(&self) {
        if let Ok(mut bar) = self.bar.lock()
            && let Some((_, bar)) = bar.take()
        {
            bar.finish_and_clear();
        }
    }
}

impl Bar {
    /// How far a job is that somebody else works on.
    pub(crate) fn job(&self, column: &str, done: u64, failed: u64, total: u64) {
        if let Ok(mut known) = self.failed.lock() {
            *known = Some(failed);
        }
        self.rows(column, done + failed, total);
    }

    fn rows_failed(&self) -> Option<u64> {
        *self.failed.lock().ok()?
    }

    fn line(&self, column: &str, rows_done: u64, rows_total: u64) {
        let Some(Ok(mut last)) = self.lines.as_ref().map(Mutex::lock) else {
            return;
        };
        let due = last.is_none_or(|last| last.elapsed() >= BETWEEN_LINES);
        if due || rows_done >= rows_total {
            *last = Some(now());
            let mut progress = serde_json::json!({
                "column": column, "rows_done": rows_done, "rows_total": rows_total,
            });
            if let Some(failed) = self.rows_failed() {
                progress["rows_failed"] = failed.into();
            }
            let progress = serde_json::json!({ "progress": progress });
            output::note(&progress.to_string());
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a person's time is what it is paced by"
)]
fn now() -> Instant {
    Instant::now()
}

impl Progress for Bar {
    fn rows(&self, column: &str, done: u64, total: u64) {
        self.line(column, done, total);
        if !self.watched {
            return;
        }
        let Ok(mut bar) = self.bar.lock() else { return };
        if bar.as_ref().is_none_or(|(shown, _)| shown != column) {
            if let Some((_, old)) = bar.take() {
                old.finish_and_clear();
            }
            let style = ProgressStyle::with_template(
                "{prefix} {wide_bar} {human_pos}/{human_len} rows{msg}, {per_sec}, {eta} left",
            );
            let new = ProgressBar::new(total).with_prefix(column.to_owned());
            if let Ok(style) = style {
                new.set_style(style);
            }
            *bar = Some((column.to_owned(), new));
        }
        if let Some((_, bar)) = &*bar {
            bar.set_length(total);
            bar.set_position(done);
            if let Some(failed) = self.rows_failed().filter(|failed| *failed > 0) {
                bar.set_message(format!(" ({} failed)", output::number(failed)));
            }
        }
    }

    fn note(&self, line: &str) {
        if let Ok(mut noted) = self.noted.lock()
            && *noted != line
        {
            line.clone_into(&mut noted);
            output::note(line);
        }
    }
}
