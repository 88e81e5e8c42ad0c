//! The order in which computed columns can be brought up to date.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::FieldId;

/// A column and the columns that it reads, as inputs or through its filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Field that is computed.
    pub output: FieldId,
    /// Fields that are read.
    pub reads: BTreeSet<FieldId>,
}

/// Computed columns in an order in which each comes after those it reads, and those in a cycle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Dependencies first.
    pub ready: Vec<FieldId>,
    /// Columns in a cycle or behind one: nobody can compute them.
    pub cyclic: Vec<FieldId>,
}

/// Sorts columns by dependency; ties go by field id.
pub fn order(nodes: &[Node]) -> Order {
    let outputs: BTreeSet<FieldId> = nodes.iter().map(|node| node.output).collect();
    let mut waiting: BTreeMap<FieldId, BTreeSet<FieldId>> = nodes
        .iter()
        .map(|node| {
            (
                node.output,
                node.reads.intersection(&outputs).copied().collect(),
            )
        })
        .collect();
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
pub fn cycle_of(nodes: &[Node], output: FieldId) -> BTreeSet<FieldId> {
    let reads: BTreeMap<FieldId, &BTreeSet<FieldId>> = (nodes.iter())
        .map(|node| (node.output, &node.reads))
        .collect();
    let reached_from = |start: FieldId| {
        let mut reached = BTreeSet::new();
        let mut next = vec![start];
        while let Some(column) = next.pop() {
            for read in reads.get(&column).into_iter().copied().flatten() {
                if reads.contains_key(read) && reached.insert(*read) {
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
