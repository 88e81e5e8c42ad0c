//! `serve`: keep tables converged until stopped.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use lance_backfill_embedded::serve::{Happening, Observer, ServeOptions, serve};
use lance_backfill_ports::Result;

use crate::args::{ProcessArguments, ServeArguments};
use crate::exit::{self, Exit};
use crate::output::{self, number};

pub(super) async fn run(
    arguments: &ServeArguments,
    process: &ProcessArguments,
    json: bool,
) -> Result<Exit> {
    let options = ServeOptions {
        paths: arguments.paths.clone(),
        engine: super::options(process, None)?,
        poll: Duration::from_secs(arguments.poll_s),
    };
    let signal = Mutex::new(Exit::Failed);
    let stop = async {
        let came = exit::signal().await;
        output::note("stopping; what was committed stays, start again to go on");
        if let Ok(mut signal) = signal.lock() {
            *signal = came;
        }
    };
    let served = Box::pin(serve(&options, Arc::new(Lines { json }), stop)).await?;
    if json {
        output::result(json, &served, String::new);
    }
    Ok(signal.into_inner().unwrap_or(Exit::Failed))
}

/// A line for each happening: results on stdout, unless a program waits for its document there.
struct Lines {
    json: bool,
}

impl Observer for Lines {
    fn happened(&self, what: &Happening<'_>) {
        let line = line(what);
        match what {
            Happening::Converged { .. } if !self.json => output::part(&line),
            _ => output::note(&line),
        }
    }
}

fn line(what: &Happening<'_>) -> String {
    let place = |table: &str, column: Option<&str>| match column {
        Some(column) => format!("{table}: {column}"),
        None => table.to_owned(),
    };
    match what {
        Happening::Started { tables: 0 } => "serving: no tables yet; Ctrl-C stops".to_owned(),
        Happening::Started { tables: 1 } => "serving 1 table; Ctrl-C stops".to_owned(),
        Happening::Started { tables } => format!("serving {tables} tables; Ctrl-C stops"),
        Happening::Found { table } => format!("{table}: watched"),
        Happening::Gone { table } => format!("{table}: gone"),
        Happening::Converged {
            table,
            column,
            rows,
            from_version,
            to_version,
            seconds,
        } => format!(
            "{table}: {column} +{} rows, version {from_version} → {to_version} in {seconds:.2} s",
            number(*rows)
        ),
        Happening::Trouble {
            table,
            column,
            cause,
        } => format!("{}: {cause}", place(table, *column)),
        Happening::BrokenJob {
            table,
            column,
            cause,
        } => format!("{table}: {column}: {cause}"),
        Happening::Recovered { table, column } => {
            format!("{}: works again", place(table, *column))
        }
        Happening::NoEvents { cause } => {
            format!("no file events ({cause}): tables are polled")
        }
    }
}
