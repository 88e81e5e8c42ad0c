//! The command line.

use std::collections::HashMap;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

mod column;
mod function;
mod parse;
mod pool;
mod service;
mod work;
mod worker;

pub(crate) use column::{
    AddArguments, AlterArguments, CanaryArguments, ColumnCommand, DropArguments, OnChangeArgument,
    OnErrorArgument, OnUnknownArgument, PolicyArguments, PoolArgument,
};
pub(crate) use function::{FunctionArguments, PackingArguments, RegisterArguments};
pub(crate) use pool::{
    DeletePoolArguments, DrainPoolArguments, PlanPoolArguments, PoolArguments, PoolCommand,
    RunPoolArguments,
};
pub(crate) use service::{RedriveArguments, ServiceCommand, StopArguments, TablesCommand};
pub(crate) use work::{
    ApproveArguments, BackfillArguments, DemoArguments, FailuresArguments, JobArguments,
    JobsCommand, OptimizeArguments, PauseArguments, PlanArguments, ReconcileArguments,
    RefreshArguments, RetryArguments, SelectionArguments, ServeArguments, ShowJobArguments,
    WaitingArguments,
};
pub(crate) use worker::WorkerArguments;

use parse::{JsonObject, json_object, key_value};

/// Keeps computed columns of Lance tables up to date.
///
/// Declare a column by an expression, then refresh the table: rows that have no value, or a value of
/// older inputs, are computed and committed; everything else is left alone.
#[derive(Debug, Parser)]
#[command(name = "lance-backfill", version, propagate_version = true, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// Print one JSON document on stdout; progress and logs go to stderr.
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Log more to stderr; twice for all details. LANCE_BACKFILL_LOG takes a filter.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,

    #[command(flatten)]
    pub(crate) process: ProcessArguments,
}

const EXAMPLES: &str = "\
Examples:
  lance-backfill column add flights.lance delay_recovered --sql 'dep_delay - arr_delay' --where 'arr_delay IS NOT NULL'
  lance-backfill plan flights.lance
  lance-backfill refresh flights.lance
  lance-backfill backfill flights.lance delay_recovered --where 'month = 6' --recompute
  lance-backfill status flights.lance --json
  lance-backfill serve tables/
  lance-backfill column add s3://lake/t.lance p --sql 'a * b' --service s3://lake/backfill

With --service a command acts through the service that is deployed under that prefix: it writes to the
table under your own rights, and the service does the work. LANCE_BACKFILL_SERVICE names it for all
commands, and so do ./lance-backfill.json and ~/.config/lance-backfill/config.json, as
{\"service\": \"s3://BUCKET/PREFIX\"}; the first of these that says anything counts.

Exit codes: 0 nothing left to do, 1 failed, held or error budget exceeded, 2 bad input and nothing
changed, 130 or 143 stopped by a signal (run the command again to go on; 'refresh' goes on with an open job).";

/// What this process may use.
#[derive(Debug, Clone, Args)]
pub(crate) struct ProcessArguments {
    /// Option of the table's object store, such as aws_region=eu-central-1; may be given often.
    #[arg(long = "storage-option", value_name = "KEY=VALUE", global = true, value_parser = key_value)]
    pub(crate) storage_options: Vec<(String, String)>,

    /// The same as a JSON object, for what must not show in a list of processes.
    #[arg(
        long,
        value_name = "JSON",
        global = true,
        env = "LANCE_BACKFILL_STORAGE_OPTIONS",
        hide = true,
        hide_env_values = true,
        value_parser = json_object
    )]
    pub(crate) storage_options_json: Option<JsonObject>,

    /// Act through the service deployed under this prefix, such as s3://bucket/prefix; 'none' for no
    /// service, whatever LANCE_BACKFILL_SERVICE or a file says.
    #[arg(long, value_name = "URI", global = true)]
    pub(crate) service: Option<String>,

    /// What to say on stderr while work goes on: a bar if somebody watches, or JSON lines for a program.
    #[arg(
        long,
        value_enum,
        global = true,
        env = "LANCE_BACKFILL_PROGRESS",
        default_value = "auto"
    )]
    pub(crate) progress: ProgressArgument,

    /// Branch of the table; its main line without.
    #[arg(long, value_name = "BRANCH", global = true)]
    pub(crate) branch: Option<String>,

    /// Slices to work on at once; without, one more than there are cores.
    #[arg(long, value_name = "N", global = true, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) workers: Option<u16>,

    /// Python interpreter: packs functions, and runs those that were packed with their environment
    /// [default: of the active virtual environment, or python3].
    #[arg(
        long,
        value_name = "PATH",
        global = true,
        env = "LANCE_BACKFILL_PYTHON",
        hide_env_values = true
    )]
    pub(crate) interpreter: Option<PathBuf>,

    /// Folder for locks of this machine's sessions, and for unpacked Python functions.
    #[arg(
        long,
        value_name = "FOLDER",
        global = true,
        env = "LANCE_BACKFILL_CACHE",
        hide_env_values = true
    )]
    pub(crate) cache: Option<PathBuf>,
}

