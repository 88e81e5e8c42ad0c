//! `demo`: the whole way on real data, through the same calls as the other commands.

mod flights;
mod place;
mod show;
mod step;

use lance_backfill_lance::{LanceTable, OpenOptions};
use lance_backfill_ports::{Error, Result};
use serde::Serialize;

use self::place::Place;
use self::step::{Step, Told, alter, backfill, declare, duration, now, refresh, since_ms};
use super::column::Altered;
use super::failures::{self, Failures};
use crate::args::{DemoArguments, OnChangeArgument, ProcessArguments};
use crate::exit::Exit;
use crate::output::{self, number};

/// Name of the table in its folder, and in the commands that are shown.
const TABLE: &str = "flights.lance";

/// The computed columns: name, expression, filter.
const COLUMNS: [(&str, &str, Option<&str>); 5] = [
    (
        "delay_recovered",
        "dep_delay - arr_delay",
        Some("arr_delay IS NOT NULL"),
    ),
    (
        "recovered_share",
        "delay_recovered / air_time",
        Some("air_time > 0"),
    ),
    (
        "landed_at",
        "make_time(arr_time / 100, arr_time % 100, 0)",
        None,
    ),
    (
        "weekday",
        "to_char(make_date(year, month, day), '%A')",
        None,
    ),
    (
        "outcome",
        "CASE WHEN arr_delay > 15 THEN 'late' ELSE 'on time' END",
        Some("arr_delay IS NOT NULL"),
    ),
];
/// An expression that knows how the source writes midnight.
const LANDED_AT: &str = "make_time(arr_time / 100 % 24, arr_time % 100, 0)";
/// Another idea of what was recovered: being early is no delay.
const DELAY_RECOVERED: &str = "greatest(dep_delay, 0) - greatest(arr_delay, 0)";
/// A range that a person wants computed again.
const NEW_YEAR: &str = "month = 1 AND day = 1";
/// What the flights are shown with.
const SHOWN: [&str; 9] = [
    "flight",
    "carrier",
    "dep_delay",
    "arr_delay",
    "delay_recovered",
    "recovered_share",
    "landed_at",
    "weekday",
    "outcome",
];

#[derive(Serialize)]
struct Demo {
    table: String,
    kept: bool,
    rows: u64,
    steps: Vec<Step>,
    failures: Failures,
    altered: Vec<Altered>,
    elapsed_ms: u64,
}

pub(super) async fn run(
    arguments: &DemoArguments,
    process: &ProcessArguments,
    json: bool,
) -> Result<Exit> {
    let place = Place::new(arguments.keep.as_deref())?;
    let table = place.table();
    let uri = table.to_str().ok_or_else(|| {
        Error::invalid(format!(
            "'{}' is not valid Unicode: give another folder",
            table.display()
        ))
    })?;
    let mut told = Told { json, chapters: 0 };
    let mut demo = tell(uri, process, &mut told).await?;
    demo.kept = arguments.keep.is_some();
    told.line(&ending(uri, &demo));
    if json {
        output::result(json, &demo, String::new);
    }
    let stopped = demo
        .steps
        .iter()
        .flat_map(|step| &step.refresh.columns)
        .any(|column| column.stopped.is_some());
    Ok(if stopped { Exit::Failed } else { Exit::Done })
}

