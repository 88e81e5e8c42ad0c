//! The order in which computed columns can be brought up to date.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::FieldId;

/// What one definition fills, and the columns that it reads, as inputs or through its filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Fields that are computed together; the first one names the node.
    pub outputs: Vec<FieldId>,
    /// Fields that are read.
    pub reads: BTreeSet<FieldId>,
}

impl Node {
    /// The field that names the node; no field of a table has the id of a node without outputs.
    fn key(&self) -> FieldId {
        self.outputs.first().copied().unwrap_or(-1)
    }
}

/// Computed columns in an order in which each comes after those it reads, and those in a cycle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Dependencies first.
    pub ready: Vec<FieldId>,
    /// Columns in a cycle or behind one: nobody can compute them.
    pub cyclic: Vec<FieldId>,
}

/// Each node with the nodes that it reads, all by their first outputs.
fn edges(nodes: &[Node]) -> BTreeMap<FieldId, BTreeSet<FieldId>> {
    let owners: BTreeMap<FieldId, FieldId> = (nodes.iter())
        .flat_map(|node| node.outputs.iter().map(|output| (*output, node.key())))
        .collect();
    let owner = |read: &FieldId| owners.get(read).copied();
    nodes
        .iter()
        .map(|node| (node.key(), node.reads.iter().filter_map(owner).collect()))
        .collect()
}

/// Sorts columns by dependency; ties go by field id. Nodes go by their first outputs.
pub fn order(nodes: &[Node]) -> Order {
    let mut waiting = edges(nodes);
    let mut ready = Vec::with_capacity(nodes.len());
    while let Some(next) = waiting
        .iter()
        .find(|(_, reads)| reads.is_empty())
        .map(|(output, _)| *output)
    {
        waiting.remove(&next);
        for reads in waiting.values_mut() {
            reads.remove(&next);
        }
        ready.push(next);
    }
    Order {
        ready,
        cyclic: waiting.into_keys().collect(),
    }
}

/// The columns of the cycle that a column is in; or, if it is in none, of those that it waits for.
///
/// All go by the first outputs of their nodes, the column that is asked about too.
pub fn cycle_of(nodes: &[Node], output: FieldId) -> BTreeSet<FieldId> {
    let reads = edges(nodes);
    let reached_from = |start: FieldId| {
        let mut reached = BTreeSet::new();
        let mut next = vec![start];
        while let Some(column) = next.pop() {
            for read in reads.get(&column).into_iter().flatten() {
                if reached.insert(*read) {
                    next.push(*read);
                }
            }
        }
        reached
    };
    let reached = reached_from(output);
    // What leads back is in the same cycle; without a cycle of its own, whatever leads to itself.
    let is_part = reached.contains(&output);
    let back = |column: &FieldId| match is_part {
        true => reached_from(*column).contains(&output),
        false => reached_from(*column).contains(column),
    };
    reached
        .iter()
        .copied()
        .filter(|column| back(column))
        .collect()
}

#[cfg(test)]
mod tests;
