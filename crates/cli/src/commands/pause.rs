//! `pause` and `resume`: publish nothing while others maintain a table.

use lance_backfill_core::message::Wake;
use lance_backfill_embedded::pause::duration_text;
use lance_backfill_ports::Result;
use serde::Serialize;

use crate::args::{PauseArguments, ProcessArguments, TableArguments};
use crate::exit::Exit;
use crate::output;
use crate::service::Through;

#[derive(Serialize)]
struct Paused {
    table: String,
    /// How long nothing is published at most.
    paused_for_ms: u64,
}

pub(super) async fn pause(
    arguments: &PauseArguments,
    process: &ProcessArguments,
    json: bool,
) -> Result<Exit> {
    Through::to_look(&arguments.table, process).await?;
    let engine = super::open(&arguments.table, process, None).await?;
    engine.pause(arguments.for_s).await?;
    let document = Paused {
        table: arguments.table.clone(),
        paused_for_ms: engine.paused_for_ms().await?.unwrap_or_default(),
    };
    Ok(output::result(json, &document, || {
        format!(
            "paused for {}: nothing is published to {}\nnext: lance-backfill resume {}",
            duration_text(document.paused_for_ms),
            document.table,
            document.table
        )
    }))
}

#[derive(Serialize)]
struct Resumed {
    table: String,
    was_paused: bool,
}

pub(super) async fn resume(
    arguments: &TableArguments,
    process: &ProcessArguments,
    json: bool,
) -> Result<Exit> {
    let through = Through::to_write(&arguments.table, process).await?;
    let engine = super::open(&arguments.table, process, None).await?;
    let document = Resumed {
        table: arguments.table.clone(),
        was_paused: engine.resume().await?,
    };
    if let Some(through) = &through {
        // What was finished meanwhile is published.
        through.wake_for(Wake::Scheduled).await?;
    }
    Ok(output::result(json, &document, || {
        match document.was_paused {
            true => format!("resumed {}", document.table),
            false => format!(
                "{} was not paused; a single column is resumed with 'column resume'",
                document.table
            ),
        }
    }))
}
