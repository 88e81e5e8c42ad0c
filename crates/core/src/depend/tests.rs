use proptest::prelude::*;

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

proptest! {
    #[test]
    fn each_column_is_the_lowest_whose_dependencies_came_before_and_the_rest_can_never_come(
        reads in prop::collection::btree_map(0_i32..9, prop::collection::btree_set(0_i32..14, 0..3), 0..9),
    ) {
        let nodes: Vec<Node> = reads.iter().map(|(output, reads)| Node { output: *output, reads: reads.clone() }).collect();
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
