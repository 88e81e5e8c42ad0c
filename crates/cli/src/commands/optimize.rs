//! `optimize`: compact a table around what is in flight.

use lance_backfill_embedded::optimize::Optimized;
use lance_backfill_ports::Result;
use serde::Serialize;

use crate::args::{OptimizeArguments, ProcessArguments};
use crate::exit::Exit;
use crate::output::{self, number};

#[derive(Serialize)]
struct Document {
    table: String,
    dry_run: bool,
    fragments_before: u64,
    /// Rewritten, or to be rewritten.
    fragments_rewritten: u64,
    /// Left alone because work on them is in flight.
    fragments_in_flight: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    fragments_after: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
}

pub(super) async fn run(
    arguments: &OptimizeArguments,
    process: &ProcessArguments,
    json: bool,
) -> Result<Exit> {
    let engine = super::open(&arguments.table, process, None).await?;
    let optimized = match arguments.dry_run {
        true => engine.plan_optimize(arguments.target_rows).await?,
        false => engine.optimize(arguments.target_rows).await?,
    };
    let Optimized {
        compaction,
        in_flight,
    } = optimized;
    let document = Document {
        table: arguments.table.clone(),
        dry_run: arguments.dry_run,
        fragments_before: compaction.fragments_before,
        fragments_rewritten: compaction.fragments_rewritten,
        fragments_in_flight: in_flight.len() as u64,
        fragments_after: compaction.fragments_after,
        version: compaction.version,
    };
    Ok(output::result(json, &document, || text(&document)))
}

fn text(document: &Document) -> String {
    let mut text = match document.fragments_after {
        Some(after) => format!(
            "{} fragments before, {} after; {} were rewritten",
            number(document.fragments_before),
            number(after),
            number(document.fragments_rewritten)
        ),
        None => format!(
            "{} of {} fragments would be rewritten",
            number(document.fragments_rewritten),
            number(document.fragments_before)
        ),
    };
    if document.fragments_in_flight > 0 {
        text.push_str(&format!(
            "; {} are left alone because work on them is in flight",
            number(document.fragments_in_flight)
        ));
    }
    text
}
