//! Snapshot entries against what the records say.

use proptest::prelude::*;

use super::*;
use crate::state::tests::some_definition;
use crate::state::{Identities, Inputs, classify};
use crate::testing::{
    fragment_rows, generation, identities_of, identity, reads, record_of, some_rows,
};

fn some_generation() -> impl Strategy<Value = Option<GenerationId>> {
    prop::option::of((0_u8..3).prop_map(generation))
}

fn first() -> Identities {
    Identities::simple(identity(0), Some(identity(9)), Some(identity(8)))
}

/// Whether the inputs of all these rows can be told: the snapshot keeps no others.
fn all_told(record: &CoverageRecord, identities: &Identities, rows: &RowSet) -> bool {
    let untold = |run: &crate::coverage::Run| {
        run.outcome != Outcome::Supplied
            && identities.compare(run.generation.as_ref(), run.in_id) == Inputs::Untold
    };
    let mut runs = record.runs.iter();
    !runs.any(|run| untold(run) && !rows.is_disjoint(&run.rows))
}

proptest! {
    #[test]
    fn an_entry_counts_as_the_record_does_exactly_when_nothing_is_in_need(
        rows in fragment_rows(),
        live in some_rows(40),
        head in some_generation(),
        definition in some_definition(),
        own in (0_u8..3).prop_map(generation),
        reads in reads(),
    ) {
        let record = record_of(&rows);
        let live = live.intersection(&RowSet::full(record.physical_rows));
        let identities = identities_of(&reads, &definition, &own);
        let state = classify(Some(&record), &identities, &record.filtered, &live, &definition, &own);
        let counts = Entry::of(&record, &identities, 1, &live, head.as_ref())
            .and_then(|entry| entry.settled_counts(head.as_ref(), &definition, &own));
        let told = all_told(&record, &identities, &state.current.union(&state.unknown));
        let settled = state.in_need().is_empty() && told;
        prop_assert_eq!(counts, settled.then(|| state.counts()));
    }

    #[test]
    fn a_row_in_two_runs_is_counted_once(
        rows in fragment_rows(),
        extra in some_rows(40),
        own in (0_u8..3).prop_map(generation),
        definition in some_definition(),
        reads in reads(),
    ) {
        // No writer of ours makes such a record; it must not hide a row that has no value.
        let mut record = record_of(&rows);
        if let Some(run) = record.runs.last_mut() {
            run.rows.extend(&extra);
        }
        let live = RowSet::full(48);
        let identities = identities_of(&reads, &definition, &own);
        let state = classify(Some(&record), &identities, &record.filtered, &live, &definition, &own);
        let counts = Entry::of(&record, &identities, 1, &live, Some(&own))
            .and_then(|entry| entry.settled_counts(Some(&own), &definition, &own));
        let told = all_told(&record, &identities, &state.current.union(&state.unknown));
        let settled = state.in_need().is_empty() && told;
        prop_assert_eq!(counts, settled.then(|| state.counts()));
    }

    #[test]
    fn applying_a_newer_snapshot_equals_summing_all_records_up_again(
        older in prop::collection::btree_map(0_u64..6, fragment_rows(), 0..5),
        newer in prop::collection::btree_map(0_u64..6, fragment_rows(), 0..5),
        heads in (some_generation(), some_generation()),
    ) {
        let sum_up = |fragments: &BTreeMap<FragmentId, Vec<_>>, head: &Option<GenerationId>| {
            fragments
                .iter()
                .filter_map(|(fragment, rows)| {
                    let record = record_of(rows);
                    let live = RowSet::full(record.physical_rows);
                    Some((*fragment, Entry::of(&record, &first(), *fragment, &live, head.as_ref())?))
                })
                .collect::<BTreeMap<_, _>>()
        };
        let snapshot = |entries, generation: &Option<GenerationId>, table_version| CoverageSnapshot {
            head: Head { table_version, generation: generation.clone(), ..Head::default() },
            entries,
        };
        let (was, is) = heads;
        let mut applied = snapshot(sum_up(&older, &was), &was, 1);
        applied.apply(snapshot(sum_up(&newer, &is), &is, 2));
        let mut expected = sum_up(&older, &is);
        expected.extend(sum_up(&newer, &is));
        let expected = snapshot(expected, &is, 2);
        prop_assert_eq!(&applied, &expected);
        let bytes = applied.encode().expect("encodes");
        prop_assert_eq!(CoverageSnapshot::decode(&bytes), Ok(expected));
    }
}

#[test]
fn rows_of_many_ledger_entries_make_one_number() {
    let mut record = record_of(&[]);
    for ledger in 1..=20 {
        let offset = u32::try_from(ledger).expect("small");
        record.runs.push(crate::coverage::Run {
            rows: RowSet::range(offset..offset + 1),
            outcome: Outcome::Value,
            generation: Some(generation(1)),
            in_id: record.in_id,
            ledger: crate::ids::LedgerSeq(ledger),
            job: None,
        });
    }
    let entry = Entry::of(
        &record,
        &first(),
        1,
        &RowSet::range(1..21),
        Some(&generation(0)),
    );
    let others = entry.map(|entry| entry.others).unwrap_or_default();
    assert_eq!(others.len(), 1);
    assert_eq!(others[0].rows, 20);
}

#[test]
fn an_entry_whose_numbers_do_not_add_up_is_damage() {
    let mut snapshot = CoverageSnapshot::default();
    let entry = Entry {
        live: 3,
        filtered: 4,
        ..Entry::default()
    };
    snapshot.entries.insert(1, entry);
    let bytes = snapshot.encode().expect("encodes");
    assert!(CoverageSnapshot::decode(&bytes).is_err());
}
