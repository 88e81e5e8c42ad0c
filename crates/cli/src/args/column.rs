//! Arguments of `column`.

use clap::{Args, Subcommand, ValueEnum};

use super::parse::{positive, share};
use super::{ColumnArguments, FunctionArguments, TableArguments};

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
    /// Workers that compute the column: those of the service's CPU queues, GPU workers in pods, or CPU workers of a Ray cluster, which know no serverless limits [default: cpu, or gpu where the function asks for devices].
    #[arg(long, value_enum)]
    pub(crate) pool: Option<PoolArgument>,
    /// Kind of GPU workers, as the service calls them [default: the only one that it has].
    #[arg(long, value_name = "CLASS")]
    pub(crate) gpu_class: Option<String>,
    /// Rows in need above which unattended work waits for 'approve'; -1 for no limit, as SQL has without.
    #[arg(long, value_name = "ROWS", allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(-1..))]
    pub(crate) approve_above_rows: Option<i64>,
    /// Values of which no record tells what made them, as after a loss of the state store, are trusted or computed again [default: trust].
    #[arg(long, value_enum)]
    pub(crate) on_unknown: Option<OnUnknownArgument>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum PoolArgument {
    /// Serverless workers, or this machine.
    Cpu,
    /// Workers with a GPU.
    Gpu,
    /// CPU workers of a Ray cluster.
    RayCpu,
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
pub(crate) struct DropArguments {
    #[command(flatten)]
    pub(crate) target: ColumnArguments,
    /// Remove the column and its values from the table too.
    #[arg(long)]
    pub(crate) drop_values: bool,
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
