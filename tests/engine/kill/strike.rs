//! Starting a refresh and killing it at a chosen moment.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::stage::{Before, Stage};
use crate::support::Scenario;
use crate::support::program::command;

/// Time between two looks at a folder; what is looked for lasts milliseconds.
const LOOK_EVERY: Duration = Duration::from_micros(50);

/// When to kill.
#[derive(Debug, Clone, Copy)]
pub(super) enum Moment {
    /// So long after the start.
    After(Duration),
    /// As soon as the file appears by which others can see that the stage is reached.
    Sight(Stage),
}

impl fmt::Display for Moment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::After(life) => write!(
                formatter,
                "at random, after {:>6.1} ms",
                life.as_secs_f64() * 1e3
            ),
            Self::Sight(stage) => write!(formatter, "on sight of '{stage}'"),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long the real program takes is measured by the real clock"
)]
fn now() -> Instant {
    Instant::now()
}

/// Runs a refresh to its end and says how long it took.
pub(super) fn duration(scenario: &Scenario, options: &[&str]) -> Duration {
    let started = now();
    scenario.refresh_with(options);
    started.elapsed()
}

/// Starts a refresh and kills it at the moment, if it still runs then.
pub(super) fn refresh_and_kill(
    scenario: &Scenario,
    options: &[&str],
    moment: Moment,
    before: &Before,
) {
    let mut child = command(&scenario.arguments(&["refresh"], options))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    match moment {
        // The moment is the point of the test.
        Moment::After(life) => std::thread::sleep(life),
        Moment::Sight(stage) => {
            while !before.in_sight(scenario, stage) && child.try_wait().expect("a child").is_none()
            {
                std::thread::sleep(LOOK_EVERY);
            }
        }
    }
    child.kill().expect("kills");
    child.wait().expect("ends");
}

/// Names in one folder.
pub(super) fn names(folder: &Path) -> BTreeSet<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return BTreeSet::new();
    };
    (entries.filter_map(Result::ok))
        .map(|entry| entry.path())
        .collect()
}
