use proptest::prelude::*;

use super::*;
use crate::checkpoint::SliceOutput;
use crate::coverage::RowErrors;
use crate::testing::identity;

fn site(fragment: FragmentId) -> Site {
    Site {
        fragment,
        in_id: identity(u8::try_from(fragment).expect("small")),
    }
}

/// The moves of a rewrite that left out some rows and put others in between.
fn moves(kept: &[bool], gaps: &[u32]) -> Vec<Move> {
    let mut new = 0;
    let mut moves = vec![];
    for (old, (kept, gap)) in (0_u32..).zip(kept.iter().zip(gaps)) {
        if *kept {
            new += gap;
            moves.push(Move { old, new, rows: 1 });
            new += 1;
        }
    }
    moves
}

fn step() -> impl Strategy<Value = Vec<Move>> {
    let kept = prop::collection::vec(any::<bool>(), 40);
    let gaps = prop::collection::vec(0_u32..3, 40);
    (kept, gaps).prop_map(|(kept, gaps)| moves(&kept, &gaps))
}

proptest! {
    #[test]
    fn rows_go_where_they_moved_and_back(moves in step(), rows in prop::collection::vec(0_u32..50, 0..40)) {
        let rows: RowSet = rows.into_iter().collect();
        let expected = moved(&rows, &moves);
        match Journey::of(site(1), site(2), &moves) {
            None => prop_assert!(moves.is_empty()),
            Some(journey) => {
                let here = journey.rows(&rows);
                prop_assert_eq!(&here, &expected);
                prop_assert_eq!(journey.back(&here), rows.intersection(&journey.old));
                let cut = journey.of_rows(&rows);
                prop_assert_eq!(cut.as_ref().map(|cut| &cut.new), (!here.is_empty()).then_some(&here));
                prop_assert!(cut.is_none_or(|cut| cut.rows(&journey.old) == here));
            }
        }
    }

    #[test]
    fn two_steps_are_one(first in step(), second in step(), rows in prop::collection::vec(0_u32..50, 0..40)) {
        let rows: RowSet = rows.into_iter().collect();
        let expected = moved(&moved(&rows, &first), &second);
        let one = Journey::of(site(1), site(2), &first);
        let two = Journey::of(site(2), site(3), &second);
        let both = one.zip(two).and_then(|(one, two)| one.then(&two));
        let found = both.as_ref().map(|both| both.rows(&rows)).unwrap_or_default();
        prop_assert_eq!(found, expected);
        if let Some(both) = both {
            prop_assert_eq!((both.from, both.to), (site(1), site(3)));
        }
    }

    #[test]
    fn rows_that_changed_their_order_are_not_followed(moves in step()) {
        let mut shuffled = moves.clone();
        let places: Vec<u32> = moves.iter().rev().map(|stretch| stretch.new).collect();
        for (stretch, new) in shuffled.iter_mut().zip(places) {
            stretch.new = new;
        }
        let followed = Journey::of(site(1), site(2), &shuffled);
        prop_assert_eq!(followed.is_some(), moves.len() == 1);
    }
}

#[test]
fn a_step_from_elsewhere_is_none() {
    let leg = |from, to| Journey::of(site(from), site(to), &moves(&[true; 3], &[0; 3]));
    let first = leg(1, 2).expect("rows moved");
    assert!(first.then(&leg(2, 3).expect("rows moved")).is_some());
    assert!(first.then(&leg(4, 3).expect("rows moved")).is_none());
    let mut corrected = leg(2, 3).expect("rows moved");
    corrected.from.in_id = identity(9);
    assert!(first.then(&corrected).is_none(), "under other inputs");
}

#[test]
fn a_result_is_told_of_the_rows_that_came_along() {
    // Row 1 was deleted before the rewrite, and two rows of another fragment come first.
    let journey = Journey::of(
        site(1),
        site(2),
        &moves(&[true, false, true, true], &[2, 0, 0, 0]),
    )
    .expect("rows moved");
    let result = SliceResult {
        fragment: 1,
        in_id: identity(1),
        values: RowSet::range(0..2),
        nulls: RowSet::range(2..3),
        failed: vec![RowErrors {
            rows: RowSet::range(3..4),
            kind: "division".to_owned(),
            message: "by zero".to_owned(),
            traceback: None,
            attempts: 1,
        }],
        output: SliceOutput::Nothing,
    };
    let here = journey.result(&result);
    assert_eq!((here.fragment, here.in_id), (2, identity(2)));
    assert_eq!(here.values, RowSet::range(2..3));
    assert_eq!(here.nulls, RowSet::range(3..4));
    assert_eq!(here.failed_rows(), RowSet::range(4..5));
    assert_eq!(here.output, result.output);
}
