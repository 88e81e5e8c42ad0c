use proptest::prelude::*;

use super::*;
use crate::identity::of_fields;
use crate::invariant;
use crate::table::FragmentView;

fn some_identity() -> Identity {
    let view = FragmentView {
        id: 0,
        physical_rows: 0,
        deletion: None,
        files: vec![],
        overlays: vec![],
    };
    of_fields(&view, [])
}

pub(super) fn need(fragment: FragmentId, ready: RowSet) -> FragmentNeed {
    FragmentNeed {
        fragment,
        in_id: some_identity(),
        watched: crate::testing::identity(2),
        out: None,
        ready,
        open: RowSet::new(),
        parts: vec![],
        part_rows: RowSet::new(),
        live_rows: 1_000,
        oldest_part_s: 0,
        fold_open: false,
    }
}

pub(super) fn limits(rows_per_s: f64) -> Limits {
    Limits {
        rows_per_s,
        target_s: 30.0,
        workers: 2,
        most_rows_per_batch: u64::MAX,
        most_batches: 64,
        most_slices: 16,
        deadline_s: 60,
        fold_deadline_s: 60,
        most_rows: u64::MAX,
        fold_now: false,
        after: None,
    }
}

#[test]
fn small_fragments_share_a_batch() {
    let needs: Vec<_> = (0..10).map(|id| need(id, RowSet::full(100))).collect();
    let page = cut(&needs, &limits(1e6));
    assert_eq!(page.batches.len(), 1);
    assert_eq!(page.rows(), 1_000);
    assert!(
        page.batches[0]
            .slices
            .iter()
            .all(|slice| slice.target == Target::ColumnFile)
    );
}

#[test]
fn new_fragments_can_be_cut_alone() {
    let needs: Vec<_> = (0..10).map(|id| need(id, RowSet::full(100))).collect();
    let new = Limits {
        after: Some(7),
        ..limits(1e6)
    };
    let page = cut(&needs, &new);
    let fragments: Vec<_> = (page.batches.iter())
        .flat_map(|batch| batch.slices.iter().map(|slice| slice.fragment))
        .collect();
    assert_eq!((fragments, page.rows()), (vec![8, 9], 200));
    assert_eq!(page.rows_left, 0, "of the fragments that were asked for");
}

#[test]
fn slow_functions_split_a_fragment_into_parts() {
    let page = cut(&[need(1, RowSet::full(100))], &limits(1.0));
    assert_eq!(page.batches.len(), 4);
    assert!(
        page.batches
            .iter()
            .all(|batch| batch.slices[0].target == Target::Values)
    );
    assert_eq!(page.rows(), 100);
}

#[test]
fn a_fragment_with_open_work_is_never_written_straight() {
    let mut busy = need(1, RowSet::range(0..10));
    busy.open = RowSet::range(10..20);
    let page = cut(&[busy], &limits(1e6));
    assert_eq!(page.batches[0].slices[0].target, Target::Values);
}

fn part() -> FoldPart {
    FoldPart {
        batch: "00000000000000000001-ab-0".parse().expect("valid"),
        journey: None,
    }
}

#[test]
fn a_fold_waits_for_the_last_part() {
    let mut waiting = need(1, RowSet::new());
    waiting.parts = vec![part()];
    waiting.open = RowSet::range(0..5);
    assert!(
        cut(std::slice::from_ref(&waiting), &limits(1e6))
            .folds
            .is_empty()
    );
    let left = Limits {
        fold_now: true,
        ..limits(1e6)
    };
    assert_eq!(cut(std::slice::from_ref(&waiting), &left).folds.len(), 1);
    waiting.open = RowSet::new();
    assert_eq!(
        cut(std::slice::from_ref(&waiting), &limits(1e6))
            .folds
            .len(),
        1
    );
    waiting.fold_open = true;
    assert!(cut(&[waiting], &limits(1e6)).folds.is_empty());
}

#[test]
fn a_quarter_of_a_fragment_that_waits_for_long_is_folded_early() {
    let mut slow = need(1, RowSet::new());
    slow.parts = vec![part()];
    slow.open = RowSet::range(500..1_000);
    slow.part_rows = RowSet::range(0..250);
    slow.oldest_part_s = 600;
    let folds = |need: &FragmentNeed| cut(std::slice::from_ref(need), &limits(1.0)).folds;
    assert_eq!(folds(&slow).len(), 1);
    assert_eq!(folds(&slow)[0].rows, slow.part_rows);
    slow.oldest_part_s = 599;
    assert!(folds(&slow).is_empty());
    slow.oldest_part_s = 6_000;
    slow.part_rows = RowSet::range(0..249);
    assert!(folds(&slow).is_empty());
}

#[test]
fn a_held_column_folds_what_is_finished() {
    let mut held = need(1, RowSet::range(10..20));
    held.parts = vec![part()];
    let limits = Limits {
        most_rows: 0,
        ..limits(1e6)
    };
    let page = cut(&[held], &limits);
    assert_eq!((page.folds.len(), page.rows()), (1, 0));
}

proptest! {
    #[test]
    fn every_ready_row_is_planned_once_or_left(
        fragments in prop::collection::vec(prop::collection::vec(0_u32..3_000, 0..300), 0..12),
        rate in 0.1_f64..10_000.0,
        most_rows in prop_oneof![Just(u64::MAX), 0_u64..2_000],
        most_batches in 1_usize..20,
    ) {
        let needs: Vec<_> = fragments
            .into_iter()
            .zip(0..)
            .map(|(rows, id)| need(id, rows.into_iter().collect()))
            .collect();
        let limits = Limits { most_rows, most_batches, ..limits(rate) };
        let page = cut(&needs, &limits);
        let ready = |id| needs.iter().find(|need| need.fragment == id).map(|need| (need.ready.clone(), need.in_id));
        prop_assert_eq!(invariant::one_owner(&page, ready), Ok(()));
        let total: u64 = needs.iter().map(|need| need.ready.len()).sum();
        prop_assert_eq!(page.rows() + page.rows_left, total);
        prop_assert!(page.rows() <= most_rows);
        // A straight slice owns its fragment: all ready rows, nobody else.
        for slice in page.batches.iter().flat_map(|batch| &batch.slices) {
            if slice.target == Target::ColumnFile {
                prop_assert_eq!(Some(&slice.rows), needs.iter().find(|need| need.fragment == slice.fragment).map(|need| &need.ready));
            }
        }
    }
}
