use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn concatenation_places_each_live_row_once_and_in_order(
        old in prop::collection::vec(prop::collection::vec(0_u32..200, 0..60), 1..5),
        cut in prop::collection::vec(1_u32..50, 0..4),
    ) {
        let old: Vec<(FragmentId, RowSet)> =
            (0..).zip(old.into_iter().map(|rows| rows.into_iter().collect())).collect();
        let mut left = u32::try_from(old.iter().map(|(_, rows): &(_, RowSet)| rows.len()).sum::<u64>()).expect("few");
        let mut new = vec![];
        for (id, size) in (100..).zip(cut) {
            let size = size.min(left);
            new.push((id, size));
            left -= size;
        }
        new.push((999, left));
        let moves = concatenation(&old, &new).expect("adds up");
        let mut expected = old.iter().flat_map(|(id, rows)| rows.iter().map(move |offset| (*id, offset)));
        for (id, rows) in &new {
            for offset in 0..*rows {
                let (old_id, old_offset) = expected.next().expect("one for each");
                let stretches = moves.get(&(old_id, *id)).expect("moved there");
                let back = stretches.iter().find(|stretch| (stretch.new..stretch.new + stretch.rows).contains(&offset));
                prop_assert_eq!(back.map(|stretch| offset - stretch.new + stretch.old), Some(old_offset));
            }
        }
    }

    #[test]
    fn row_ids_find_each_row_that_is_still_there(
        old in prop::collection::btree_set(0_u64..300, 0..80),
        keep in prop::collection::vec(any::<bool>(), 80),
        shift in 0_usize..5,
    ) {
        let old: Vec<u64> = old.into_iter().collect();
        let mut new: Vec<u64> = old.iter().zip(&keep).filter(|(_, keep)| **keep).map(|(id, _)| *id).collect();
        new.splice(0..0, (0..shift as u64).map(|extra| 1_000 + extra));
        let moves = by_row_ids(&old, &new);
        let all: RowSet = (0..u32::try_from(old.len()).expect("few")).collect();
        let moved_rows = moved(&all, &moves);
        let expected: RowSet = (0_u32..).zip(&new).filter(|(_, id)| **id < 1_000).map(|(offset, _)| offset).collect();
        prop_assert_eq!(moved_rows, expected);
    }
}

#[test]
fn rows_that_do_not_add_up_are_not_mapped() {
    assert_eq!(concatenation(&[(1, RowSet::full(3))], &[(2, 4)]), None);
}
