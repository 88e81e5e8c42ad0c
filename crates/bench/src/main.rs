//! The benchmark: one command, one report. `docs/benchmark.md` says what it measures and how.

mod alone;
mod child;
mod measure;
mod opened;
mod plot;
mod program;
mod report;
mod stats;
mod table;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand, ValueEnum};

use crate::alone::Alone;
use crate::measure::{Bench, bulk, functions, increment, pace, parts, plan, say, soak, wide};
use crate::program::{LanceBackfill, Lancedb};
use crate::report::{Nature, Section, Setting};

/// That of `lance-backfill`, so that what Lance alone takes is measured with the same.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures lance-backfill beside Lance alone and lancedb, and writes a report and a plot.
#[derive(Debug, Parser)]
#[command(name = "lance-backfill-bench")]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Small tables, seconds instead of minutes; its times say nothing, all else is asserted.
    #[arg(long)]
    short: bool,
    /// Also fill 100 million rows, to see how much memory that takes.
    #[arg(long)]
    soak: bool,
    /// Rounds that count; one more goes before them as a warm-up.
    #[arg(long)]
    rounds: Option<usize>,
    /// Only these measurements.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Measurement>,
    /// Folder that gets benchmark.md and benchmark.svg.
    #[arg(long)]
    output: Option<PathBuf>,
    /// Folder for tables; about 3 GB, with --soak 4 GB.
    #[arg(long)]
    scratch: Option<PathBuf>,
    /// The lance-backfill to measure; the one beside this program without.
    #[arg(long)]
    program: Option<PathBuf>,
    /// Python interpreter that has the packages lancedb and pylance.
    #[arg(long)]
    python: Option<PathBuf>,
    /// Why there is none, for the report.
    #[arg(long, default_value = "no --python was given")]
    without_python: String,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Does something with Lance alone; the benchmark calls this in processes of their own.
    #[command(subcommand, hide = true)]
    Alone(Alone),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Measurement {
    Bulk,
    Parts,
    Increment,
    Plan,
    Pace,
    Wide,
    Functions,
    Soak,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(exit) => exit,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    match &arguments.command {
        Some(Command::Alone(alone)) => {
            print(&runtime.block_on(Box::pin(alone.run()))?.to_string());
            Ok(ExitCode::SUCCESS)
        }
        None => runtime.block_on(Box::pin(benchmark(arguments))),
    }
}

async fn benchmark(arguments: &Arguments) -> Result<ExitCode> {
    let scratch = match &arguments.scratch {
        Some(folder) => {
            fs::create_dir_all(folder)?;
            tempfile::tempdir_in(folder)?
        }
        None => tempfile::tempdir()?,
    };
    let bench = Bench {
        program: LanceBackfill::find(arguments.program.as_deref(), scratch.path())?,
        lancedb: match &arguments.python {
            Some(python) => {
                Lancedb::find(python, scratch.path()).map_err(|error| error.to_string())
            }
            None => Err(arguments.without_python.clone()),
        },
        python: arguments.python.clone(),
        scratch: scratch.path().to_owned(),
        rounds: arguments
            .rounds
            .unwrap_or(if arguments.short { 1 } else { 7 }),
        short: arguments.short,
    };
    let setting = setting(&bench);
    let mut sections = vec![];
    let wanted = |measurement| match arguments.only.as_slice() {
        [] => measurement != Measurement::Soak || arguments.soak,
        only => only.contains(&measurement),
    };
    if wanted(Measurement::Bulk) {
        sections.push(Box::pin(bulk::measure(&bench)).await?);
    }
    if wanted(Measurement::Parts) {
        sections.push(Box::pin(parts::measure(&bench)).await?);
    }
    if wanted(Measurement::Increment) {
        sections.push(Box::pin(increment::measure(&bench)).await?);
    }
    if wanted(Measurement::Plan) {
        sections.push(Box::pin(plan::measure(&bench)).await?);
    }
    if wanted(Measurement::Pace) {
        sections.push(Box::pin(pace::measure(&bench)).await?);
    }
    if wanted(Measurement::Wide) {
        sections.push(Box::pin(wide::measure(&bench)).await?);
    }
    if wanted(Measurement::Functions) {
        sections.push(Box::pin(functions::measure(&bench)).await?);
    }
    if wanted(Measurement::Soak) {
        sections.push(Box::pin(soak::measure(&bench)).await?);
    }
    write(arguments, &setting, &sections)
}

/// Writes report and plot; an exact figure that misses its target fails, a time does not.
fn write(arguments: &Arguments, setting: &Setting, sections: &[Section]) -> Result<ExitCode> {
    let page = report::markdown(setting, sections);
    let charts = sections.iter().flat_map(|section| section.charts.clone());
    print(&page);
    if let Some(folder) = &arguments.output {
        fs::create_dir_all(folder)?;
        for (name, text) in [
            ("benchmark.md", &page),
            ("benchmark.svg", &plot::svg(charts)),
        ] {
            let path = folder.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    let mut exit = ExitCode::SUCCESS;
    for figure in sections.iter().flat_map(|section| &section.figures) {
        if figure.met() == Some(false) {
            say(&format!("missed: {}", figure.what));
            if figure.nature == Nature::Exact {
                exit = ExitCode::FAILURE;
            }
        }
    }
    Ok(exit)
}

fn setting(bench: &Bench) -> Setting {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text
            .lines()
            .find(|line| line.starts_with(name))
            .map(str::to_owned);
        line.and_then(|line| Some(line.split_once(':')?.1.trim().to_owned()))
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let processor = field(&read("/proc/cpuinfo"), "model name");
    let memory = field(&read("/proc/meminfo"), "MemTotal")
        .and_then(|text| text.split(' ').next()?.parse::<f64>().ok())
        .map_or_else(
            || "unknown".to_owned(),
            |kib| format!("{:.0} GB", kib * 1024.0 / 1e9),
        );
    let lancedb = match &bench.lancedb {
        Ok(lancedb) => format!(", lancedb {}", lancedb.version),
        Err(_) => String::new(),
    };
    Setting {
        machine: format!(
            "{cores} cores of {}, {memory} of memory, {}",
            processor.as_deref().unwrap_or("an unknown processor"),
            std::env::consts::OS
        ),
        versions: format!(
            "lance-backfill {}, Lance {}{lancedb}",
            env!("CARGO_PKG_VERSION"),
            lance_version(include_str!("../../../Cargo.lock")).unwrap_or("unknown")
        ),
        rounds: bench.rounds,
        load: read("/proc/loadavg")
            .split(' ')
            .next()
            .unwrap_or("unknown")
            .to_owned(),
        short: bench.short,
    }
}

/// The version of Lance that this program and lance-backfill are built with.
fn lance_version(lock: &'static str) -> Option<&'static str> {
    let (_, found) = lock.split_once("name = \"lance\"\nversion = \"")?;
    Some(found.split_once('"')?.0)
}

#[expect(clippy::print_stdout, reason = "the report is the program's output")]
fn print(text: &str) {
    println!("{text}");
}
