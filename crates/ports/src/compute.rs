//! Calling a function on rows.

use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, RecordBatch};
use async_trait::async_trait;

/// A function that is ready to be called.
#[async_trait]
pub trait Compute: Send + Sync {
    /// Calls the function on the rows of a batch, whose columns are its inputs by name.
    ///
    /// The result has one value of the output type per row.
    async fn call(&self, batch: &RecordBatch) -> Result<ArrayRef, CallError>;
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

/// Why a call gave no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallError {
    /// Some row of the batch cannot be computed; which one is for the caller to find out.
    Rows {
        /// Stable kind, such as `overflow`.
        kind: String,
        /// One line for a person.
        message: String,
    },
    /// The function cannot be called at all; no row is to blame.
    Fault {
        /// One line for a person.
        message: String,
    },
}
