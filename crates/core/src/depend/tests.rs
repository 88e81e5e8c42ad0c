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
