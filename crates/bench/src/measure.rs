//! The measurements, one module each.

use std::path::PathBuf;

use anyhow::Result;

use crate::plot::{Bar, Chart, Owner};
use crate::program::{LanceBackfill, Lancedb};
use crate::report::Unit;
use crate::stats::Samples;

pub(crate) mod bulk;
pub(crate) mod functions;
pub(crate) mod increment;
pub(crate) mod pace;
pub(crate) mod parts;
pub(crate) mod plan;
pub(crate) mod soak;
pub(crate) mod wide;

/// What the measurements share.
pub(crate) struct Bench {
    pub(crate) program: LanceBackfill,
    /// Why not, if it cannot be measured.
    pub(crate) lancedb: Result<Lancedb, String>,
    /// An interpreter with pylance and pyarrow.
    pub(crate) python: Option<PathBuf>,
    /// A folder of this run.
    pub(crate) scratch: PathBuf,
    pub(crate) rounds: usize,
    pub(crate) short: bool,
}

impl Bench {
    /// One size for the report, and a small one for a run of seconds.
    pub(crate) fn size(&self, full: u64, short: u64) -> u64 {
        if self.short { short } else { full }
    }

    /// Rounds with their numbers; that with number 0 is the warm-up and does not count.
    pub(crate) fn rounds(&self) -> std::ops::RangeInclusive<usize> {
        0..=self.rounds
    }
}

/// Says on stderr how far the benchmark is.
#[expect(
    clippy::print_stderr,
    reason = "progress of a program that takes minutes"
)]
pub(crate) fn say(line: &str) {
    eprintln!("{line}");
}

/// A bar of the median with its spread.
pub(crate) fn bar(label: &str, owner: Owner, samples: &Samples, target: Option<f64>) -> Bar {
    Bar {
        label: label.to_owned(),
        owner,
        value: samples.median(),
        least: samples.least(),
        most: samples.most(),
        target,
    }
}

/// A chart of bytes written, to which each measurement adds a bar.
pub(crate) fn bytes_chart(label: &str, ratio: f64, target: f64) -> Chart {
    let ratio: Samples = [ratio].into_iter().collect();
    Chart {
        title: "Bytes written".to_owned(),
        subtitle: "of the column's, records and manifests counted".to_owned(),
        unit: Unit::Times,
        bars: vec![bar(label, Owner::LanceBackfill, &ratio, Some(target))],
    }
}

/// Bytes in a table, where the system tells them.
pub(crate) fn bytes(samples: &Samples) -> String {
    let median = samples.median();
    if median.is_nan() {
        return "not told by this system".to_owned();
    }
    Unit::Bytes.print(median)
}
