//! Increment: rows are appended to a settled table, small and large.

use anyhow::{Result, ensure};
use arrow_schema::DataType;

use super::{Bench, bar, say};
use crate::alone::Alone;
use crate::child;
use crate::plot::{Chart, Owner};
use crate::report::{Figure, Nature, Section, Target, Unit};
use crate::stats::Samples;
use crate::table::{Rows, Table};

/// Rows of one append.
const APPENDED: u64 = 10_000;
/// Rows of a fragment of the settled table.
const FRAGMENT_ROWS: u64 = 10;
/// A column that nobody computes, for what Lance takes to commit.
const UNRELATED: &str = "other";

struct Size {
    fragments: u64,
    starts: Samples,
    ours: Samples,
    opens: Samples,
    commits: Samples,
    state_bytes: Samples,
    assigned: Samples,
}

pub(crate) async fn measure(bench: &Bench) -> Result<Section> {
    let large = bench.size(20_000, 400);
    let mut sizes = vec![];
    for fragments in [10, large] {
        sizes.push(one_size(bench, fragments).await?);
    }
    Ok(section(&sizes))
}

async fn one_size(bench: &Bench, fragments: u64) -> Result<Size> {
    say(&format!(
        "increment: a settled table of {fragments} fragments"
    ));
    let path = bench.scratch.join(format!("increment-{fragments}.lance"));
    let mut rows = fragments * FRAGMENT_ROWS;
    let table = Table::write(path, Rows::Doubles, rows, fragments).await?;
    table.add_empty_column(UNRELATED, DataType::Float64).await?;
    bench.program.declare(&table, "p", "a * b", &[])?;
    bench.program.refresh(&table, &[])?;
    let mut size = Size {
        fragments,
        starts: Samples::default(),
        ours: Samples::default(),
        opens: Samples::default(),
        commits: Samples::default(),
        state_bytes: Samples::default(),
        assigned: Samples::default(),
    };
    for round in bench.rounds() {
        table.append(Rows::Doubles, rows..rows + APPENDED).await?;
        rows += APPENDED;
        let start = bench.program.start()?;
        let alone = Alone::OpenAndCommit {
            table: table.path.clone(),
            column: UNRELATED.to_owned(),
        };
        let alone = child::run(&mut alone.command()?)?;
        let before = table.state_bytes()?;
        let refresh = bench.program.refresh(&table, &[])?;
        let seconds = refresh.ran.seconds - start;
        say(&format!(
            "  round {round}: lance-backfill {:.0} ms",
            seconds * 1e3
        ));
        // Nothing is collected within an hour, so what is there more was written.
        let state_bytes = table.state_bytes()?.saturating_sub(before);
        size.assigned.push(refresh.rows_assigned);
        if round > 0 {
            size.starts.push(start);
            size.ours.push(seconds);
            size.opens.push(alone.number("/open_seconds")?);
            size.commits.push(alone.number("/commit_seconds")?);
            size.state_bytes.push(state_bytes as f64);
        }
    }
    let wrong = table.count("p IS NULL OR p <> a * b").await?;
    ensure!(wrong == 0, "{wrong} rows are wrong");
    Ok(size)
}

fn section(sizes: &[Size]) -> Section {
    let mut section = Section {
        title: format!("Increment: {APPENDED} rows appended to a settled table"),
        text: vec![
            "Each round appends one fragment, and one refresh brings it up to date.".to_owned(),
            "\"Lance opens\" and \"Lance commits\" are what Lance alone takes to open the table and to commit one column file of the same fragment to it; the file itself is written before the clock starts.".to_owned(),
            "A commit writes the whole manifest, so both grow with the number of fragments; what `lance-backfill` adds should not.".to_owned(),
        ],
        head: ["Fragments", "lance-backfill", "Lance opens", "Lance commits", "Beyond Lance", "Process start", "State store"].map(str::to_owned).to_vec(),
        ..Section::default()
    };
    let mut bars = vec![];
    for size in sizes {
        let fragments = Unit::Count.print(size.fragments as f64);
        let alone = size.opens.plus(&size.commits);
        let beyond = size.ours.minus(&alone);
        // The small table's target is absolute, the large one's beyond what Lance takes.
        let (figure, what) = match size.fragments {
            10 => (size.ours.median(), "beyond process start"),
            _ => (beyond.median(), "beyond Lance's open and commit"),
        };
        section.figures.push(Figure::new(
            &format!("Increment at {fragments} fragments: time {what}"),
            Unit::Milliseconds,
            Nature::Timing,
            figure,
            Target::AtMost(0.1),
        ));
        let least_and_most = size.assigned.least() == size.assigned.most();
        let assigned = if least_and_most {
            size.assigned.median()
        } else {
            f64::NAN
        };
        section.figures.push(Figure::new(
            &format!("Increment at {fragments} fragments: rows computed, in every round"),
            Unit::Count,
            Nature::Exact,
            assigned,
            Target::Equals(APPENDED as f64),
        ));
        let target = match size.fragments {
            10 => Target::None,
            // Not growing with the table, apart from the digits of numbers.
            _ => Target::AtMost(first(sizes) * 1.25),
        };
        section.figures.push(Figure::new(
            &format!("Increment at {fragments} fragments: written to the state store"),
            Unit::Bytes,
            Nature::Exact,
            size.state_bytes.median(),
            target,
        ));
        section.rows.push(vec![
            fragments.clone(),
            Unit::Milliseconds.spread(&size.ours),
            Unit::Milliseconds.spread(&size.opens),
            Unit::Milliseconds.spread(&size.commits),
            Unit::Milliseconds.print(beyond.median()),
            Unit::Milliseconds.print(size.starts.median()),
            Unit::Bytes.spread(&size.state_bytes),
        ]);
        let limit = match size.fragments {
            10 => 0.1,
            _ => alone.median() + 0.1,
        };
        bars.push(bar(
            &format!("{fragments} fragments"),
            Owner::LanceBackfill,
            &size.ours,
            Some(limit),
        ));
        bars.push(bar("Lance alone", Owner::Limit, &alone, None));
    }
    section.charts.push(Chart {
        title: "Append 10,000 rows".to_owned(),
        subtitle: "refresh beyond process start; Lance alone: open, commit one file".to_owned(),
        unit: Unit::Milliseconds,
        bars,
    });
    section
}

fn first(sizes: &[Size]) -> f64 {
    sizes
        .first()
        .map_or(f64::NAN, |size| size.state_bytes.median())
}
