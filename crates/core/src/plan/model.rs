//! Properties of cutting.

use proptest::prelude::*;

use super::tests::{limits, need};
use super::*;
use crate::invariant;
use crate::testing::{batch, some_rows};

fn part(index: u32) -> FoldPart {
    FoldPart {
        batch: batch(1, index),
        journey: None,
    }
}

fn some_need(fragment: FragmentId) -> impl Strategy<Value = FragmentNeed> {
    let rows = prop_oneof![
        2 => (0_u32..400).prop_map(RowSet::full),
        2 => some_rows(60),
        1 => Just(RowSet::new()),
    ];
    let rarely = prop::bool::weighted(0.2);
    (
        rows,
        rarely,
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.2),
    )
        .prop_map(move |(ready, open, parts, fold_open)| FragmentNeed {
            open: match open {
                true => RowSet::range(1_000..1_010),
                false => RowSet::new(),
            },
            parts: match parts {
                true => vec![part(0), part(3)],
                false => vec![],
            },
            fold_open,
            ..need(fragment, ready)
        })
}

fn some_needs() -> impl Strategy<Value = Vec<FragmentNeed>> {
    prop::collection::vec(any::<prop::sample::Index>(), 0..14).prop_flat_map(|places| {
        (0_u64..)
            .zip(places)
            .map(|(id, _)| some_need(id))
            .collect::<Vec<_>>()
    })
}

fn some_limits() -> impl Strategy<Value = Limits> {
    (
        prop_oneof![
            0.1_f64..50.0,
            50.0_f64..100_000.0,
            Just(f64::NAN),
            Just(f64::INFINITY)
        ],
        prop_oneof![Just(u64::MAX), 1_u64..300],
        0_usize..12,
        1_usize..6,
        prop_oneof![Just(u64::MAX), 0_u64..2_000],
        0_u32..5,
    )
        .prop_map(
            |(rate, most_rows_per_batch, most_batches, most_slices, most_rows, workers)| Limits {
                workers,
                most_rows_per_batch,
                most_batches,
                most_slices,
                most_rows,
                ..limits(rate)
            },
        )
}

/// The needs after a page was handed out: its rows are open.
fn hand_out(needs: &mut [FragmentNeed], page: &PlannedPage) {
    for slice in page.batches.iter().flat_map(|batch| &batch.slices) {
        for need in needs
            .iter_mut()
            .filter(|need| need.fragment == slice.fragment)
        {
            need.ready.remove(&slice.rows);
            need.open.extend(&slice.rows);
        }
    }
    for fold in &page.folds {
        for need in needs
            .iter_mut()
            .filter(|need| need.fragment == fold.fragment)
        {
            need.fold_open = true;
        }
    }
}

proptest! {
    #[test]
    fn a_page_keeps_to_its_limits(needs in some_needs(), limits in some_limits()) {
        let page = cut(&needs, &limits);
        prop_assert!(page.batches.len() <= limits.most_batches);
        prop_assert!(page.rows() <= limits.most_rows);
        for batch in &page.batches {
            prop_assert!(!batch.slices.is_empty() && batch.slices.len() <= limits.most_slices);
            prop_assert_eq!(batch.deadline_s, limits.deadline_s);
            let largest = batch.slices.iter().map(|slice| slice.rows.len()).max().unwrap_or_default();
            prop_assert!(largest <= limits.most_rows_per_batch);
            // The last fragment may tip a batch over, but only that one.
            let last = batch.slices.last().map_or(0, |slice| slice.rows.len());
            prop_assert!(batch.slices.len() == 1 || batch.rows() - last < limits.most_rows_per_batch);
            let mut fragments: Vec<_> = batch.slices.iter().map(|slice| slice.fragment).collect();
            fragments.dedup();
            prop_assert_eq!(fragments.len(), batch.slices.len(), "a fragment occurs once");
        }
    }

    #[test]
    fn a_fold_is_planned_exactly_when_parts_wait_and_nothing_else_comes(needs in some_needs(), limits in some_limits()) {
        let page = cut(&needs, &limits);
        for need in &needs {
            let complete = need.open.is_empty() && (need.ready.is_empty() || limits.most_rows == 0);
            let due = !need.parts.is_empty() && complete && !need.fold_open;
            let folds: Vec<_> = page.folds.iter().filter(|fold| fold.fragment == need.fragment).collect();
            prop_assert_eq!(folds.len(), usize::from(due));
            for fold in folds {
                prop_assert_eq!(&fold.parts, &need.parts);
                prop_assert_eq!((fold.in_id, fold.out), (need.watched, need.out));
            }
        }
    }

    #[test]
    fn only_an_idle_fragment_taken_whole_is_written_straight(needs in some_needs(), limits in some_limits()) {
        let page = cut(&needs, &limits);
        for slice in page.batches.iter().flat_map(|batch| &batch.slices) {
            let need = needs.iter().find(|need| need.fragment == slice.fragment).expect("planned from it");
            prop_assert_eq!((slice.in_id, slice.out), (need.in_id, need.out));
            if slice.target == Target::ColumnFile {
                prop_assert!(need.open.is_empty() && need.parts.is_empty() && !need.fold_open);
                prop_assert_eq!(&slice.rows, &need.ready);
            }
        }
    }

    #[test]
    fn pages_cut_one_after_another_hand_out_every_row_once(needs in some_needs(), limits in some_limits()) {
        let limits = Limits { most_rows: u64::MAX, most_batches: limits.most_batches.max(1), ..limits };
        let total: u64 = needs.iter().map(|need| need.ready.len()).sum();
        let mut left = needs;
        let mut handed_out = 0;
        for _ in 0..=total {
            let page = cut(&left, &limits);
            let ready = |id| left.iter().find(|need| need.fragment == id).map(|need| (need.ready.clone(), need.in_id));
            // Only rows that no page before had are still ready.
            prop_assert_eq!(invariant::one_owner(&page, ready), Ok(()));
            handed_out += page.rows();
            prop_assert_eq!(handed_out + page.rows_left, total);
            hand_out(&mut left, &page);
            if page.rows() == 0 {
                break;
            }
        }
        prop_assert_eq!(handed_out, total);
        prop_assert!(cut(&left, &limits).is_empty(), "what is handed out is not planned again");
    }

    #[test]
    fn the_same_needs_are_cut_the_same(needs in some_needs(), limits in some_limits()) {
        prop_assert_eq!(cut(&needs, &limits), cut(&needs, &limits));
    }
}

#[test]
fn the_batch_that_small_fragments_share_counts_as_one_of_the_page() {
    let needs = [need(1, RowSet::full(10)), need(2, RowSet::full(500))];
    let limits = Limits {
        most_batches: 1,
        most_rows_per_batch: 100,
        ..limits(1e6)
    };
    let page = cut(&needs, &limits);
    assert_eq!(page.batches.len(), 1);
    assert_eq!(page.rows() + page.rows_left, 510);
}
