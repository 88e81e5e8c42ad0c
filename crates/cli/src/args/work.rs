//! Arguments of commands that compute, or look at what is computed.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use lance_backfill_core::ids::{GenerationId, JobId};

use super::parse::{positive, seconds};
use super::{ColumnArguments, TableArguments};

#[derive(Debug, Args)]
pub(crate) struct PlanArguments {
    /// Path or URI of the table.
    pub(crate) table: String,
    /// Only this column, and what it reads.
    #[arg(long, value_name = "COLUMN")]
    pub(crate) column: Option<String>,
    /// What this machine costs an hour, for an estimate in money.
    #[arg(long, value_name = "PRICE", value_parser = positive)]
    pub(crate) cost_per_hour: Option<f64>,
    /// Show what 'backfill' with the same options would do; needs --column.
    #[command(flatten)]
    pub(crate) selection: SelectionArguments,
}

/// Which rows of a column a job takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct SelectionArguments {
    /// Only rows that match this SQL filter, beside the stored one.
    #[arg(long = "where", value_name = "FILTER")]
    pub(crate) filter: Option<String>,
    /// Every matching row, also current ones and values that somebody supplied.
    #[arg(long)]
    pub(crate) recompute: bool,
    /// Rows that the stored filter leaves out, too.
    #[arg(long)]
    pub(crate) ignore_filter: bool,
    /// Only rows whose value this generation made; 'status' lists them.
    #[arg(long, value_name = "GENERATION")]
    pub(crate) generation: Option<GenerationId>,
    /// Only rows whose value this job made.
    #[arg(long, value_name = "JOB")]
    pub(crate) job: Option<JobId>,
}

/// The rows of the job are those that match when it is ordered; old values stay readable until the new
/// ones are committed.
#[derive(Debug, Args)]
#[command(after_help = BACKFILL_EXAMPLES)]
pub(crate) struct BackfillArguments {
    #[command(flatten)]
    pub(crate) target: ColumnArguments,
    #[command(flatten)]
    pub(crate) selection: SelectionArguments,
    /// Most rows of one batch: smaller batches lose less when the process is killed.
    #[arg(long, value_name = "ROWS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) batch_rows: Option<u64>,
    #[command(flatten)]
    pub(crate) waiting: WaitingArguments,
}

const BACKFILL_EXAMPLES: &str = "\
Examples:
  lance-backfill backfill flights.lance delay_recovered --where 'month = 6' --recompute
  lance-backfill plan flights.lance --column delay_recovered --where 'month = 6' --recompute
      shows first what that would do

  lance-backfill backfill s3://lake/flights.lance delay_recovered --where 'month = 6' --recompute --service s3://lake/backfill
      orders the same of a deployed service and follows it; Ctrl-C stops following, and the job goes on
  lance-backfill jobs show s3://lake/flights.lance JOB --follow     follows it again
  lance-backfill jobs cancel s3://lake/flights.lance JOB            calls it off, within seconds";

/// Whether a job of a service is waited for.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct WaitingArguments {
    /// With --service: return as soon as the job is ordered; 'jobs show --follow' waits for it later.
    #[arg(long, visible_alias = "detach")]
    pub(crate) no_wait: bool,
}

#[derive(Debug, Args)]
#[command(after_help = RETRY_EXAMPLES)]
pub(crate) struct RetryArguments {
    #[command(flatten)]
    pub(crate) target: ColumnArguments,
    #[command(flatten)]
    pub(crate) waiting: WaitingArguments,
}

const RETRY_EXAMPLES: &str = "\
Examples:
  lance-backfill failures flights.lance delay_recovered       see what failed, and why
  lance-backfill retry flights.lance delay_recovered          compute exactly these rows again

Rows of batches that a service quarantined, because a worker died of them again and again, are failed
rows too: their error is BatchQuarantined.";

#[derive(Debug, Subcommand)]
pub(crate) enum JobsCommand {
    /// List the jobs of a table's columns.
    List(TableArguments),
    /// Show one job.
    Show(ShowJobArguments),
    /// Call a job off: what it finished counts, the rest is left as it was.
    Cancel(JobArguments),
}

#[derive(Debug, Args)]
pub(crate) struct JobArguments {
    /// Path or URI of the table.
    pub(crate) table: String,
    /// Id of the job.
    pub(crate) job: JobId,
}

#[derive(Debug, Args)]
pub(crate) struct ShowJobArguments {
    #[command(flatten)]
    pub(crate) job: JobArguments,
    /// Wait until it is over, and show how far it is; whoever works on it does not notice.
    #[arg(long)]
    pub(crate) follow: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ApproveArguments {
    #[command(flatten)]
    pub(crate) target: ColumnArguments,
    /// Only so many rows; all that are in need now without.
    #[arg(long, value_name = "ROWS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) up_to: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct ReconcileArguments {
    /// Path or URI of the table.
    pub(crate) table: String,
    /// Also what is kept for a while in case somebody still works on it: only if nobody does.
    #[arg(long)]
    pub(crate) no_grace: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RefreshArguments {
    /// Path or URI of the table.
    pub(crate) table: String,
    /// Only this column; those that it reads are left as they are.
    #[arg(long, value_name = "COLUMN")]
    pub(crate) column: Option<String>,
    /// Most rows of one batch: smaller batches lose less when the process is killed.
    #[arg(long, value_name = "ROWS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) batch_rows: Option<u64>,
}

/// Rows that arrive get their values as they come; a column that is declared, changed or resumed
/// meanwhile is taken up. What fails is told once and tried again, and stops nothing else.
///
/// Several of these, refreshes and other writers may work on the same tables at once. Stop it with
/// Ctrl-C or SIGTERM; whatever is left goes on at the next start.
#[derive(Debug, Args)]
pub(crate) struct ServeArguments {
    /// Paths or URIs of tables, or of folders with tables directly in them.
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<String>,
    /// Look at each table this often even if no event tells of a new version; object stores have no events.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) poll_s: u64,
}

/// Computing goes on, and what is finished waits: 'refresh' then ends with exit code 1, and 'serve'
/// publishes once the pause is over. A pause ends by itself.
#[derive(Debug, Args)]
pub(crate) struct PauseArguments {
    /// Path or URI of the table.
    pub(crate) table: String,
    /// How long at most, such as 90s, 30m or 2h; up to 7d.
    #[arg(long = "for", value_name = "TIME", default_value = "30m", value_parser = seconds)]
    pub(crate) for_s: u64,
}

/// Fragments on which work of any column is handed out or waits to be published stay as they are,
/// so that nothing is computed twice; the state of all others moves with their rows.
#[derive(Debug, Args)]
pub(crate) struct OptimizeArguments {
    /// Path or URI of the table.
    pub(crate) table: String,
    /// Merge fragments of fewer rows [default: that of Lance, 1048576].
    #[arg(long, value_name = "ROWS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) target_rows: Option<u64>,
    /// Only show what would be done.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// Keep the table, in this new folder; without, it is removed at the end.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) keep: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct FailuresArguments {
    #[command(flatten)]
    pub(crate) target: ColumnArguments,
    /// Show where the function was, too; each place once.
    #[arg(long)]
    pub(crate) tracebacks: bool,
    /// Write them into a new Lance table.
    #[arg(long, value_name = "TABLE")]
    pub(crate) output: Option<String>,
}
