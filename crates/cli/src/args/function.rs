//! Arguments that name a function, and of `register`.

use std::path::PathBuf;

use clap::Args;

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
