//! One canonical line for each invocation, and its metrics.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::Answer;
use crate::metrics::Metrics;
use crate::tally::Tally;

/// Tables and columns that a line names.
const MOST_NAMES: usize = 10;

/// The start of a process: part of what its first invocation took.
#[derive(Debug)]
pub struct Start {
    init: Duration,
    is_over: AtomicBool,
}

impl Start {
    /// A process that took so long until it was ready.
    pub const fn new(init: Duration) -> Self {
        Self {
            init,
            is_over: AtomicBool::new(false),
        }
    }

    /// Milliseconds that the start took, to the first invocation that asks.
    fn take(&self) -> Option<u64> {
        let first = !self.is_over.swap(true, Ordering::Relaxed);
        first.then(|| millis(self.init))
    }
}

/// An invocation that is over.
pub struct Invocation<'a> {
    /// Planner, worker or committer.
    pub function: &'static str,
    /// Lambda's id.
    pub request: &'a str,
    /// Messages that came.
    pub records: usize,
    /// What becomes of them.
    pub answer: &'a Answer,
    /// How long it took.
    pub took: Duration,
    /// Memory that the function has.
    pub memory_limit_mb: u64,
    /// When it ended, in milliseconds since the epoch.
    pub now_ms: u64,
}

impl Invocation<'_> {
    /// Writes its canonical line and its metrics.
    pub fn tell(&self, start: &Start, metrics: &Metrics) {
        self.line(start);
        let tally = &self.answer.tally;
        metrics.write(self.function, self.request, self.now_ms, tally);
    }

    fn line(&self, start: &Start) {
        let Tally {
            tables,
            columns,
            version,
            batches,
            folds,
            again,
            rows,
            rows_computed,
            rows_failed,
            calls,
            faults,
            held,
            watched,
            quarantined,
            published: _,
        } = &self.answer.tally;
        let init_ms = start.take();
        // Of several tables the last one's version says nothing.
        let version = version.filter(|_| tables.len() == 1);
        let waiting = watched.as_ref().map(|watched| {
            let rows: u64 = watched.waiting.iter().map(|waiting| waiting.rows).sum();
            (rows, watched.oldest_ms() / 1_000, watched.stalled)
        });
        tracing::info!(
            function = self.function,
            request = self.request,
            cold = init_ms.is_some(),
            init_ms,
            records = self.records,
            failed = self.answer.failures(),
            took_ms = millis(self.took),
            memory_mb = peak_memory_mb(),
            memory_limit_mb = self.memory_limit_mb,
            table = names(tables),
            column = names(columns),
            version,
            batches = some(*batches),
            folds = some(*folds),
            again = some(*again),
            rows = some(*rows),
            rows_computed = some(*rows_computed),
            rows_failed = some(*rows_failed),
            rows_waiting = waiting.map(|(rows, ..)| rows),
            oldest_s = waiting.map(|(_, oldest_s, _)| oldest_s),
            stalled = waiting.map(|(.., stalled)| stalled),
            quarantined = some(*quarantined),
            calls = some(*calls),
            faults = some(*faults),
            held = held.as_deref(),
            "invoked"
        );
    }
}

/// The most memory that this process ever had, as far as the system tells.
fn peak_memory_mb() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    Some(peak_kb(&status)?.div_ceil(1_024))
}

