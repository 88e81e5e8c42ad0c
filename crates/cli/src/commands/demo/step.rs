//! The steps of the demo: each is a command, shown and carried out.

use std::time::Instant;

use lance_backfill_core::job::{Selection, Take};
use lance_backfill_embedded::Engine;
use lance_backfill_embedded::catalog::Catalog;
use lance_backfill_embedded::declare::{FunctionRequest, Request};
use lance_backfill_embedded::jobs::Ordered;
use lance_backfill_ports::Result;
use serde::Serialize;

use super::super::column::{self, Altered};
use super::super::refresh::{self, Refreshed};
use super::{TABLE, show};
use crate::args::{
    AlterArguments, ColumnArguments, FunctionArguments, OnChangeArgument, PolicyArguments,
};
use crate::output;

/// A change of the table or of a definition, and the refresh after it.
#[derive(Serialize)]
pub(super) struct Step {
    step: String,
    rows_appended: u64,
    rows_deleted: u64,
    refresh_ms: u64,
    pub(super) refresh: Refreshed,
}

/// What a person reads while the demo runs; nothing with `--json`.
pub(super) struct Told {
    pub(super) json: bool,
    pub(super) chapters: u32,
}

impl Told {
    pub(super) fn line(&self, text: &str) {
        if !self.json {
            output::part(text);
        }
    }

    pub(super) fn chapter(&mut self, title: &str) {
        self.chapters += 1;
        self.line(&format!("\n{}. {title}\n", self.chapters));
    }
}

pub(super) async fn declare(
    engine: &Engine,
    column: &str,
    expression: &str,
    filter: Option<&str>,
    told: &Told,
) -> Result<()> {
    let request = Request {
        columns: vec![column.to_owned()],
        function: FunctionRequest::Sql(expression.to_owned()),
        filter: filter.map(str::to_owned),
        ..Request::default()
    };
    engine.declare(&request).await?;
    let mut options = vec![("--sql", expression)];
    options.extend(filter.map(|filter| ("--where", filter)));
    told.line(&show::command(&["column add", TABLE, column], &options));
    Ok(())
}

pub(super) async fn refresh(
    engine: &Engine,
    step: &str,
    rows_appended: u64,
    rows_deleted: u64,
    told: &Told,
) -> Result<Step> {
    let started = now();
    let catalog = Catalog::read(engine.latest().await?.view())?;
    let refreshed = refresh::refresh(engine, &refresh::unattended(&catalog), None).await?;
    let refresh_ms = since_ms(started);
    let command = show::command(&["refresh", TABLE], &[]);
    told.line(&format!("{command}    # took {}", duration(refresh_ms)));
    told.line(&show::refreshed(&refreshed));
    Ok(Step {
        step: step.to_owned(),
        rows_appended,
        rows_deleted,
        refresh_ms,
        refresh: refreshed,
    })
}

/// Computes a part of a column again, as a job.
pub(super) async fn backfill(
    engine: &Engine,
    column: &str,
    filter: &str,
    told: &Told,
) -> Result<Step> {
    let started = now();
    let selection = Selection {
        take: Take::Recompute,
        filter: Some(filter.to_owned()),
        ..Selection::in_need()
    };
    let wanted = [column.to_owned()];
    let refreshed = match engine.order(column, &selection).await? {
        Ordered::Job { job, .. } => refresh::refresh(engine, &wanted, Some(&job)).await?,
        Ordered::NoRows => refresh::look(engine, &wanted).await?,
    };
    let refresh_ms = since_ms(started);
    let options = [("--where", filter), ("--recompute", "")];
    let command = show::command(&["backfill", TABLE, column], &options);
    told.line(&format!("{command}    # took {}", duration(refresh_ms)));
    told.line(&show::refreshed(&refreshed));
    Ok(Step {
        step: format!("backfill {column}"),
        rows_appended: 0,
        rows_deleted: 0,
        refresh_ms,
        refresh: refreshed,
    })
}

pub(super) async fn alter(
    engine: &Engine,
    column: &str,
    expression: &str,
    on_change: OnChangeArgument,
    told: &Told,
) -> Result<Altered> {
    let arguments = AlterArguments {
        target: ColumnArguments {
            table: engine.uri().to_owned(),
            column: column.to_owned(),
        },
        function: FunctionArguments {
            sql: Some(expression.to_owned()),
            ..FunctionArguments::default()
        },
        output_type: None,
        filter: None,
        no_filter: false,
        on_change,
        policy: PolicyArguments::default(),
    };
    let mut options = vec![("--sql", expression)];
    if on_change == OnChangeArgument::RecomputeAll {
        options.push(("--on-change", "recompute_all"));
    }
    told.line(&show::command(&["column alter", TABLE, column], &options));
    let altered = column::change(engine, &arguments, None).await?;
    told.line(&column::altered_text(&altered));
    Ok(altered)
}

pub(super) fn duration(elapsed_ms: u64) -> String {
    match elapsed_ms {
        0..1_000 => format!("{elapsed_ms} ms"),
        _ => format!("{}.{} s", elapsed_ms / 1_000, elapsed_ms % 1_000 / 100),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a demo reports how long its steps took; nothing is decided by it"
)]
pub(super) fn now() -> Instant {
    Instant::now()
}

pub(super) fn since_ms(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)
}
