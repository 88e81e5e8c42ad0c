//! Columns that nobody can compute, because they read each other.

use std::fmt::{Display, Formatter};

use lance_backfill_core::definition::BoundColumn;
use lance_backfill_core::depend::{Node, cycle_of};

use super::{Catalog, node};

/// Why a column can never come: a cycle that it is in or waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cycle {
    /// The other columns that are in it, sorted.
    pub others: Vec<String>,
    /// Whether the column is in it itself.
    pub is_part: bool,
}

impl Catalog {
    /// The cycle that keeps a column from being computed, if one does.
    pub fn cycle(&self, column: &BoundColumn) -> Option<Cycle> {
        let output = column.key();
        if !self.cyclic.contains(&output) {
            return None;
        }
        let bound = || (self.declared.iter()).filter_map(|declared| declared.bound.as_ref().ok());
        let nodes: Vec<Node> = bound().map(node).collect();
        let cycle = cycle_of(&nodes, output);
        let mut others: Vec<String> = bound()
            .filter(|other| other.key() != output && cycle.contains(&other.key()))
            .map(|other| other.name.clone())
            .collect();
        others.sort_unstable();
        Some(Cycle {
            others,
            is_part: cycle.contains(&output),
        })
    }
}

impl Display for Cycle {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        let quoted: Vec<String> = (self.others.iter())
            .map(|other| format!("'{other}'"))
            .collect();
        let others = quoted.join(", ");
        match (self.is_part, quoted.is_empty()) {
            (true, true) => write!(formatter, "it reads itself"),
            (true, false) => write!(formatter, "it is in a cycle with {others}"),
            (false, _) => write!(formatter, "it waits for a cycle of columns: {others}"),
        }
    }
}
