//! One module per command.

mod column;
mod demo;
mod failures;
mod plan;
mod refresh;
mod register;
mod status;

use std::path::PathBuf;

use lance_backfill_embedded::{Engine, EngineOptions};
use lance_backfill_lance::OpenOptions;
use lance_backfill_ports::{Error, Result};

use crate::args::{Arguments, Command, ProcessArguments};
use crate::exit::Exit;
use crate::output;

/// Runs the command and says how it ended.
pub(crate) async fn run(arguments: &Arguments) -> Exit {
    match Box::pin(dispatch(arguments)).await {
        Ok(exit) => exit,
        Err(error) => {
            output::error(arguments.json, &error.one_line());
            Exit::from(&error)
        }
    }
}

async fn dispatch(arguments: &Arguments) -> Result<Exit> {
    let Arguments {
        command,
        json,
        process,
        ..
    } = arguments;
    match command {
        Command::Column(command) => column::run(command, process, *json).await,
        Command::Plan(command) => plan::run(command, process, *json).await,
        Command::Refresh(command) => refresh::run(command, process, *json).await,
        Command::Status(command) => status::run(command, process, *json).await,
        Command::Register(command) => register::run(command, process, *json).await,
        Command::Failures(command) => failures::run(command, process, *json).await,
        Command::Demo(command) => demo::run(command, process, *json).await,
    }
}

/// Opens the engine on a table.
async fn open(table: &str, process: &ProcessArguments, batch_rows: Option<u64>) -> Result<Engine> {
    let workers = match process.workers {
        Some(workers) => usize::from(workers),
        None => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
    };
    let options = EngineOptions {
        open: OpenOptions {
            storage_options: process.storage_options(),
            branch: process.branch.clone(),
        },
        workers,
        most_rows_per_batch: batch_rows,
        cache: cache_folder(process)?,
    };
    Engine::open(table, options).await
}

/// Opens the engine for a command that only looks: of a copy it says so.
async fn open_to_look(table: &str, process: &ProcessArguments) -> Result<Engine> {
    let engine = open(table, process, None).await?;
    if let Some(note) = engine.copy_note() {
        output::note(&note);
    }
    Ok(engine)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the command line is where the environment comes in"
)]
fn cache_folder(process: &ProcessArguments) -> Result<PathBuf> {
    if let Some(folder) = &process.cache {
        return Ok(folder.clone());
    }
    let set = |name: &str| {
        std::env::var(name)
            .ok()
            .filter(|text| !text.is_empty())
            .map(PathBuf::from)
    };
    set("XDG_CACHE_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".cache")))
        .map(|folder| folder.join("lance-backfill"))
        .ok_or_else(|| {
            Error::invalid("neither HOME nor XDG_CACHE_HOME is set: give a folder with --cache")
        })
}
