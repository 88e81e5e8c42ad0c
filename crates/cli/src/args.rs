//! The command line.

use std::collections::HashMap;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use lance_backfill_core::ids::{GenerationId, JobId};

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
    Retry(ColumnArguments),
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
    /// Show all of it on real data, in a table of its own.
    Demo(DemoArguments),
}

#[derive(Debug, Subcommand)]
pub(crate) enum ColumnCommand {
    /// Declare a computed column; nothing is computed yet.
    Add(AddArguments),
    /// List the computed columns of a table.
    List(TableArguments),
    /// Show one computed column in full.
    Show(ColumnArguments),
    /// Change expression, filter or policy.
    Alter(AlterArguments),
    /// Try another function on some rows beside the present one; nothing is stored.
    Canary(CanaryArguments),
    /// Do nothing unattended on a column until 'resume'.
    Pause(ColumnArguments),
    /// End a pause or a hold.
    Resume(ColumnArguments),
    /// Stop computing a column; its values stay.
    Drop(DropArguments),
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

#[derive(Debug, Args)]
pub(crate) struct AddArguments {
    #[command(flatten)]
    pub(crate) target: ColumnArguments,
    #[command(flatten)]
    pub(crate) function: FunctionArguments,
    /// SQL filter: only rows that it selects are computed.
    #[arg(long = "where", value_name = "FILTER")]
    pub(crate) filter: Option<String>,
    /// Type of the column, such as double, string or fixed_size_list<float, 128>: values are cast to it, and those that do not fit fail.
    /// Without it a new column has the expression's type, and an existing one takes what loses nothing.
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) output_type: Option<String>,
    /// Take over an existing column: its values stay, its missing ones are computed.
    #[arg(long)]
    pub(crate) adopt: bool,
    #[command(flatten)]
    pub(crate) policy: PolicyArguments,
}

/// What computes a column: a SQL expression, a Python function, or one that was registered before.
#[derive(Debug, Clone, Default, Args)]
#[group(required = false, multiple = true)]
pub(crate) struct FunctionArguments {
    /// SQL expression over other columns of the same row.
    #[arg(long, value_name = "EXPRESSION", conflicts_with_all = ["udf", "function"])]
    pub(crate) sql: Option<String>,
    /// Python function under '@udf': its parameters name the columns that it reads.
    #[arg(
        long,
        value_name = "MODULE:NAME",
        requires = "from",
        conflicts_with = "function"
    )]
    pub(crate) udf: Option<String>,
    /// Function that 'register' stored in this table's state store, by its digest or how that begins.
    #[arg(long, value_name = "DIGEST")]
    pub(crate) function: Option<String>,
    /// Columns for the function's inputs, in their order, if they are not named like its parameters.
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub(crate) inputs: Option<Vec<String>>,
    #[command(flatten)]
    pub(crate) packing: PackingArguments,
}

/// Where a Python function's code is, and what it runs in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub(crate) struct PackingArguments {
    /// The code: a folder to import from, a .py file or a wheel. It is packed; later changes of it do nothing.
    #[arg(long, value_name = "PATH", requires = "udf")]
    pub(crate) from: Option<PathBuf>,
    /// What the function runs in: 'current' is the interpreter here, on this machine only; 'capture' takes along
    /// what it has installed; 'image:NAME@sha256:…' is in the worker's image [default: current].
    #[arg(
        long,
        value_name = "ENVIRONMENT",
        requires = "udf",
        conflicts_with = "requirements"
    )]
    pub(crate) env: Option<String>,
    /// Requirements file: its packages are locked and taken along.
    #[arg(long, value_name = "FILE", requires = "udf")]
    pub(crate) requirements: Option<PathBuf>,
    /// Platform that the function is packed for, such as linux-x86_64 [default: this one].
    #[arg(long, value_name = "PLATFORM", requires = "udf")]
    pub(crate) target: Option<String>,
    /// Python that the function is packed for, such as 3.13 [default: the interpreter's].
    #[arg(long, value_name = "VERSION", requires = "udf")]
    pub(crate) python: Option<String>,
}

impl PackingArguments {
    /// Whether any of them was given; clap does not ask where --sql excludes --udf.
    pub(crate) fn is_given(&self) -> bool {
        *self != Self::default()
    }
}

/// What happens with rows that cannot be computed, and with values that nothing is known about.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct PolicyArguments {
    /// A row that cannot be computed is recorded and skipped, or stops the refresh.
    #[arg(long, value_enum)]
    pub(crate) on_error: Option<OnErrorArgument>,
    /// Failed rows that are tolerated.
    #[arg(long, value_name = "ROWS")]
    pub(crate) max_failed_rows: Option<u64>,
    /// Failed share of the computed rows that is tolerated, looked at after 100 rows [default: 0.05].
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub(crate) max_failed_fraction: Option<f64>,
    /// Attempts before a transient error of a Python function counts [default: 3].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_attempts: Option<u32>,
    /// Longest time of a Python function for one row; for a batched one, of one call.
    #[arg(long, value_name = "SECONDS", value_parser = positive)]
    pub(crate) row_timeout: Option<f64>,
    /// Rows of one call of a Python function [default: what its author says]. A batch is something else: the unit of work that has a checkpoint manifest, which takes many calls.
    #[arg(long, value_name = "ROWS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) batch_size: Option<u32>,
    /// Rows in need above which unattended work waits for 'approve'; -1 for no limit, as SQL has without.
    #[arg(long, value_name = "ROWS", allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(-1..))]
    pub(crate) approve_above_rows: Option<i64>,
    /// Values of which no record tells what made them, as after a loss of the state store, are trusted or computed again [default: trust].
    #[arg(long, value_enum)]
    pub(crate) on_unknown: Option<OnUnknownArgument>,
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

