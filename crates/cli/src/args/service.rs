//! Arguments of commands about a deployed service.

use clap::{Args, Subcommand};

use super::TableArguments;

#[derive(Debug, Subcommand)]
#[command(after_help = TABLES_EXAMPLES)]
pub(crate) enum TablesCommand {
    /// Have the service keep a table up to date, and look at it now.
    ///
    /// 'column add --service' does so too, and so does the service itself when an event tells it of a
    /// table with computed columns. Copies of tables come in only after 'claim'.
    Add(TableArguments),
    /// List the tables that the service keeps up to date.
    List,
    /// Have the service leave a table alone: its events lead to nothing any more, within a minute.
    ///
    /// Batches that are handed out already are still done. The table itself is not touched.
    Remove(TableArguments),
}

const TABLES_EXAMPLES: &str = "\
Examples:
  export LANCE_BACKFILL_SERVICE=s3://lake/backfill
  lance-backfill tables add s3://lake/flights.lance
  lance-backfill tables list";

#[derive(Debug, Subcommand)]
#[command(after_help = SERVICE_EXAMPLES)]
pub(crate) enum ServiceCommand {
    /// Stop all spending: nothing is handed out or begun, and batches at work stop within seconds.
    ///
    /// What is finished is still published, and no row is lost: 'service resume' goes on where it was.
    Pause(StopArguments),
    /// End that: all tables are looked at, and what was left is done.
    Resume,
    /// Show what the service is, whether it is paused, its queues and their dead letters, its tables.
    Status,
}

const SERVICE_EXAMPLES: &str = "\
Examples:
  lance-backfill service status --service s3://lake/backfill
  lance-backfill service pause --reason 'the bill' --service s3://lake/backfill
  lance-backfill service resume --service s3://lake/backfill";

#[derive(Debug, Args)]
pub(crate) struct StopArguments {
    /// Why, for those who ask 'service status'.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = REDRIVE_EXAMPLES)]
pub(crate) struct RedriveArguments {
    /// Only the dead letters of this queue: plans, fresh, bulk, commits, or one of a class of workers in pods, such as a10g-fresh.
    #[arg(long, value_name = "QUEUE")]
    pub(crate) queue: Option<String>,
    /// Only count them.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

const REDRIVE_EXAMPLES: &str = "\
Examples:
  lance-backfill redrive --dry-run --service s3://lake/backfill
  lance-backfill redrive --queue plans --service s3://lake/backfill";
