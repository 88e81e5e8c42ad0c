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

#[cfg(test)]
mod tests {
    use super::*;

    fn node(output: FieldId, reads: &[FieldId]) -> Node {
        Node {
            output,
            reads: reads.iter().copied().collect(),
        }
    }

    #[test]
    fn dependencies_come_first() {
        let order = order(&[node(1, &[2, 9]), node(2, &[3]), node(3, &[8])]);
        assert_eq!(
            order,
            Order {
                ready: vec![3, 2, 1],
                cyclic: vec![]
            }
        );
    }

    #[test]
    fn a_cycle_and_what_hangs_on_it_are_named() {
        let order = order(&[
            node(1, &[2]),
            node(2, &[1]),
            node(3, &[2]),
            node(4, &[]),
            node(5, &[5]),
        ]);
        assert_eq!(
            order,
            Order {
                ready: vec![4],
                cyclic: vec![1, 2, 3, 5]
            }
        );
    }
}
