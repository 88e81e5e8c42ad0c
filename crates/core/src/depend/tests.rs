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