/// What is said of work while it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressArgument {
    /// A bar on a terminal, nothing elsewhere.
    Auto,
    /// A line of JSON at most five times a second.
    Json,
    /// Nothing.
    None,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Declare, show, change and drop computed columns.
    #[command(subcommand)]
    Column(Box<ColumnCommand>),
    /// Show what a refresh would do, and why; calls no function and writes nothing but what it learned.
    Plan(PlanArguments),
    /// Bring every computed column, or one, up to date once.
    Refresh(RefreshArguments),
    /// Compute a chosen part of a column, as a job; with --recompute also rows that are current.
    Backfill(BackfillArguments),
    /// Compute exactly the failed rows of a column again, as a job.
    Retry(RetryArguments),
    /// Show and call off jobs.
    #[command(subcommand)]
    Jobs(JobsCommand),
    /// Watch tables, or folders of tables, and keep them up to date until stopped.
    Serve(ServeArguments),
    /// Publish nothing for a while, in no process: for others who maintain the table.
    Pause(PauseArguments),
    /// End a pause of a table.
    Resume(TableArguments),
    /// Compact a table around what is being computed.
    Optimize(OptimizeArguments),
    /// Show what the rows of each computed column hold and need.
    Status(TableArguments),
    /// List the rows that could not be computed, with their errors.
    Failures(FailuresArguments),
    /// Let unattended work compute the rows that wait for approval.
    Approve(ApproveArguments),
    /// Delete what no column needs any more from the table's state store.
    Reconcile(ReconcileArguments),
    /// Pack a Python function into a table's state store, for 'column add --function' by anybody.
    Register(RegisterArguments),
    /// Make a copy of a table (a clone, a branch, a copied folder) a table of its own.
    ///
    /// The copy's metadata name the place where the original is kept up to date, so nothing is
    /// computed in the copy. After this it is kept up to date too, by itself: values that were copied
    /// stay, and the original is not touched.
    Claim(TableArguments),
    /// Say which tables a deployed service keeps up to date.
    #[command(subcommand)]
    Tables(TablesCommand),
    /// Look at a deployed service, and stop all its spending at once.
    #[command(subcommand)]
    Service(ServiceCommand),
    /// Move dead letters of a deployed service back to their queues.
    ///
    /// Dead letters are messages that failed again and again. Find out why from the log of the function,
    /// mend it, then redrive: each message is safe to be taken twice. Batches whose letters the planner
    /// found first are quarantined instead: their rows failed, and 'retry' computes exactly these again.
    Redrive(RedriveArguments),
    /// Take the batches of a class from a deployed service, until told to stop: what runs in its pods.
    ///
    /// It keeps each message while its batch is at work, and says under the service's prefix what it does.
    /// Logs are JSON lines on stderr.
    Worker(WorkerArguments),
    /// Run workers of a deployed service on a Ray cluster, as many as there is work for.
    #[command(subcommand)]
    Pool(PoolCommand),
    /// Show all of it on real data, in a table of its own.
    Demo(DemoArguments),
}

/// A table.
#[derive(Debug, Args)]
pub(crate) struct TableArguments {
    /// Path or URI of the table.
    pub(crate) table: String,
}

/// A column of a table.
#[derive(Debug, Args)]
pub(crate) struct ColumnArguments {
    /// Path or URI of the table.
    pub(crate) table: String,
    /// Name of the computed column. 'column add' takes several, joined by commas: fields of the struct
    /// that the function returns, filled by one call; from then on each of them means all of them.
    pub(crate) column: String,
}

impl ProcessArguments {
    pub(crate) fn storage_options(&self) -> HashMap<String, String> {
        let from_json = self.storage_options_json.iter();
        let all = from_json.flat_map(|JsonObject(options)| options);
        all.chain(&self.storage_options).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parsed(words: &[&str]) -> Arguments {
        let words = [&["lance-backfill"], words].concat();
        Arguments::try_parse_from(words).expect("a command line")
    }

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_service_is_named_before_or_after_the_command() {
        for words in [
            ["--service", "s3://lake/b", "tables", "list"],
            ["tables", "list", "--service", "s3://lake/b"],
        ] {
            let arguments = parsed(&words);
            assert_eq!(arguments.process.service.as_deref(), Some("s3://lake/b"));
            assert!(matches!(
                arguments.command,
                Command::Tables(TablesCommand::List)
            ));
        }
    }

    #[test]
    fn who_does_not_wait_says_so_in_either_word() {
        for word in ["--no-wait", "--detach"] {
            let Command::Backfill(backfill) = parsed(&["backfill", "t", "c", word]).command else {
                panic!("another command");
            };
            assert!(backfill.waiting.no_wait);
            let Command::Retry(retry) = parsed(&["retry", "t", "c", word]).command else {
                panic!("another command");
            };
            assert!(retry.waiting.no_wait);
        }
    }

    #[test]
    fn dead_letters_of_one_queue_can_be_chosen() {
        let Command::Redrive(all) = parsed(&["redrive"]).command else {
            panic!("another command");
        };
        assert_eq!((all.queue, all.dry_run), (None, false));
        let words = ["redrive", "--queue", "commits", "--dry-run"];
        let Command::Redrive(one) = parsed(&words).command else {
            panic!("another command");
        };
        assert_eq!((one.queue.as_deref(), one.dry_run), (Some("commits"), true));
    }
}
