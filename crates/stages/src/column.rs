//! A computed column with all that the stages need to work on it.

use std::sync::Arc;

use lance_backfill_core::definition::BoundColumn;
use lance_backfill_core::identity::Place;
use lance_backfill_core::state::Identities;
use lance_backfill_core::table::FragmentView;
use lance_backfill_ports::compute::{Compute, Filters, RowFilter};

use crate::column_store::ColumnStore;

/// A computed column that is bound to fields, with its function, filter and state.
#[derive(Clone)]
pub struct Column {
    /// Definition and fields.
    pub bound: BoundColumn,
    /// State of this column.
    pub store: Arc<ColumnStore>,
    /// What computes a value.
    pub function: Arc<dyn Compute>,
    /// Whether another computed column reads this one.
    pub has_dependents: bool,
    /// What selects rows; all without.
    pub filter: Option<Arc<dyn RowFilter>>,
    /// Compiles the filters of jobs.
    pub filters: Arc<dyn Filters>,
}

impl Column {
    /// Name of the output column, or of several together.
    pub fn name(&self) -> &str {
        &self.bound.name
    }

    /// Present names of the output columns.
    pub fn output_names(&self) -> Vec<String> {
        self.bound
            .outputs
            .iter()
            .map(|field| field.name.clone())
            .collect()
    }

    /// Present names of the columns that the function reads.
    pub fn input_names(&self) -> Vec<String> {
        self.bound
            .inputs
            .iter()
            .map(|field| field.name.clone())
            .collect()
    }

    /// Present names of the columns that the filter reads.
    pub fn filter_names(&self) -> Vec<String> {
        self.bound
            .filter_inputs
            .iter()
            .map(|field| field.name.clone())
            .collect()
    }

    /// Whether the stored filter reads the other column.
    pub fn filter_reads(&self, other: &Self) -> bool {
        (self.bound.filter_inputs.iter()).any(|field| other.bound.fills(field.id))
    }

    /// Identities of a fragment, and where the output stands in it.
    pub fn identify(&self, fragment: &FragmentView) -> (Identities, Option<Place>) {
        self.bound.identify(fragment)
    }
}
