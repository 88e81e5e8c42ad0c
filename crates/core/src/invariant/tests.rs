use super::*;
use crate::batch::{BatchSpec, Slice, Target};
use crate::testing::identity;

fn name(checked: Result<(), Violation>) -> Option<&'static str> {
    checked.err().map(|violation| violation.name)
}

#[test]
fn a_miscounted_row_is_a_violation() {
    let right = Counts {
        total: 9,
        filtered: 2,
        current: 3,
        unassigned: 4,
        ..Counts::default()
    };
    assert_eq!(counts_add_up(&right), Ok(()));
    for wrong in [
        Counts { total: 8, ..right },
        Counts {
            current: 4,
            ..right
        },
        Counts {
            filtered: 3,
            ..right
        },
        Counts { failed: 1, ..right },
        Counts {
            blocked: 1,
            ..right
        },
        Counts {
            unknown: 1,
            ..right
        },
        Counts {
            stale_input: 1,
            ..right
        },
        Counts {
            stale_definition: 1,
            ..right
        },
    ] {
        assert_eq!(
            name(counts_add_up(&wrong)),
            Some("counts add up"),
            "{wrong:?}"
        );
    }
}

#[test]
fn more_filtered_rows_than_rows_are_a_violation_and_no_panic() {
    let wrong = Counts {
        filtered: 5,
        ..Counts::default()
    };
    assert_eq!(name(counts_add_up(&wrong)), Some("counts add up"));
}

/// A state with two rows in each set.
fn state() -> (FragmentState, RowSet) {
    let mut sets = (0_u32..9).map(|place| RowSet::range(place * 2..place * 2 + 2));
    let mut next = || sets.next().expect("nine");
    let state = FragmentState {
        filtered: next(),
        current: next(),
        failed: next(),
        blocked: next(),
        unassigned: next(),
        stale_input: next(),
        stale_definition: next(),
        unknown: next(),
        distrusted: next(),
    };
    (state, RowSet::range(0..18))
}

fn each_set(state: &mut FragmentState) -> [&mut RowSet; 9] {
    let FragmentState {
        filtered,
        current,
        failed,
        blocked,
        unassigned,
        stale_input,
        stale_definition,
        unknown,
        distrusted,
    } = state;
    [
        filtered,
        current,
        failed,
        blocked,
        unassigned,
        stale_input,
        stale_definition,
        unknown,
        distrusted,
    ]
}

#[test]
fn a_row_without_state_or_in_two_states_is_a_violation() {
    let (right, live) = state();
    assert_eq!(no_lost_row(&right, &live), Ok(()));
    for place in 0..9_usize {
        let (mut lost, _) = state();
        let first = u32::try_from(place).expect("small") * 2;
        each_set(&mut lost)[place].remove(&RowSet::range(first..first + 1));
        assert_eq!(
            name(no_lost_row(&lost, &live)),
            Some("no lost row"),
            "{place}"
        );
        let (mut twice, _) = state();
        let other = (first + 2) % 18;
        each_set(&mut twice)[place].insert(other);
        assert_eq!(
            name(no_lost_row(&twice, &live)),
            Some("no lost row"),
            "{place}"
        );
    }
}

#[test]
fn a_dead_row_with_a_state_is_a_violation() {
    let (state, live) = state();
    let fewer = live.difference(&RowSet::range(0..1));
    assert_eq!(name(no_lost_row(&state, &fewer)), Some("no lost row"));
}

fn slice(fragment: FragmentId, rows: RowSet) -> Slice {
    Slice {
        fragment,
        in_id: identity(1),
        out: None,
        rows,
        target: Target::Values,
    }
}

fn page(slices: Vec<Slice>) -> PlannedPage {
    let batches = slices.into_iter().map(|slice| BatchSpec {
        slices: vec![slice],
        deadline_s: 1,
    });
    PlannedPage {
        batches: batches.collect(),
        ..PlannedPage::default()
    }
}

fn ready(fragment: FragmentId) -> Option<(RowSet, Identity)> {
    (fragment == 1).then(|| (RowSet::range(0..10), identity(1)))
}

#[test]
fn rows_planned_once_and_ready_are_no_violation() {
    let right = page(vec![
        slice(1, RowSet::range(0..4)),
        slice(1, RowSet::range(4..10)),
    ]);
    assert_eq!(one_owner(&right, ready), Ok(()));
}

#[test]
fn a_row_planned_twice_is_a_violation() {
    let twice = page(vec![
        slice(1, RowSet::range(0..4)),
        slice(1, RowSet::range(3..6)),
    ]);
    assert_eq!(name(one_owner(&twice, ready)), Some("one owner"));
}

#[test]
fn a_row_that_is_not_ready_is_a_violation() {
    let far = page(vec![slice(1, RowSet::range(8..11))]);
    assert_eq!(name(one_owner(&far, ready)), Some("one owner"));
    let elsewhere = page(vec![slice(2, RowSet::range(0..1))]);
    assert_eq!(name(one_owner(&elsewhere, ready)), Some("one owner"));
}

#[test]
fn a_row_planned_under_other_inputs_is_a_violation() {
    let mut other = slice(1, RowSet::range(0..4));
    other.in_id = identity(2);
    let checked = one_owner(&page(vec![other]), ready);
    assert_eq!(name(checked), Some("no stale value is counted current"));
}

#[test]
fn an_empty_slice_is_a_violation() {
    let empty = page(vec![slice(1, RowSet::new())]);
    assert_eq!(name(one_owner(&empty, ready)), Some("no needless work"));
}
