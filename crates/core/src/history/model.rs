//! Carried state against a model that follows each row by itself.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::coverage::Outcome;
use crate::ids::LedgerSeq;
use crate::state::OlderInputs;
use crate::testing::{
    Origin, Row, binding, fragment_rows, generation, identity, origin, record_of, row, rows_of,
    some_rows,
};

/// Inputs of an old fragment before the move, of the new one after it.
const THEN: u8 = 0;
const NOW: u8 = 5;

/// Where each row of the new fragment came from: the old fragment and the offset in it.
type Sources = Vec<Option<(usize, u32)>>;

/// Old fragments, and a new one into which some of their rows moved in any order.
fn some_moves() -> impl Strategy<Value = (Vec<Vec<Row>>, Sources)> {
    prop::collection::vec(fragment_rows(), 1..4).prop_flat_map(|fragments| {
        let mut all: Vec<Option<(usize, u32)>> = vec![];
        for (fragment, rows) in fragments.iter().enumerate() {
            all.extend(
                (0_u32..)
                    .zip(rows)
                    .map(|(offset, _)| Some((fragment, offset))),
            );
        }
        // Rows from nowhere are inserted ones.
        all.extend([None; 3]);
        let count = 0..=all.len();
        // Orderly halves keep stretches; a shuffle breaks them up.
        let sources = prop_oneof![
            Just(all.clone()),
            (Just(all).prop_shuffle(), count).prop_map(|(mut all, count)| {
                all.truncate(count);
                all
            }),
        ];
        (Just(fragments), sources)
    })
}

/// The moves out of one old fragment, as stretches.
fn moves_of(sources: &Sources, from: usize) -> Vec<Move> {
    let mut moves: Vec<Move> = vec![];
    for (new, source) in (0_u32..).zip(sources) {
        let Some((fragment, old)) = *source else {
            continue;
        };
        if fragment != from {
            continue;
        }
        match moves.last_mut() {
            Some(last) if last.old + last.rows == old && last.new + last.rows == new => {
                last.rows += 1
            }
            _ => moves.push(Move { old, new, rows: 1 }),
        }
    }
    moves
}

fn identities(in_id: u8) -> Identities {
    Identities::simple(identity(in_id), Some(identity(9)), Some(identity(8)))
}

/// The same where the second generation reads a column of its own, and both are watched.
fn with_older(in_id: u8, older: u8, watched: u8) -> Identities {
    let inputs = OlderInputs {
        in_id: identity(older),
        certain: true,
    };
    Identities {
        older: [(generation(1), inputs)].into(),
        watched: identity(watched),
        ..identities(in_id)
    }
}

fn supplied() -> Origin {
    Origin {
        outcome: Outcome::Supplied,
        generation: None,
        in_id: identity(NOW),
        ledger: LedgerSeq(0),
        job: None,
    }
}

fn physical_rows(sources: &Sources) -> u32 {
    u32::try_from(sources.len()).expect("few")
}

/// Rows that changed in whatever is read.
fn all_of(rows: &RowSet) -> ChangedRows {
    ChangedRows {
        own: rows.clone(),
        any: rows.clone(),
        ..ChangedRows::default()
    }
}

