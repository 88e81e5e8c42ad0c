use proptest::prelude::*;

use super::*;

fn node(output: FieldId, reads: &[FieldId]) -> Node {
    Node {
        outputs: vec![output],
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

#[test]
fn a_column_is_told_its_own_cycle_or_else_those_that_it_waits_for() {
    // 1 and 2 read each other, and 1 reads 5, which reads itself; 3 waits for all of them.
    let nodes = [
        node(1, &[2, 5]),
        node(2, &[1, 4]),
        node(3, &[2]),
        node(4, &[9]),
        node(5, &[5]),
    ];
    for (column, cycle) in [
        (1, &[1, 2][..]),
        (2, &[1, 2]),
        (3, &[1, 2, 5]),
        (4, &[]),
        (5, &[5]),
    ] {
        let found: Vec<FieldId> = cycle_of(&nodes, column).into_iter().collect();
        assert_eq!(found, cycle, "of {column}");
    }
}

#[test]
fn whatever_reads_a_part_of_a_group_comes_after_all_of_it() {
    let group = |reads: &[FieldId]| Node {
        outputs: vec![7, 2],
        ..node(7, reads)
    };
    // 1 reads the second column of the group, which reads 4.
    let nodes = [node(1, &[2]), group(&[4]), node(4, &[9])];
    assert_eq!(order(&nodes).ready, [4, 7, 1]);
    // And now 4 reads the group as well.
    let nodes = [node(1, &[2]), group(&[4]), node(4, &[2])];
    assert_eq!(order(&nodes).cyclic, [1, 4, 7]);
    assert_eq!(cycle_of(&nodes, 1), [4, 7].into());
    // A group that reads one of its own columns reads itself.
    assert_eq!(order(&[group(&[2])]).cyclic, [7]);
}

proptest! {
    #[test]
    fn each_column_is_the_lowest_whose_dependencies_came_before_and_the_rest_can_never_come(
        reads in prop::collection::btree_map(0_i32..9, prop::collection::btree_set(0_i32..14, 0..3), 0..9),
    ) {
        let nodes: Vec<Node> = reads.iter().map(|(output, reads)| Node { outputs: vec![*output], reads: reads.clone() }).collect();
        let Order { ready, cyclic } = order(&nodes);
        // A read of a column that is not computed never holds anything up.
        let waits = |output: FieldId, came: &[FieldId]| {
            reads[&output].iter().any(|read| reads.contains_key(read) && !came.contains(read))
        };
        let mut came = vec![];
        for next in &ready {
            let lowest = reads.keys().find(|output| !came.contains(*output) && !waits(**output, &came));
            prop_assert_eq!(Some(next), lowest);
            came.push(*next);
        }
        let rest: Vec<FieldId> = reads.keys().copied().filter(|output| !came.contains(output)).collect();
        prop_assert_eq!(&rest, &cyclic);
        for output in rest {
            prop_assert!(waits(output, &came), "column {} could come", output);
        }
    }
}