async fn tell(uri: &str, process: &ProcessArguments, told: &mut Told) -> Result<Demo> {
    let started = now();
    let mut months = flights::months()?.into_iter();
    let january = months
        .next()
        .ok_or_else(|| Error::internal("the demo has no flights"))?;
    let mut rows = january.len();
    told.line(&format!(
        "A Lance table of real flights from New York City, January 2013: {} rows.\n{uri}",
        number(rows)
    ));
    let first = (january.name, rows);
    let writer = LanceTable::create(uri, january.rows, &OpenOptions::default()).await?;
    let engine = super::open(uri, process, None).await?;

    told.chapter("Declare five columns; nothing is computed yet");
    for (name, expression, filter) in COLUMNS {
        declare(&engine, name, expression, filter, told).await?;
    }
    let mut steps = vec![];
    told.chapter("Refresh: every row that its filter selects gets a value");
    steps.push(refresh(&engine, &format!("create {}", first.0), first.1, 0, told).await?);
    told.line(
        "\nassigned: computed and committed by this refresh, NULL results included.\n\
         kept: has a result and was not touched.\n\
         filtered out: the column's filter does not select the row.",
    );
    for month in months {
        let appended = month.len();
        rows += appended;
        told.chapter(&format!(
            "{} arrives: {} rows are appended",
            month.name,
            number(appended)
        ));
        writer.append(month.rows).await?;
        steps.push(
            refresh(
                &engine,
                &format!("append {}", month.name),
                appended,
                0,
                told,
            )
            .await?,
        );
    }
    told.line(&format!(
        "\nThe first flight of each outcome:\n\n{}",
        show::flights(&engine, &SHOWN, "outcome").await?
    ));

    told.chapter("Refresh again: nothing changed, so nothing is done");
    let again = refresh(&engine, "nothing", 0, 0, told).await?;
    told.line(match again.refresh.published_version {
        None => "\nNo version was written.",
        Some(_) => "\nA version was written.",
    });
    steps.push(again);

    let deleted = writer.delete("carrier = 'HA'").await?;
    told.chapter(&format!(
        "Delete the {} flights of Hawaiian Airlines: no reason to recompute",
        number(deleted)
    ));
    steps.push(refresh(&engine, "delete", 0, deleted, told).await?);

    let failures = failures::find(&engine, "landed_at").await?;
    told.chapter("Failed rows stand alone; the rest of their batch was committed");
    told.line(&show::command(&["failures", TABLE, "landed_at"], &[]));
    told.line(&show::failures(&engine, &failures, "arr_time").await?);

    told.chapter("Mend the expression: only the failed rows are computed again");
    let mut altered = vec![];
    altered.push(
        alter(
            &engine,
            "landed_at",
            LANDED_AT,
            OnChangeArgument::OnlyNew,
            told,
        )
        .await?,
    );
    steps.push(refresh(&engine, "alter landed_at", 0, 0, told).await?);

    told.chapter("Redefine a column and recompute it: what reads it follows");
    let (column, all) = ("delay_recovered", OnChangeArgument::RecomputeAll);
    altered.push(alter(&engine, column, DELAY_RECOVERED, all, told).await?);
    steps.push(refresh(&engine, "alter delay_recovered", 0, 0, told).await?);

    told.chapter("Compute a chosen range again by hand: a job, and only its rows");
    steps.push(backfill(&engine, "delay_recovered", NEW_YEAR, told).await?);

    Ok(Demo {
        table: uri.to_owned(),
        kept: false,
        rows,
        steps,
        failures,
        altered,
        elapsed_ms: since_ms(started),
    })
}

fn ending(uri: &str, demo: &Demo) -> String {
    let kept = if demo.kept {
        format!(
            "The table is kept; look at it with\n  lance-backfill status {}",
            show::quoted(uri)
        )
    } else {
        "The table is removed now; with --keep FOLDER it stays.".to_owned()
    };
    format!(
        "\n{} rows, {} refreshes, {} in all.\n{kept}\n\n\
         On a table of your own, here one with columns a and b:\n  \
         lance-backfill column add PATH/TO/TABLE.lance c --sql 'a * b' --where 'a > 0'\n  \
         lance-backfill plan PATH/TO/TABLE.lance\n  \
         lance-backfill refresh PATH/TO/TABLE.lance\n  \
         lance-backfill status PATH/TO/TABLE.lance\n\
         Run 'refresh' again after every append: it computes the new rows and no others.",
        number(demo.rows),
        demo.steps.len(),
        duration(demo.elapsed_ms),
    )
}