#[derive(Debug, Args)]
pub(crate) struct CanaryArguments {
    #[command(flatten)]
    pub(crate) target: ColumnArguments,
    #[command(flatten)]
    pub(crate) function: FunctionArguments,
    /// Rows to try, taken evenly from those that the column's filter selects.
    #[arg(long, value_name = "ROWS", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) rows: u64,
    /// What this machine costs an hour, for an estimate in money.
    #[arg(long, value_name = "PRICE", value_parser = positive)]
    pub(crate) cost_per_hour: Option<f64>,
}

#[derive(Debug, Args)]
pub(crate) struct RegisterArguments {
    /// Path or URI of the table.
    pub(crate) table: String,
    /// Python function under '@udf'.
    #[arg(long, value_name = "MODULE:NAME", requires = "from")]
    pub(crate) udf: String,
    #[command(flatten)]
    pub(crate) packing: PackingArguments,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum OnUnknownArgument {
    /// They count as current.
    Trust,
    /// They count as stale, also those that somebody wrote by hand.
    Recompute,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum OnErrorArgument {
    /// Record the row and go on, within the budget.
    Skip,
    /// Stop at the first failed row.
    Fail,
}

#[derive(Debug, Args)]
pub(crate) struct AlterArguments {
    #[command(flatten)]
    pub(crate) target: ColumnArguments,
    #[command(flatten)]
    pub(crate) function: FunctionArguments,
    /// Type of the column, said again to cast an expression of any other type: values that do not fit fail.
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) output_type: Option<String>,
    /// New SQL filter.
    #[arg(long = "where", value_name = "FILTER", conflicts_with = "no_filter")]
    pub(crate) filter: Option<String>,
    /// Compute all rows from now on.
    #[arg(long)]
    pub(crate) no_filter: bool,
    /// What becomes of values of the present and earlier expressions; may stand alone.
    #[arg(long, value_enum, default_value = "only_new")]
    pub(crate) on_change: OnChangeArgument,
    #[command(flatten)]
    pub(crate) policy: PolicyArguments,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum OnChangeArgument {
    /// They stand as long as the columns that they were made from; other rows get the new expression's.
    OnlyNew,
    /// They become stale and are computed again by the next refresh.
    RecomputeAll,
}

#[derive(Debug, Args)]
pub(crate) struct DropArguments {
    #[command(flatten)]
    pub(crate) target: ColumnArguments,
    /// Remove the column and its values from the table too.
    #[arg(long)]
    pub(crate) drop_values: bool,
}

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

#[derive(Debug, Args)]
pub(crate) struct BackfillArguments {
    #[command(flatten)]
    pub(crate) target: ColumnArguments,
    #[command(flatten)]
    pub(crate) selection: SelectionArguments,
    /// Most rows of one batch: smaller batches lose less when the process is killed.
    #[arg(long, value_name = "ROWS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) batch_rows: Option<u64>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum JobsCommand {
    /// List the jobs of a table's columns.
    List(TableArguments),
    /// Show one job.
    Show(JobArguments),
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

impl ProcessArguments {
    pub(crate) fn storage_options(&self) -> HashMap<String, String> {
        let from_json = self.storage_options_json.iter();
        let all = from_json.flat_map(|JsonObject(options)| options);
        all.chain(&self.storage_options).cloned().collect()
    }
}

/// Names and texts of a JSON object.
#[derive(Debug, Clone)]
pub(crate) struct JsonObject(Vec<(String, String)>);

fn json_object(text: &str) -> Result<JsonObject, String> {
    serde_json::from_str::<std::collections::BTreeMap<String, String>>(text)
        .map(|options| JsonObject(options.into_iter().collect()))
        // The text may hold credentials: it is not repeated.
        .map_err(|_| "it is not a JSON object of strings".to_owned())
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("'{text}' is not KEY=VALUE")),
    }
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err(format!("'{text}' is not a share between 0 and 1")),
    }
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => Err(format!("'{text}' is not a number above 0")),
    }
}

/// A time such as 90s, 30m, 2h or 1d, in seconds.
fn seconds(text: &str) -> Result<u64, String> {
    use lance_backfill_core::pause::LONGEST_PAUSE_S;
    let wrong = || format!("'{text}' is not a time such as 90s, 30m or 2h");
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let number = text.strip_suffix(unit).unwrap_or_default();
    let number: u64 = number.parse().map_err(|_| wrong())?;
    match number.checked_mul(seconds) {
        Some(0) => Err("a pause lasts at least a second".to_owned()),
        Some(all) if all <= LONGEST_PAUSE_S => Ok(all),
        _ => Err("a pause lasts at most 7 days".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn times_have_a_number_and_a_unit() {
        assert_eq!(seconds("90s"), Ok(90));
        assert_eq!(seconds("30m"), Ok(1_800));
        assert_eq!(seconds("2h"), Ok(7_200));
        assert_eq!(seconds("7d"), Ok(604_800));
        for wrong in [
            "",
            "m",
            "30",
            "-1s",
            "1.5h",
            "0s",
            "8d",
            "99999999999999999999s",
            "30µ",
        ] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
