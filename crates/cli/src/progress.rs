//! Progress on stderr: a bar for a person, nothing for a pipe.

use std::sync::Mutex;

use indicatif::{ProgressBar, ProgressStyle};
use lance_backfill_embedded::converge::Progress;

use crate::output;

/// Draws a bar per column while somebody watches.
pub(crate) struct Bar {
    watched: bool,
    bar: Mutex<Option<(String, ProgressBar)>>,
    noted: Mutex<String>,
}

impl Bar {
    pub(crate) fn new() -> Self {
        Self {
            watched: output::is_watched(),
            bar: Mutex::new(None),
            noted: Mutex::new(String::new()),
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

impl Progress for Bar {
    fn rows(&self, column: &str, done: u64, total: u64) {
        if !self.watched {
            return;
        }
        let Ok(mut bar) = self.bar.lock() else { return };
        if bar.as_ref().is_none_or(|(shown, _)| shown != column) {
            if let Some((_, old)) = bar.take() {
                old.finish_and_clear();
            }
            let style = ProgressStyle::with_template(
                "{prefix} {wide_bar} {human_pos}/{human_len} rows, {per_sec}, {eta} left",
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