fn peak_kb(status: &str) -> Option<u64> {
    let line = (status.lines()).find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// What is zero is not written.
fn some(number: u64) -> Option<u64> {
    (number > 0).then_some(number)
}

fn names<'a>(names: impl IntoIterator<Item = &'a String>) -> Option<String> {
    let mut names = names.into_iter();
    let first: Vec<&str> = names
        .by_ref()
        .take(MOST_NAMES)
        .map(String::as_str)
        .collect();
    let rest = names.count();
    match (first.is_empty(), rest) {
        (true, _) => None,
        (false, 0) => Some(first.join(", ")),
        (false, rest) => Some(format!("{} and {rest} more", first.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use serde_json::Value;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::field::FIELDS;
    use crate::tally::{Waiting, Watched};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("nobody panics").write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// The canonical line of an answer, taken apart.
    fn line(answer: &Answer, start: &Start) -> Value {
        let lines = Lines::default();
        let writer = lines.clone();
        let layer = crate::log::lines(move || writer.clone());
        let subscriber = tracing_subscriber::registry().with(layer);
        let invocation = Invocation {
            function: "planner",
            request: "4f2e",
            records: 3,
            answer,
            took: Duration::from_millis(42),
            memory_limit_mb: 1_769,
            now_ms: 0,
        };
        tracing::subscriber::with_default(subscriber, || invocation.line(start));
        let bytes = lines.0.lock().expect("nobody panics").clone();
        let text = String::from_utf8(bytes).expect("it is text");
        assert_eq!(text.lines().count(), 1, "{text}");
        serde_json::from_str(&text).expect("it is JSON")
    }

    #[test]
    fn an_invocation_is_one_line_with_the_fixed_names() {
        let mut answer = Answer::default();
        answer.again("2b1e");
        answer.tally = Tally {
            tables: ["s3://lake/t".to_owned()].into(),
            columns: ["a".to_owned(), "b".to_owned()].into(),
            version: Some(7),
            batches: 2,
            rows: 20,
            watched: Some(Watched {
                waiting: vec![Waiting {
                    table: "s3://lake/t".to_owned(),
                    column: "a".to_owned(),
                    oldest_ms: 61_500,
                    rows: 20,
                }],
                ..Watched::default()
            }),
            ..Tally::default()
        };
        let start = Start::new(Duration::from_millis(310));
        let first = line(&answer, &start);
        let expected = [
            ("message", Value::from("invoked")),
            ("function", "planner".into()),
            ("request", "4f2e".into()),
            ("cold", true.into()),
            ("init_ms", 310.into()),
            ("records", 3.into()),
            ("failed", 1.into()),
            ("took_ms", 42.into()),
            ("memory_limit_mb", 1_769.into()),
            ("table", "s3://lake/t".into()),
            ("column", "a, b".into()),
            ("version", 7.into()),
            ("batches", 2.into()),
            ("rows", 20.into()),
            ("rows_waiting", 20.into()),
            ("oldest_s", 61.into()),
            ("stalled", 0.into()),
        ];
        for (name, value) in &expected {
            assert_eq!(first[name], *value, "{name}");
        }
        let of_log = ["timestamp", "level", "target", "memory_mb"];
        let names: BTreeSet<&str> = (expected.iter().map(|(name, _)| *name))
            .chain(of_log)
            .collect();
        let written: BTreeSet<&str> = (first.as_object().expect("an object").keys())
            .map(String::as_str)
            .collect();
        assert_eq!(written, names, "what is zero or unknown is left out");
        let known = |name: &&str| FIELDS.iter().any(|(field, _)| field == name);
        assert!(
            names
                .iter()
                .filter(|name| !of_log[..3].contains(name))
                .all(known)
        );
        let second = line(&answer, &start);
        assert_eq!(
            (&second["cold"], &second["init_ms"]),
            (&false.into(), &Value::Null)
        );
    }

    #[test]
    fn many_names_are_cut_short_and_their_version_says_nothing() {
        let mut answer = Answer::default();
        answer.tally.tables = (0..12).map(|number| format!("t{number:02}")).collect();
        answer.tally.version = Some(7);
        let line = line(&answer, &Start::new(Duration::ZERO));
        let told = "t00, t01, t02, t03, t04, t05, t06, t07, t08, t09 and 2 more";
        assert_eq!(line["table"], told);
        assert_eq!(line["version"], Value::Null);
        assert_eq!(line["column"], Value::Null);
    }

    #[test]
    fn the_peak_of_memory_is_read_where_linux_tells_it() {
        let status = "Name:\tbootstrap\nVmPeak:\t  900000 kB\nVmHWM:\t  123456 kB\nVmRSS:\t 1 kB\n";
        assert_eq!(peak_kb(status), Some(123_456));
        assert_eq!(peak_kb("VmRSS:\t 1 kB\n"), None);
    }
}
