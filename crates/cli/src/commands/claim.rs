//! `claim`: make a copy of a table a table of its own.

use lance_backfill_core::definition::home::Home;
use lance_backfill_embedded::claim::Claimed;
use lance_backfill_ports::Result;
use serde::Serialize;

use crate::args::{ProcessArguments, TableArguments};
use crate::exit::Exit;
use crate::output;
use crate::service::Through;

#[derive(Serialize)]
struct Document {
    table: String,
    /// Whether anything was changed.
    claimed: bool,
    home: Home,
    #[serde(skip_serializing_if = "Option::is_none")]
    copy_of: Option<Home>,
    #[serde(skip_serializing_if = "Option::is_none")]
    moved_from: Option<Home>,
    /// The service that keeps it up to date from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
}

pub(super) async fn run(
    arguments: &TableArguments,
    process: &ProcessArguments,
    json: bool,
) -> Result<Exit> {
    let through = Through::to_take_in(&arguments.table, process).await?;
    let engine = super::open(&arguments.table, process, None).await?;
    let (claimed, home, copy_of, moved_from) = match engine.claim().await? {
        Claimed::AtHome(home) => (false, home, None, None),
        Claimed::Moved { from, home } => (true, home, None, Some(from)),
        Claimed::Copy { of, home } => (true, home, Some(of), None),
    };
    if let Some(through) = &through {
        through.take_in().await?;
    }
    let document = Document {
        table: arguments.table.clone(),
        claimed,
        home,
        copy_of,
        moved_from,
        service: through.map(|through| through.remote.prefix().to_owned()),
    };
    Ok(output::result(json, &document, || text(&document)))
}

fn text(document: &Document) -> String {
    let at = &document.home.at;
    match (&document.copy_of, &document.moved_from) {
        (Some(of), _) => format!(
            "{at} is a table of its own now; it was a copy of {}{}",
            of.at,
            match document.service {
                Some(_) => String::new(),
                None => format!("\nnext: lance-backfill refresh {}", document.table),
            }
        ),
        (None, Some(from)) => format!("{at} is at home here now; it was moved from {}", from.at),
        (None, None) => format!("{at} is at home here already: nothing was changed"),
    }
}
