//! Functions: columns that Python functions fill, beside Lance's own way and a bare Python loop.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

use super::{Bench, bar, say};
use crate::child::{self, Ran};
use crate::plot::{Chart, Owner};
use crate::report::{Figure, Nature, Section, Target, Unit};
use crate::stats::Samples;
use crate::table::{Rows, Table};

const FRAGMENTS: u64 = 10;
/// Rows of one call; 0 is what each of them does by itself.
const CALL_ROWS: [u32; 3] = [0, 8_192, 65_536];
/// Calls and batches that are made to see what one of them costs.
const CALLS: u64 = 4_000;
const BATCHES: u64 = 200;

/// Interpreter and scripts.
struct Python<'a> {
    interpreter: &'a Path,
    functions: PathBuf,
    alone: PathBuf,
    version: String,
}

impl<'a> Python<'a> {
    fn find(bench: &Bench, interpreter: &'a Path) -> Result<Self> {
        let file = |name: &str, text: &str| -> Result<PathBuf> {
            let path = bench.scratch.join(name);
            std::fs::write(&path, text)?;
            Ok(path)
        };
        let mut python = Self {
            interpreter,
            functions: file("functions.py", include_str!("../../python/functions.py"))?,
            alone: file("alone.py", include_str!("../../python/alone.py"))?,
            version: String::new(),
        };
        let ran = python.alone(&["version"])?;
        python.version = ran.json()?["version"]
            .as_str()
            .unwrap_or("unknown")
            .to_owned();
        Ok(python)
    }

    fn alone(&self, arguments: &[&str]) -> Result<Ran> {
        let mut command = Command::new(self.interpreter);
        child::run(command.arg(&self.alone).args(arguments))
    }

    fn declare(&self, bench: &Bench, table: &Table, function: &str, more: &[&str]) -> Result<()> {
        let (uri, entrypoint) = (table.uri(), format!("functions:{function}"));
        let from = self.functions.display().to_string();
        let interpreter = self.interpreter.display().to_string();
        let mut arguments = vec![
            "column",
            "add",
            &uri,
            "p",
            "--udf",
            &entrypoint,
            "--from",
            &from,
            "--interpreter",
            &interpreter,
        ];
        arguments.extend(more);
        child::run(&mut bench.program.command(&arguments))?;
        Ok(())
    }

    /// Seconds of a refresh that fills a column with a function.
    fn fill(
        &self,
        bench: &Bench,
        source: &Table,
        function: &str,
        declared: &[&str],
        more: &[&str],
    ) -> Result<f64> {
        let table = source.copy(bench.scratch.join("functions-copy.lance"))?;
        self.declare(bench, &table, function, declared)?;
        Ok(bench.program.refresh(&table, more)?.ran.seconds)
    }
}

