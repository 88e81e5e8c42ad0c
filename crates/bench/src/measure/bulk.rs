//! Bulk: a column is filled from nothing, beside the least that it takes and what else does it.

use anyhow::{Result, ensure};

use super::{Bench, bar, bytes, say};
use crate::alone::Alone;
use crate::child::{self, Ran};
use crate::plot::{Chart, Owner};
use crate::report::{Figure, Nature, Section, Target, Unit};
use crate::stats::Samples;
use crate::table::{Rows, Table};

const SQL: &str = "a * b";
const FRAGMENTS: u64 = 10;

/// Who fills the column, in the order of their turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Filler {
    LanceBackfill,
    BareLoop,
    AddColumns,
    Lancedb,
}

/// What one of them took.
#[derive(Default)]
struct Taken {
    seconds: Samples,
    whole_seconds: Samples,
    processor_seconds: Samples,
    peak: Samples,
    written: Samples,
}

impl Taken {
    fn push(&mut self, seconds: f64, ran: &Ran) {
        self.seconds.push(seconds);
        self.whole_seconds.push(ran.seconds);
        self.processor_seconds
            .push(ran.processor_seconds.unwrap_or(f64::NAN));
        self.peak
            .push(ran.peak_bytes.map_or(f64::NAN, |bytes| bytes as f64));
        self.written
            .push(ran.written_bytes.map_or(f64::NAN, |bytes| bytes as f64));
    }
}

pub(crate) async fn measure(bench: &Bench) -> Result<Section> {
    let rows = bench.size(10_000_000, 200_000);
    say(&format!("bulk: {rows} rows in {FRAGMENTS} fragments"));
    let source = bench.scratch.join("bulk.lance");
    let source = Table::write(source, Rows::Doubles, rows, FRAGMENTS).await?;
    let mut fillers = vec![Filler::LanceBackfill, Filler::BareLoop, Filler::AddColumns];
    if bench.lancedb.is_ok() {
        fillers.push(Filler::Lancedb);
    }
    let mut taken: Vec<Taken> = fillers.iter().map(|_| Taken::default()).collect();
    let mut starts = Samples::default();
    let (mut column, mut commits) = (0, 0);
    for round in bench.rounds() {
        let start = bench.program.start()?;
        for (filler, taken) in fillers.iter().zip(&mut taken) {
            let table = source.copy(bench.scratch.join("bulk-copy.lance"))?;
            filler.declare(bench, &table).await?;
            let before = table.open().await?.version_id();
            let (ran, seconds) = filler.fill(bench, &table, start)?;
            say(&format!(
                "  round {round}: {} {seconds:.3} s",
                filler.name()
            ));
            if round > 0 {
                taken.push(seconds, &ran);
                continue;
            }
            let wrong = table.count("p IS NULL OR p <> a * b").await?;
            ensure!(wrong == 0, "{}: {wrong} rows are wrong", filler.name());
            match filler {
                Filler::BareLoop => column = table.column_bytes("p").await?,
                Filler::LanceBackfill => commits = table.commits_after(before).await?.len(),
                Filler::AddColumns | Filler::Lancedb => {}
            }
        }
        if round > 0 {
            starts.push(start);
        }
    }
    Ok(section(
        bench, rows, &fillers, &taken, &starts, column, commits,
    ))
}

impl Filler {
    fn name(self) -> &'static str {
        match self {
            Self::LanceBackfill => "lance-backfill",
            Self::BareLoop => "bare loop",
            Self::AddColumns => "Lance add_columns",
            Self::Lancedb => "lancedb",
        }
    }

    async fn declare(self, bench: &Bench, table: &Table) -> Result<()> {
        match (self, &bench.lancedb) {
            (Self::LanceBackfill, _) => bench.program.declare(table, "p", SQL, &[]),
            (Self::BareLoop, _) => {
                table
                    .add_empty_column("p", arrow_schema::DataType::Float64)
                    .await
            }
            (Self::Lancedb, Ok(lancedb)) => lancedb.declare(table, "p", SQL),
            (Self::AddColumns | Self::Lancedb, _) => Ok(()),
        }
    }

    /// The process, and the seconds from opening the table to its end.
    fn fill(self, bench: &Bench, table: &Table, start: f64) -> Result<(Ran, f64)> {
        let path = table.path.clone();
        let ran = match (self, &bench.lancedb) {
            (Self::LanceBackfill, _) => {
                let ran = bench.program.refresh(table, &[])?.ran;
                let seconds = ran.seconds - start;
                return Ok((ran, seconds));
            }
            (Self::AddColumns, _) => child::run(&mut Alone::AddColumns { table: path }.command()?)?,
            (Self::Lancedb, Ok(lancedb)) => lancedb.refresh(table, "p", SQL)?,
            (Self::BareLoop | Self::Lancedb, _) => {
                child::run(&mut Alone::BareLoop { table: path }.command()?)?
            }
        };
        let seconds = ran.number("/seconds")?;
        Ok((ran, seconds))
    }
}

