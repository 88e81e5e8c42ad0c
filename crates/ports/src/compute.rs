//! Calling a function on rows.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::{ArrayRef, BooleanArray, RecordBatch};
use async_trait::async_trait;
use lance_backfill_core::calls::{End, RowError};
use lance_backfill_core::checkpoint::Fault;

/// A function that is ready to be called.
#[async_trait]
pub trait Compute: Send + Sync {
    /// Makes sure that it can be called, as far as that can be told without rows, and gets ready for
    /// so many of them.
    async fn prepare(&self, rows: u64) -> Result<(), Fault> {
        let _ = rows;
        Ok(())
    }

    /// Calls that may be made at once.
    fn lanes(&self) -> usize {
        1
    }

    /// Attempts before a transient error counts.
    fn max_attempts(&self) -> u32 {
        1
    }

    /// Most rows of the next call, where so many wait.
    async fn rows_per_call(&self, waiting: usize) -> Result<usize, Fault> {
        Ok(waiting)
    }

    /// Calls the function on rows, whose columns are its inputs by name.
    ///
    /// A fault says that it cannot be called at all: no row is to blame. Dropping the call stops it.
    async fn call(&self, call: Call<'_>) -> Result<Answer, Fault>;
}

/// One call.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    /// The rows.
    pub rows: RecordBatch,
    /// How long to wait before it, as the attempts before it asked for.
    pub wait: Duration,
    /// How long it may wait beside that, for a limit that other calls met; if it is to be longer, the
    /// call fails by that limit. Without, as long as the other side asks.
    pub most_wait: Option<Duration>,
    /// Batch that the rows are of, for the log.
    pub batch: &'a str,
}

/// What came of a call.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Results of the first rows, one value of the output type each, in pieces; NULL where the row failed.
    pub values: Vec<ArrayRef>,
    /// Rows among these that failed by themselves, ascending, by place in the call.
    pub failed: Vec<(usize, RowError)>,
    /// What became of the rows after these.
    pub end: End,
    /// Time spent in the function, if that is less than the call took.
    pub busy: Option<Duration>,
}

/// The stored filter of a column, ready to be asked.
pub trait RowFilter: Send + Sync {
    /// Whether each row is selected; NULL is not. Columns are the filter's inputs by name.
    fn select(&self, batch: &RecordBatch) -> Result<BooleanArray, CallError>;
}

/// Compiles filters that people type, against the columns of one version.
pub trait Filters: Send + Sync {
    /// A filter that can be asked, or an error that says what is wrong with it.
    fn compile(&self, filter: &str) -> crate::Result<CompiledFilter>;
}

/// A filter together with what it reads.
#[derive(Clone)]
pub struct CompiledFilter {
    /// The filter.
    pub filter: Arc<dyn RowFilter>,
    /// Columns that it reads, by the names under which it knows them.
    pub reads: Vec<String>,
}

/// Why a filter selected nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallError {
    /// Some row of the batch cannot be decided; which one is for the caller to find out.
    Rows {
        /// Stable kind, such as `overflow`.
        kind: String,
        /// One line for a person.
        message: String,
    },
    /// The filter cannot be asked at all; no row is to blame.
    Fault {
        /// One line for a person.
        message: String,
    },
}
