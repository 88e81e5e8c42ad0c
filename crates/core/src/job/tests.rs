use proptest::prelude::*;

use super::*;
use crate::definition::Definition;
use crate::state::{Identities, classify};
use crate::testing::{Row, fragment_rows, generation, identity, job, record_of, some_rows};

const ROWS: u32 = 48;

fn identities() -> Identities {
    Identities::simple(identity(0), Some(identity(9)), Some(identity(8)))
}

fn padded(mut rows: Vec<Row>) -> Vec<Row> {
    rows.resize(ROWS as usize, Row::default());
    rows
}

fn takes() -> impl Strategy<Value = Take> {
    prop_oneof![
        Just(Take::InNeed),
        Just(Take::Recompute),
        Just(Take::Failed)
    ]
}

proptest! {
    #[test]
    fn a_job_takes_exactly_the_rows_that_were_asked_for_and_are_not_done(
        rows in fragment_rows(),
        take in takes(),
        ignore_filter in any::<bool>(),
        made_by in prop::option::of(0_u8..3),
        by_job in prop::option::of(1_u8..3),
        matching in some_rows(ROWS),
        ordered in 0_u64..5,
    ) {
        let rows = padded(rows);
        let record = record_of(&rows);
        let mut definition = Definition::sql("p", "double", "a", "a", vec![]);
        definition.accepted_generations = [(generation(1), vec![])].into();
        let filtered = if ignore_filter { RowSet::new() } else { record.filtered.clone() };
        let live = RowSet::full(ROWS);
        let state = classify(Some(&record), &identities(), &filtered, &live, &definition, &generation(0));
        let selection = Selection {
            take,
            filter: None,
            ignore_filter,
            generation: made_by.map(generation),
            job: by_job.map(job),
        };
        let taken = selection.rows(LedgerSeq(ordered), Some(&record), &state, &matching);
        for (offset, row) in (0_u32..).zip(&rows) {
            let in_need = state.in_need().contains(offset);
            let kind = match take {
                Take::InNeed => in_need,
                Take::Recompute => !state.filtered.contains(offset),
                Take::Failed => state.failed.contains(offset),
            };
            let origin = row.origin.as_ref();
            let asked = made_by.is_none() && by_job.is_none() || origin.is_some_and(|origin| {
                origin.generation.is_some()
                    && made_by.is_none_or(|made| origin.generation == Some(generation(made)))
                    && by_job.is_none_or(|number| origin.job == Some(job(number)))
            });
            let done = origin.is_some_and(|origin| origin.ledger >= LedgerSeq(ordered));
            let expected = kind && asked && !done && matching.contains(offset);
            prop_assert_eq!(taken.contains(offset), expected, "row {}: {:?}", offset, row);
        }
    }
}

#[test]
fn rows_on_which_the_filter_failed_are_not_retried() {
    let mut record = record_of(&padded(vec![]));
    let failed = Run {
        rows: RowSet::full(2),
        outcome: Outcome::Failed,
        generation: Some(generation(0)),
        in_id: identity(0),
        ledger: LedgerSeq(0),
        job: None,
    };
    let error = |row: u32, kind: &str| crate::coverage::RowErrors {
        rows: RowSet::range(row..row + 1),
        kind: kind.to_owned(),
        message: String::new(),
        traceback: None,
        attempts: 1,
    };
    record.lay_over(
        vec![failed],
        vec![error(0, "filter_overflow"), error(1, "overflow")],
    );
    let state = FragmentState {
        failed: RowSet::full(2),
        ..FragmentState::default()
    };
    let selection = Selection {
        take: Take::Failed,
        ..Selection::in_need()
    };
    let taken = selection.rows(LedgerSeq(1), Some(&record), &state, &RowSet::full(ROWS));
    assert_eq!(taken, RowSet::range(1..2));
}
