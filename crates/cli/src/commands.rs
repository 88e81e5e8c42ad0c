//! One module per command.

mod backfill;
mod canary;
mod claim;
mod column;
mod demo;
mod failures;
mod follow;
mod function;
mod jobs;
mod operate;
mod optimize;
mod pause;
mod plan;
mod pool;
mod redrive;
mod refresh;
mod serve;
mod service;
mod status;
mod tables;
mod worker;

use std::collections::BTreeMap;
use std::mem::ManuallyDrop;
use std::path::PathBuf;
use std::sync::Arc;

use lance_backfill_embedded::python::PythonFunctions;
use lance_backfill_embedded::{ArtifactSource, Engine, EngineOptions, Python, ServiceFunctions};
use lance_backfill_lance::OpenOptions;
use lance_backfill_ports::{Error, Result};

use crate::args::{Arguments, Command, ProcessArguments};
use crate::exit::Exit;
use crate::output;
use crate::service::Through;

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
    crate::service::check(command, process)?;
    match command {
        Command::Column(command) => column::run(command, process, *json).await,
        Command::Plan(command) => plan::run(command, process, *json).await,
        Command::Refresh(command) => refresh::run(command, process, *json).await,
        Command::Backfill(command) => backfill::run(command, process, *json).await,
        Command::Retry(command) => backfill::retry(command, process, *json).await,
        Command::Jobs(command) => jobs::run(command, process, *json).await,
        Command::Approve(command) => operate::approve(command, process, *json).await,
        Command::Reconcile(command) => operate::reconcile(command, process, *json).await,
        Command::Status(command) => status::run(command, process, *json).await,
        Command::Register(command) => function::register(command, process, *json).await,
        Command::Claim(command) => claim::run(command, process, *json).await,
        Command::Failures(command) => failures::run(command, process, *json).await,
        Command::Serve(command) => Box::pin(serve::run(command, process, *json)).await,
        Command::Pause(command) => pause::pause(command, process, *json).await,
        Command::Resume(command) => pause::resume(command, process, *json).await,
        Command::Optimize(command) => optimize::run(command, process, *json).await,
        Command::Tables(command) => tables::run(command, process, *json).await,
        Command::Service(command) => service::run(command, process, *json).await,
        Command::Redrive(command) => redrive::run(command, process, *json).await,
        Command::Worker(command) => Box::pin(worker::run(command, process, *json)).await,
        Command::Pool(command) => Box::pin(pool::run(command, process, *json)).await,
        Command::Demo(command) => demo::run(command, process, *json).await,
    }
}

/// An engine that is not taken apart when a command ends: the process ends with it, and the caches of
/// a large table take longer to free than some commands take in all.
type Opened = ManuallyDrop<Engine>;

/// Opens the engine on a table.
async fn open(table: &str, process: &ProcessArguments, batch_rows: Option<u64>) -> Result<Opened> {
    let engine = Engine::open(table, options(process, batch_rows)?).await?;
    Ok(ManuallyDrop::new(engine))
}

/// The same for a command that goes through a service: what it packs, the service keeps, and no other
/// function is named.
async fn open_through(
    table: &str,
    process: &ProcessArguments,
    through: Option<&Through>,
) -> Result<Opened> {
    let mut options = options(process, None)?;
    if let Some(through) = through {
        let functions = ServiceFunctions::new(through.remote.store().clone());
        options.artifacts = ArtifactSource::Service(Arc::new(functions));
    }
    let engine = Engine::open(table, options).await?;
    Ok(ManuallyDrop::new(engine))
}

/// What an engine of this process may use.
fn options(process: &ProcessArguments, batch_rows: Option<u64>) -> Result<EngineOptions> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let workers = match process.workers {
        Some(workers) => usize::from(workers),
        // One more than cores: a slice that waits for a file leaves no core idle.
        None => cores + 1,
    };
    let cache = function::absolute(&cache_folder(process)?)?;
    // A name without a folder is looked for as a shell does.
    let interpreter = match &process.interpreter {
        Some(path) if path.components().count() > 1 => Some(function::absolute(path)?),
        other => other.clone(),
    };
    Ok(EngineOptions {
        open: OpenOptions {
            storage_options: process.storage_options(),
            branch: process.branch.clone(),
        },
        workers,
        most_rows_per_batch: batch_rows,
        python: Arc::new(PythonFunctions::new(
            Python {
                interpreter,
                environment: environment(),
                cache: cache.join("python"),
            },
            // Hosts compute; what reads for them may be one more.
            process.workers.map_or(cores, usize::from),
        )),
        cache,
        artifacts: ArtifactSource::Table,
    })
}

/// Opens the engine for a command that only looks: of a copy it says so.
async fn open_to_look(table: &str, process: &ProcessArguments) -> Result<Opened> {
    let engine = open(table, process, None).await?;
    if let Some(note) = engine.copy_note() {
        output::note(&note);
    }
    Ok(engine)
}

/// The environment of this process; what is not text is of no use to a function.
fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
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
