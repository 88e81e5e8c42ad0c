//! Following a job that others work on: by its ledger entries and checkpoint manifests.

use std::time::Duration;

use lance_backfill_core::ids::{BindingId, JobId};
use lance_backfill_core::job::JobOutcome;
use lance_backfill_embedded::Engine;
use lance_backfill_embedded::catalog::Catalog;
use lance_backfill_embedded::converge::Progress as _;
use lance_backfill_embedded::jobs::{JobNow, KnownJob};
use lance_backfill_ports::{Error, ErrorKind, Result};

use super::jobs::state;
use crate::clock::wait;
use crate::exit::{self, Exit};
use crate::output::{self, number};
use crate::progress::Bar;
use crate::service::Through;

/// Between two looks; each is about three requests.
const LOOK: Duration = Duration::from_secs(1);
/// Looks at which nothing changed before the table is looked at, and the service told again.
const QUIET: u32 = 15;
/// Looks in a row that may fail.
const MOST_FAILED_LOOKS: u32 = 10;

/// Waits until a job is over, or its column is held.
pub(super) async fn follow(
    engine: &Engine,
    binding: &BindingId,
    column: &str,
    job: &JobId,
    through: Option<&Through>,
) -> Result<JobNow> {
    let table = engine.uri();
    exit::leave_behind(Some(format!(
        "stopped following; the job goes on: 'lance-backfill jobs show {table} {job} --follow' follows it again, 'jobs cancel {table} {job}' calls it off"
    )));
    let bar = Bar::new();
    let mut last: Option<JobNow> = None;
    let (mut quiet, mut failed_looks) = (0, 0);
    loop {
        match engine.job_now(binding, job).await {
            Ok(Some(now)) => {
                failed_looks = 0;
                bar.job(column, now.rows_assigned, now.rows_failed, now.rows);
                if now.outcome.is_some() || now.held.is_some() {
                    bar.finish();
                    exit::leave_behind(None);
                    return Ok(now);
                }
                if let Some(fault) = &now.breaker {
                    bar.note(&format!(
                        "the breaker is open, one batch at a time probes: {fault}; 'column resume' ends the wait"
                    ));
                }
                quiet = match last.replace(now.clone()) {
                    Some(before) if before == now => quiet + 1,
                    _ => 0,
                };
            }
            Ok(None) => return Err(gone(column, job)),
            Err(error) if is_passing(&error) && failed_looks < MOST_FAILED_LOOKS => {
                failed_looks += 1;
                bar.note(&error.one_line());
            }
            Err(error) => return Err(error),
        }
        if quiet >= QUIET {
            quiet = 0;
            look_closer(engine, column, job, through, &bar).await?;
        }
        wait(LOOK).await;
    }
}

/// Finds out why nothing happens; what is only lost is set going again.
async fn look_closer(
    engine: &Engine,
    column: &str,
    job: &JobId,
    through: Option<&Through>,
    bar: &Bar,
) -> Result<()> {
    let version = engine.latest().await?;
    let catalog = Catalog::read(version.view())?;
    let known = engine.jobs(&version, &catalog, column).await?;
    let broken = known.iter().find_map(|known| match known {
        KnownJob::Open(open) if open.job == *job => open.broken.clone(),
        _ => None,
    });
    if let Some(reason) = broken {
        return Err(Error::new(
            ErrorKind::Unavailable,
            format!("job {job} cannot go on: {reason}; 'jobs cancel' ends it"),
        ));
    }
    if let Some(for_ms) = engine.paused_for_ms().await? {
        bar.note(&lance_backfill_embedded::pause::paused_line(for_ms));
    }
    if let Some(Through { remote, table }) = through {
        if remote.stopped().await?.is_some() {
            bar.note("the service is paused: 'service resume' lets the job go on");
        } else {
            remote
                .wake(table, lance_backfill_core::message::Wake::Requested)
                .await?;
        }
    }
    Ok(())
}

const fn is_passing(error: &Error) -> bool {
    matches!(
        error.kind,
        ErrorKind::Unavailable | ErrorKind::Indeterminate
    )
}

fn gone(column: &str, job: &JobId) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        format!("nobody knows of job {job} of column '{column}' any more"),
    )
}

/// How a command that followed a job ends, and what it says of that.
pub(super) fn exit(job: &JobId, done: &JobNow) -> Exit {
    if done.rows_failed > 0 {
        output::note(&format!(
            "{} rows failed in job {job}; see 'failures'",
            number(done.rows_failed)
        ));
    }
    match (&done.held, done.outcome) {
        (_, Some(JobOutcome::Done)) => Exit::Done,
        (Some(held), None) => {
            output::note(&format!(
                "job {job} stands, too many rows failed: {held}; see 'failures', then 'column resume'"
            ));
            Exit::Failed
        }
        (_, outcome) => {
            output::note(&format!("job {job} is {}", state(outcome)));
            Exit::Failed
        }
    }
}
