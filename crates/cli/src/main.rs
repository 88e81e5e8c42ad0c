//! `lance-backfill`: keeps computed columns of Lance tables up to date.

mod args;
mod clock;
mod commands;
mod exit;
mod output;
mod progress;
mod service;

use std::io::IsTerminal as _;

use clap::Parser;

use crate::args::{Arguments, Command, PoolCommand};
use crate::exit::Exit;

/// Chunks of columns come and go by the megabyte; the usual allocator gives each back to the system,
/// which costs a sixth of a fill in page faults.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are answers, everything else is bad input; clap exits 0 or 2.
            if error.use_stderr() && std::env::args_os().any(|argument| argument == "--json") {
                output::error_document(&first_line(&error.to_string()));
            }
            error.exit();
        }
    };
    start_log(&arguments);
    lance_backfill_embedded::quiet_caught_panics();
    progress::choose(arguments.process.progress);
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            output::error(arguments.json, &format!("cannot start: {error}"));
            exit::leave(Exit::Failed);
        }
    };
    // It waits for the signal itself, and then says what it did.
    let ends_itself = matches!(
        arguments.command,
        Command::Serve(_) | Command::Worker(_) | Command::Pool(PoolCommand::Run(_))
    );
    let exit = runtime.block_on(async {
        tokio::select! {
            exit = commands::run(&arguments) => exit,
            signal = exit::signal(), if !ends_itself => {
                let left = exit::left_behind();
                output::note(left.as_deref().unwrap_or(match arguments.command {
                    Command::Backfill(_) | Command::Retry(_) => {
                        "stopped; what was committed stays, and the job stays open: 'refresh' goes on with it, 'jobs cancel' ends it"
                    }
                    _ => "stopped; what was committed stays, run the command again to go on",
                }));
                signal
            }
        }
    });
    if exit != Exit::Done {
        // Work that is still running is dropped: nothing counts before its checkpoint manifest is there.
        runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    }
    exit::leave(exit)
}

/// What clap says, without its usage lines.
fn first_line(message: &str) -> String {
    let mut lines = message.lines();
    let mut line = lines.next().unwrap_or_default().to_owned();
    if line.ends_with(':') {
        // What is missing stands below.
        let named = lines.take_while(|line| !line.trim().is_empty());
        line.push(' ');
        line.push_str(&named.map(str::trim).collect::<Vec<_>>().join(", "));
    }
    line.strip_prefix("error: ").unwrap_or(&line).to_owned()
}

/// Logs go to stderr, warnings only unless asked for more; those of a worker or a controller, which nobody
/// watches, say what it does, as JSON.
fn start_log(arguments: &Arguments) {
    let is_unwatched = matches!(
        arguments.command,
        Command::Worker(_) | Command::Pool(PoolCommand::Run(_))
    );
    let level = match arguments.verbose {
        0 if is_unwatched => "warn,lance_backfill=info",
        0 => "error,lance_backfill=warn",
        1 => "warn,lance_backfill=info",
        _ => "info,lance_backfill=debug",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("LANCE_BACKFILL_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match is_unwatched {
        true => log
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .init(),
        false => log.with_ansi(std::io::stderr().is_terminal()).init(),
    }
}
