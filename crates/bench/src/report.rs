//! The report: figures with their targets first, then a section with details for each measurement.

use std::fmt::Write as _;

use crate::plot::Chart;
use crate::stats::Samples;

/// What a number counts, which decides how it is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Times,
    Seconds,
    Milliseconds,
    Microseconds,
    Bytes,
    Count,
}

/// Whether a figure can be asserted on any machine, or depends on its speed and its other work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nature {
    Exact,
    Timing,
}

/// The bound that the project sets for a figure.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    AtMost(f64),
    Equals(f64),
    /// Told for comparison.
    None,
}

/// A figure of the table at the top.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    pub(crate) what: String,
    pub(crate) unit: Unit,
    pub(crate) nature: Nature,
    pub(crate) target: Target,
    /// The number, or why there is none.
    pub(crate) value: Result<f64, String>,
}

impl Figure {
    pub(crate) fn new(what: &str, unit: Unit, nature: Nature, value: f64, target: Target) -> Self {
        Self {
            what: what.to_owned(),
            unit,
            nature,
            target,
            value: Ok(value),
        }
    }

    pub(crate) fn not_measured(what: &str, unit: Unit, target: Target, why: &str) -> Self {
        Self {
            what: what.to_owned(),
            unit,
            nature: Nature::Timing,
            target,
            value: Err(why.to_owned()),
        }
    }

    /// Whether the target is met; a number that is none meets nothing.
    pub(crate) fn met(&self) -> Option<bool> {
        let value = *self.value.as_ref().ok()?;
        match self.target {
            Target::AtMost(most) => Some(value <= most),
            Target::Equals(wanted) => Some(value == wanted),
            Target::None => None,
        }
    }

    fn row(&self) -> String {
        let value = match &self.value {
            Ok(value) => format!("**{}**", self.unit.print(*value)),
            Err(why) => format!("not measured: {why}"),
        };
        let target = match self.target {
            Target::AtMost(most) => format!("≤ {}", self.unit.print(most)),
            Target::Equals(wanted) => self.unit.print(wanted),
            Target::None => String::new(),
        };
        let met = match self.met() {
            Some(true) => "met",
            Some(false) => "**missed**",
            None => "",
        };
        format!("| {} | {value} | {target} | {met} |", self.what)
    }
}

impl Unit {
    pub(crate) fn print(self, value: f64) -> String {
        match self {
            Self::Times => format!("{value:.2} ×"),
            Self::Seconds => format!("{value:.2} s"),
            Self::Milliseconds => format!("{:.0} ms", value * 1e3),
            Self::Microseconds => format!("{:.0} µs", value * 1e6),
            Self::Bytes if value >= 10_000_000.0 => format!("{:.0} MB", value / 1e6),
            Self::Bytes => format!("{:.1} kB", value / 1e3),
            Self::Count => grouped(value),
        }
    }

    /// Median, with the least and the most in parentheses.
    pub(crate) fn spread(self, samples: &Samples) -> String {
        format!(
            "{} ({} – {})",
            self.print(samples.median()),
            self.print(samples.least()),
            self.print(samples.most())
        )
    }
}

fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// One measurement with all that belongs to it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Section {
    pub(crate) title: String,
    /// Sentences, one a line.
    pub(crate) text: Vec<String>,
    pub(crate) figures: Vec<Figure>,
    /// A table: its head and its rows.
    pub(crate) head: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
    pub(crate) charts: Vec<Chart>,
}

/// Where and how it was measured.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    pub(crate) machine: String,
    pub(crate) versions: String,
    pub(crate) rounds: usize,
    pub(crate) load: String,
    /// Whether the sizes are those of the targets.
    pub(crate) short: bool,
}

/// The report as Markdown.
pub(crate) fn markdown(setting: &Setting, sections: &[Section]) -> String {
    let mut page = String::from("# Benchmark\n\n");
    page.push_str("`scripts/benchmark` wrote this page.\n");
    if setting.short {
        page.push_str("It was a short run with small tables: its times say nothing.\n");
    }
    page.push_str(HOW);
    page.push_str("\n![The same figures as bars.](benchmark.svg)\n\n");
    page.push_str("| What | Measured | Target | |\n| --- | ---: | ---: | --- |\n");
    // Ratios are what other machines can be compared with.
    let figures = || sections.iter().flat_map(|section| &section.figures);
    let ratios = figures().filter(|figure| figure.unit == Unit::Times);
    let others = figures().filter(|figure| figure.unit != Unit::Times);
    for figure in ratios.chain(others) {
        let _ = writeln!(page, "{}", figure.row());
    }
    let _ = writeln!(
        page,
        "\nMachine: {}.\n{}.\n{} rounds, at a load average of {} before the first.",
        setting.machine, setting.versions, setting.rounds, setting.load
    );
    for section in sections {
        let _ = write!(
            page,
            "\n## {}\n\n{}\n",
            section.title,
            section.text.join("\n")
        );
        if !section.rows.is_empty() {
            let _ = writeln!(page, "\n| {} |", section.head.join(" | "));
            let align = vec!["---:"; section.head.len().saturating_sub(1)].join(" | ");
            let _ = writeln!(page, "| --- | {align} |");
            for row in &section.rows {
                let _ = writeln!(page, "| {} |", row.join(" | "));
            }
        }
    }
    page
}

const HOW: &str = "\
All of it was measured in one run on one machine.
What is compared takes turns within each round, on tables of the same bytes; the first round is a warm-up and does not count.
A ratio is the median of the rounds' ratios, a time the median of the rounds' times, with the least and the most in parentheses.
Every measurement is a process of its own, and the time of `lance-backfill` is that of the whole process less what `lance-backfill --version` takes in the same round; the others start their clock after their start, before they open the table.
So reading arguments, starting threads and leaving again count against `lance-backfill` and against nobody else.
What Lance does alone is done by a program with the same memory allocator.
";

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(value: f64, target: Target) -> Figure {
        Figure::new("a time", Unit::Times, Nature::Timing, value, target)
    }

    #[test]
    fn a_figure_says_whether_its_target_is_met() {
        assert_eq!(figure(1.2, Target::AtMost(1.25)).met(), Some(true));
        assert_eq!(figure(1.3, Target::AtMost(1.25)).met(), Some(false));
        assert_eq!(figure(f64::NAN, Target::AtMost(1.25)).met(), Some(false));
        assert_eq!(figure(1.0, Target::Equals(2.0)).met(), Some(false));
        let none = Figure::not_measured("x", Unit::Times, Target::AtMost(1.0), "no lancedb");
        assert_eq!(none.met(), None);
        assert_eq!(none.row(), "| x | not measured: no lancedb | ≤ 1.00 × |  |");
    }

    #[test]
    fn ratios_come_first() {
        let section = Section {
            figures: vec![
                Figure::new("rows", Unit::Count, Nature::Exact, 10_000.0, Target::None),
                figure(1.0, Target::None),
            ],
            ..Section::default()
        };
        let setting = Setting {
            machine: "m".to_owned(),
            versions: "v".to_owned(),
            rounds: 1,
            load: "0".to_owned(),
            short: true,
        };
        let page = markdown(&setting, &[section]);
        let ratio = page.find("| a time | **1.00 ×**").expect("the ratio");
        assert!(ratio < page.find("| rows | **10,000**").expect("the count"));
    }
}