proptest! {
    #[test]
    fn rows_of_each_generation_follow_the_columns_that_it_reads(
        (fragments, sources) in some_moves(),
        own in some_rows(120),
        older in some_rows(120),
    ) {
        let changed = ChangedRows {
            any: own.union(&older),
            own: own.clone(),
            older: [(generation(1), older.clone())].into(),
        };
        // Origins have one of the first two identities: as the older inputs and all together were.
        let (then, now) = (with_older(0, 1, 0), with_older(5, 6, 4));
        let mut carried = Carried::new(&binding(), 7, physical_rows(&sources), now.clone());
        for (place, rows) in fragments.iter().enumerate() {
            carried.add(&record_of(rows), &then, &moves_of(&sources, place), &changed);
        }
        let record = carried.into_record();
        prop_assert_eq!(record.in_id, identity(4));
        let is = rows_of(&record);
        for (offset, source) in (0_u32..).zip(&sources) {
            let Some((fragment, old)) = *source else { continue };
            let (was, is) = (&fragments[fragment][old as usize].origin, &is[offset as usize].origin);
            let (Some(was), Some(is)) = (was, is) else {
                prop_assert_eq!(was, is);
                continue;
            };
            let is_older = was.generation == Some(generation(1));
            let (before, after, touched) = match &was.generation {
                None => (0, 4, own.contains(offset) || older.contains(offset)),
                Some(_) if is_older => (1, 6, older.contains(offset)),
                Some(_) => (0, 5, own.contains(offset)),
            };
            let follows = was.in_id == identity(before) && !touched;
            let expected = if follows { identity(after) } else { was.in_id };
            prop_assert_eq!(is.in_id, expected);
        }
    }

    #[test]
    fn rows_that_moved_keep_their_state_and_changed_ones_their_old_inputs(
        (fragments, sources) in some_moves(),
        changed in some_rows(120),
        supplied_rows in some_rows(120),
        forgotten in some_rows(120),
    ) {
        let all = RowSet::full(physical_rows(&sources));
        let supplied_rows = supplied_rows.intersection(&all);
        let mut carried = Carried::new(&binding(), 7, physical_rows(&sources), identities(NOW));
        for (place, rows) in fragments.iter().enumerate() {
            carried.add(&record_of(rows), &identities(THEN), &moves_of(&sources, place), &all_of(&changed));
        }
        carried.forget(&forgotten);
        carried.lay_over(vec![Run {
            rows: supplied_rows.clone(),
            outcome: Outcome::Supplied,
            generation: None,
            in_id: identity(NOW),
            ledger: LedgerSeq(0),
            job: None,
        }]);
        let record = carried.into_record();
        let model: Vec<Row> = (0_u32..)
            .zip(&sources)
            .map(|(offset, source)| {
                let mut row = source.map(|(fragment, old)| fragments[fragment][old as usize].clone()).unwrap_or_default();
                if let Some(origin) = &mut row.origin {
                    let was_present = origin.in_id == identity(THEN);
                    if was_present && !changed.contains(offset) {
                        origin.in_id = identity(NOW);
                    }
                }
                if forgotten.contains(offset) {
                    row = Row { filtered: row.filtered, ..Row::default() };
                }
                if supplied_rows.contains(offset) {
                    row = Row { origin: Some(supplied()), error: None, filtered: row.filtered };
                }
                row
            })
            .collect();
        prop_assert_eq!(rows_of(&record), model);
        prop_assert_eq!(record.elig_id, Some(identity(9)));
        prop_assert_eq!((record.in_id, record.out, record.file), (identity(NOW), Some(identity(8)), None));
    }

    #[test]
    fn a_filter_that_any_source_had_not_asked_must_be_asked_again(
        (fragments, sources) in some_moves(),
        stale_source in any::<prop::sample::Index>(),
        forget in any::<bool>(),
    ) {
        let stale_source = stale_source.index(fragments.len());
        let mut carried = Carried::new(&binding(), 7, physical_rows(&sources), identities(NOW));
        for (place, rows) in fragments.iter().enumerate() {
            let mut record = record_of(rows);
            if !forget && place == stale_source {
                record.elig_id = Some(identity(10));
            }
            carried.add(&record, &identities(THEN), &moves_of(&sources, place), &ChangedRows::default());
        }
        if forget {
            carried.forget_filter();
        }
        let record = carried.into_record();
        prop_assert_eq!(record.elig_id, None);
        prop_assert!(record.filtered.is_empty());
    }

    #[test]
    fn rows_differ_exactly_when_another_order_or_outcome_made_them(
        rows in prop::collection::vec((row(), prop::option::of(origin())), 0..40),
    ) {
        // Half of the rows keep what they had.
        let (before, after): (Vec<Row>, Vec<Row>) = rows
            .into_iter()
            .map(|(before, other)| {
                let after = match other {
                    Some(origin) => Row { origin: Some(origin), error: None, filtered: false },
                    None => before.clone(),
                };
                (before, after)
            })
            .unzip();
        let told = |row: &Row| row.origin.clone().map(|origin| (origin.ledger, origin.outcome, origin.generation));
        let expected: RowSet = (0_u32..)
            .zip(before.iter().zip(&after))
            .filter(|(_, (before, after))| told(before) != told(after))
            .map(|(offset, _)| offset)
            .collect();
        let count = u32::try_from(before.len()).expect("few");
        let (was, is) = (record_of(&before), record_of(&after));
        prop_assert_eq!(rows_that_differ(Some(&was), Some(&is), count), expected);
        prop_assert_eq!(rows_that_differ(None, Some(&is), count), RowSet::full(count));
        prop_assert_eq!(rows_that_differ(Some(&was), None, count), RowSet::full(count));
    }

    #[test]
    fn moved_rows_are_found_one_by_one((fragments, sources) in some_moves(), picked in some_rows(60)) {
        for place in 0..fragments.len() {
            let places: BTreeMap<u32, u32> = (0_u32..)
                .zip(&sources)
                .filter_map(|(new, source)| source.filter(|(from, _)| *from == place).map(|(_, old)| (old, new)))
                .collect();
            let expected: RowSet = picked.iter().filter_map(|old| places.get(&old).copied()).collect();
            prop_assert_eq!(moved(&picked, &moves_of(&sources, place)), expected);
        }
    }
}

#[test]
fn a_fragment_that_stays_in_place_keeps_every_offset() {
    let rows: RowSet = [0, 3, 4, 9].into_iter().collect();
    assert_eq!(moved(&rows, &in_place(10)), rows);
    assert_eq!(moved(&RowSet::new(), &in_place(0)), RowSet::new());
}

#[test]
fn the_last_possible_row_moves_without_overflow() {
    let last = u32::MAX - 1;
    let rows = RowSet::range(last..u32::MAX);
    let stretch = Move {
        old: last,
        new: last,
        rows: 1,
    };
    assert_eq!(moved(&rows, &[stretch]), rows);
    assert_eq!(moved(&rows, &in_place(u32::MAX)), rows);
}