fn section(
    bench: &Bench,
    rows: u64,
    fillers: &[Filler],
    taken: &[Taken],
    starts: &Samples,
    column: u64,
    commits: usize,
) -> Section {
    let of = |wanted: Filler| {
        let found = fillers
            .iter()
            .zip(taken)
            .find(|(filler, _)| **filler == wanted);
        found.map(|(_, taken)| taken)
    };
    let mut figures = vec![];
    for (other, most) in [
        (Filler::BareLoop, 1.25),
        (Filler::AddColumns, 0.8),
        (Filler::Lancedb, 0.6),
    ] {
        let what = format!("Bulk: time, of that of {}", described(other));
        let target = Target::AtMost(most);
        let figure = match (of(Filler::LanceBackfill), of(other), &bench.lancedb) {
            (Some(ours), Some(theirs), _) => {
                let ratio = ours.seconds.ratio(&theirs.seconds).median();
                Figure::new(&what, Unit::Times, Nature::Timing, ratio, target)
            }
            (_, _, Err(why)) => Figure::not_measured(&what, Unit::Times, target, why),
            _ => Figure::not_measured(&what, Unit::Times, target, "it was left out"),
        };
        figures.push(figure);
    }
    let mut written = f64::NAN;
    if let Some(ours) = of(Filler::LanceBackfill) {
        let what = "Bulk: bytes written, of the column's";
        let target = Target::AtMost(1.05);
        written = ours.written.median() / column as f64;
        figures.push(match written.is_nan() {
            true => Figure::not_measured(what, Unit::Times, target, "this system does not tell"),
            false => Figure::new(what, Unit::Times, Nature::Exact, written, target),
        });
        let peak = ours.peak.most();
        let what = "Bulk: peak memory of lance-backfill";
        let target = Target::AtMost((1_u64 << 30) as f64);
        figures.push(Figure::new(what, Unit::Bytes, Nature::Exact, peak, target));
    }
    if bench.short {
        let (what, target) = ("Bulk: commits", Target::Equals(1.0));
        figures.push(Figure::new(
            what,
            Unit::Count,
            Nature::Exact,
            commits as f64,
            target,
        ));
    }
    let table_rows = (fillers.iter().zip(taken))
        .map(|(filler, taken)| {
            vec![
                described(*filler).to_owned(),
                Unit::Seconds.spread(&taken.seconds),
                Unit::Seconds.print(taken.whole_seconds.median()),
                Unit::Seconds.print(taken.processor_seconds.median()),
                bytes(&taken.peak),
                bytes(&taken.written),
            ]
        })
        .collect();
    let bars = (fillers.iter().zip(taken))
        .map(|(filler, taken)| {
            let owner = match filler {
                Filler::LanceBackfill => Owner::LanceBackfill,
                Filler::BareLoop => Owner::Limit,
                Filler::AddColumns | Filler::Lancedb => Owner::Other,
            };
            let limit = of(Filler::BareLoop).map(|bare| bare.seconds.median() * 1.25);
            let target = limit.filter(|_| *filler == Filler::LanceBackfill);
            bar(filler.name(), owner, &taken.seconds, target)
        })
        .collect();
    let millions = rows as f64 / 1e6;
    Section {
        title: format!("Bulk: p = a * b for {millions} million rows in {FRAGMENTS} fragments"),
        text: vec![
            "All columns are random doubles, in Lance's default file version.".to_owned(),
            "The bare loop is what nobody can do without: it scans the two columns, multiplies, writes one column file a fragment, as many fragments at a time as there are cores, and commits once.".to_owned(),
            "`add_columns` is Lance's own, with a SQL expression; it adds the column as well, the others fill one that is there.".to_owned(),
            match &bench.lancedb {
                Ok(lancedb) => format!("lancedb is the Python package {}: `refresh_column` of a computed column.", lancedb.version),
                Err(why) => format!("lancedb was not measured: {why}."),
            },
            format!("Starting `lance-backfill` takes {}, which is in its second column and not in its first.", Unit::Milliseconds.print(starts.median())),
            format!("The column is {} on disk.", Unit::Bytes.print(column as f64)),
            "After the warm-up every value of each of them was checked.".to_owned(),
        ],
        figures,
        head: ["", "Time", "Whole process", "Processor time", "Peak memory", "Bytes written"].map(str::to_owned).to_vec(),
        rows: table_rows,
        charts: vec![
            Chart {
            title: "Fill a column".to_owned(),
            subtitle: format!("p = a * b, {millions} million rows, beyond process start"),
            unit: Unit::Seconds,
            bars,
        },
        super::bytes_chart("whole fragments", written, 1.05),
        ],
    }
}

fn described(filler: Filler) -> &'static str {
    match filler {
        Filler::LanceBackfill => "`lance-backfill refresh`",
        Filler::BareLoop => "a bare loop on Lance",
        Filler::AddColumns => "Lance's `add_columns`",
        Filler::Lancedb => "lancedb's `refresh_column`",
    }
}