pub(crate) async fn measure(bench: &Bench) -> Result<Section> {
    let rows = bench.size(10_000_000, 100_000);
    let title = format!(
        "Python functions on {} million rows in {FRAGMENTS} fragments",
        rows as f64 / 1e6
    );
    let Some(interpreter) = &bench.python else {
        let why = bench
            .lancedb
            .as_ref()
            .err()
            .map_or("no --python was given", String::as_str);
        let missing =
            |what: &str, most| Figure::not_measured(what, Unit::Times, Target::AtMost(most), why);
        return Ok(Section {
            title,
            figures: vec![missing("Functions: batched, of `add_columns`", 1.25)],
            ..Section::default()
        });
    };
    let python = Python::find(bench, interpreter)?;
    say(&format!("functions: {rows} rows"));
    let path = bench.scratch.join("functions.lance");
    let source = Table::write(path, Rows::Doubles, rows, FRAGMENTS).await?;
    let path = bench.scratch.join("functions-one.lance");
    let one = Table::write(path, Rows::Doubles, 1, 1).await?;
    let path = bench.scratch.join("functions-few.lance");
    let few = Table::write(path, Rows::Doubles, CALLS, 1).await?;
    check(bench, &python, &source).await?;

    let mut starts = Samples::default();
    let mut sql_starts = Samples::default();
    let mut ours: Vec<Samples> = CALL_ROWS.iter().map(|_| Samples::default()).collect();
    let mut theirs = ours.clone();
    let (mut scalar, mut lone_scalar, mut bare) =
        (Samples::default(), Samples::default(), Samples::default());
    let (mut two, mut lone) = (Samples::default(), Samples::default());
    let (mut call, mut batch) = (Samples::default(), Samples::default());
    for round in bench.rounds() {
        let start = python.fill(bench, &one, "product", &[], &[])?;
        let table = one.copy(bench.scratch.join("functions-copy.lance"))?;
        bench.program.declare(&table, "p", "a * b", &[])?;
        let sql_start = bench.program.refresh(&table, &[])?.ran.seconds;
        drop(table);
        let mut counted = vec![];
        for (place, size) in CALL_ROWS.iter().enumerate() {
            let size = size.to_string();
            let declared = ["--batch-size", size.as_str()];
            let declared = if size == "0" { &[][..] } else { &declared[..] };
            let seconds = python.fill(bench, &source, "product", declared, &[])? - start;
            let table = source.copy(bench.scratch.join("functions-copy.lance"))?;
            let other = python
                .alone(&["add_columns", &table.uri(), &size])?
                .number("/seconds")?;
            say(&format!(
                "  round {round}: {size} rows a call: {seconds:.3} s, add_columns {other:.3} s"
            ));
            counted.push((place, seconds, other));
        }
        let scalars = python.fill(bench, &source, "scalar", &[], &[])? - start;
        let alone = python.fill(bench, &source, "scalar", &[], &["--workers", "1"])? - start;
        let looped = python.alone(&["loop", &source.uri()])?.number("/seconds")?;
        say(&format!(
            "  round {round}: scalar {scalars:.3} s, one host {alone:.3} s, bare loop {looped:.3} s"
        ));
        let busy_two = python.fill(bench, &few, "busy", &[], &[])? - start;
        let busy_one = python.fill(bench, &few, "busy", &[], &["--workers", "1"])? - start;
        let in_one = python.fill(bench, &few, "product", &[], &["--workers", "1"])?;
        let in_many = python.fill(
            bench,
            &few,
            "product",
            &["--batch-size", "1"],
            &["--workers", "1"],
        )?;
        let size = CALLS.div_ceil(BATCHES).to_string();
        let in_batches = python.fill(
            bench,
            &few,
            "product",
            &[],
            &["--workers", "1", "--batch-rows", &size],
        )?;
        if round == 0 {
            continue;
        }
        starts.push(start);
        sql_starts.push(sql_start);
        for (place, seconds, other) in counted {
            if let (Some(ours), Some(theirs)) = (ours.get_mut(place), theirs.get_mut(place)) {
                ours.push(seconds);
                theirs.push(other);
            }
        }
        scalar.push(scalars);
        lone_scalar.push(alone);
        bare.push(looped);
        two.push(busy_two);
        lone.push(busy_one);
        call.push((in_many - in_one) / CALLS as f64);
        batch.push((in_batches - in_one) / BATCHES as f64);
    }
    let mut figures = vec![];
    let mut rows_of_table = vec![];
    for ((size, ours), theirs) in CALL_ROWS.iter().zip(&ours).zip(&theirs) {
        let at = match size {
            0 => "each by its default".to_owned(),
            size => format!("{size} rows a call"),
        };
        figures.push(Figure::new(
            &format!("Functions: batched, {at}: time, of that of `add_columns` with a `batch_udf`"),
            Unit::Times,
            Nature::Timing,
            ours.ratio(theirs).median(),
            Target::AtMost(1.25),
        ));
        rows_of_table.push(vec![
            format!("batched `a * b`, {at}"),
            Unit::Seconds.spread(ours),
            Unit::Seconds.spread(theirs),
        ]);
    }
    rows_of_table.push(vec![
        "scalar `a * 2 + 1`".to_owned(),
        Unit::Seconds.spread(&scalar),
        Unit::Seconds.spread(&bare),
    ]);
    rows_of_table.push(vec![
        "the same with one host".to_owned(),
        Unit::Seconds.spread(&lone_scalar),
        String::new(),
    ]);
    let host_start = starts.minus(&sql_starts);
    let timing =
        |what: &str, unit, value, target| Figure::new(what, unit, Nature::Timing, value, target);
    figures.extend([
        timing(
            "Functions: scalar, time of that of a Python loop over the column",
            Unit::Times,
            scalar.ratio(&bare).median(),
            Target::AtMost(1.15),
        ),
        timing(
            "Functions: scalar with one host, of that loop",
            Unit::Times,
            lone_scalar.ratio(&bare).median(),
            Target::None,
        ),
        timing(
            "Functions: one host's time of that of all, where the function keeps a core busy",
            Unit::Times,
            lone.ratio(&two).median(),
            Target::None,
        ),
        timing(
            "Functions: one call into a warm host",
            Unit::Microseconds,
            call.median(),
            Target::AtMost(200e-6),
        ),
        timing(
            "Functions: one batch",
            Unit::Milliseconds,
            batch.median(),
            Target::AtMost(5e-3),
        ),
        timing(
            "Functions: start of a cold host, import of pyarrow included",
            Unit::Milliseconds,
            host_start.median(),
            Target::AtMost(0.4),
        ),
    ]);
    let limit = theirs.first().map(|theirs| theirs.median() * 1.25);
    let mut bars = vec![];
    for ((name, owner, samples), limit) in [
        (
            ("lance-backfill", Owner::LanceBackfill, ours.first()),
            limit,
        ),
        (("Lance add_columns", Owner::Other, theirs.first()), None),
    ] {
        bars.extend(samples.map(|samples| bar(name, owner, samples, limit)));
    }
    Ok(Section {
        title,
        text: vec![
            format!("pylance {}; all times of lance-backfill are those of the whole process, less those of the same on a table of one row: {}, of which {} are the start of a host.", python.version, Unit::Milliseconds.print(starts.median()), Unit::Milliseconds.print(host_start.median())),
            "`add_columns` and the loop are timed from within a process that has imported everything.".to_owned(),
            format!("One call costs what {CALLS} calls of one row take longer than one call of as many rows, one batch the same of {BATCHES} batches, both with one host."),
        ],
        figures,
        head: ["", "lance-backfill", "The other"].map(str::to_owned).to_vec(),
        rows: rows_of_table,
        charts: vec![Chart {
            title: "Fill a column with a Python function".to_owned(),
            subtitle: format!("p = a * b over Arrow arrays, {} million rows, beyond start", rows as f64 / 1e6),
            unit: Unit::Seconds,
            bars,
        }],
    })
}

/// Every value of each function is right.
async fn check(bench: &Bench, python: &Python<'_>, source: &Table) -> Result<()> {
    for (function, wrong) in [
        ("product", "p IS NULL OR p <> a * b"),
        ("scalar", "p IS NULL OR p <> a * 2.0 + 1.0"),
    ] {
        let table = source.copy(bench.scratch.join("functions-copy.lance"))?;
        python.declare(bench, &table, function, &[])?;
        bench.program.refresh(&table, &[])?;
        let wrong = table.count(wrong).await?;
        ensure!(wrong == 0, "{function}: {wrong} rows are wrong");
    }
    Ok(())
}
