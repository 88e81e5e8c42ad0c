use proptest::prelude::*;

use super::*;
use crate::invariant;
use crate::testing::{
    Row, fragment_rows, generation, identities_of, identity, reads, record_of, some_rows,
};

/// Names of the sets of a state, in the order of [`sets`].
const STATES: [&str; 9] = [
    "filtered",
    "current",
    "failed",
    "blocked",
    "unassigned",
    "stale_input",
    "stale_definition",
    "unknown",
    "distrusted",
];

fn sets(state: &FragmentState) -> [&RowSet; 9] {
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

/// The state of one live row, as the design tells it.
fn state_of(
    row: &Row,
    filtered: bool,
    own: &GenerationId,
    definition: &Definition,
    identities: &Identities,
) -> &'static str {
    if filtered {
        return "filtered";
    }
    let Some(origin) = &row.origin else {
        return "unassigned";
    };
    let own_generation = origin.generation.as_ref() == Some(own);
    let accepted = own_generation
        || origin
            .generation
            .as_ref()
            .is_some_and(|made_by| definition.accepted_generations.contains_key(made_by));
    let older = (origin.generation.as_ref()).and_then(|made_by| identities.older.get(made_by));
    let (reads, certain) = match (&origin.generation, older) {
        (None, _) => {
            let certain = identities.older.values().all(|older| older.certain);
            (identities.watched, certain)
        }
        (Some(_), Some(older)) => (older.in_id, older.certain),
        (Some(_), None) => (identity(0), true),
    };
    let of_unknown = match definition.on_unknown {
        OnUnknown::Trust => "unknown",
        OnUnknown::Recompute => "distrusted",
    };
    let changed = origin.in_id != reads;
    match origin.outcome {
        Outcome::Supplied => "current",
        _ if changed && certain => "stale_input",
        Outcome::Unknown => of_unknown,
        Outcome::Failed if own_generation => "failed",
        Outcome::Value | Outcome::Null if accepted && changed => of_unknown,
        Outcome::Value | Outcome::Null if accepted => "current",
        _ => "stale_definition",
    }
}

pub(crate) fn some_definition() -> impl Strategy<Value = Definition> {
    (prop::collection::btree_set(0_u8..3, 0..3), any::<bool>()).prop_map(|(accepted, trust)| {
        let mut definition = Definition::sql("p", "double", "a", "a", vec![]);
        definition.accepted_generations = (accepted.into_iter())
            .map(|number| (generation(number), vec![]))
            .collect();
        definition.on_unknown = match trust {
            true => OnUnknown::Trust,
            false => OnUnknown::Recompute,
        };
        definition
    })
}

const PRESENT: fn() -> Identities = || Identities::simple(identity(0), None, None);

proptest! {
    #[test]
    fn each_live_row_is_in_the_state_that_its_own_history_says(
        rows in fragment_rows(),
        // A scan's result, not the record's own set.
        filtered in some_rows(48),
        live in some_rows(40),
        definition in some_definition(),
        reads in reads(),
    ) {
        let own = generation(0);
        let identities = identities_of(&reads, &definition, &own);
        let live = live.intersection(&RowSet::full(u32::try_from(rows.len()).expect("few")));
        let state = classify(Some(&record_of(&rows)), &identities, &filtered, &live, &definition, &own);
        for (name, set) in STATES.iter().zip(sets(&state)) {
            let expected: RowSet = live
                .iter()
                .filter(|row| {
                    state_of(&rows[*row as usize], filtered.contains(*row), &own, &definition, &identities) == *name
                })
                .collect();
            prop_assert_eq!(set, &expected, "{}", name);
        }
        prop_assert_eq!(invariant::no_lost_row(&state, &live), Ok(()));
        prop_assert_eq!(invariant::counts_add_up(&state.counts()), Ok(()));
        prop_assert_eq!(state.counts().total, live.len());
        prop_assert_eq!(state.counts().remaining() + state.distrusted.len(), state.in_need().len());
    }

    #[test]
    fn blocking_moves_rows_in_need_and_no_others(
        rows in fragment_rows(),
        behind in some_rows(40),
        definition in some_definition(),
    ) {
        let record = record_of(&rows);
        let live = RowSet::full(record.physical_rows);
        let before = classify(Some(&record), &PRESENT(), &record.filtered, &live, &definition, &generation(0));
        let mut after = before.clone();
        after.block(&behind);
        prop_assert_eq!(&after.blocked, &before.in_need().intersection(&behind));
        prop_assert_eq!(after.in_need(), before.in_need().difference(&behind));
        prop_assert_eq!(invariant::no_lost_row(&after, &live), Ok(()));
        for kept in ["filtered", "current", "failed", "unknown"] {
            let place = STATES.iter().position(|name| *name == kept).expect("a state");
            prop_assert_eq!(sets(&after)[place], sets(&before)[place]);
        }
    }
}

#[test]
fn without_a_record_every_live_row_that_is_not_filtered_is_unassigned() {
    let definition = Definition::sql("p", "double", "a", "a", vec![]);
    let filtered = RowSet::range(0..3);
    let live = RowSet::range(2..9);
    let state = classify(
        None,
        &PRESENT(),
        &filtered,
        &live,
        &definition,
        &generation(0),
    );
    assert_eq!(state.filtered, RowSet::range(2..3));
    assert_eq!(state.unassigned, RowSet::range(3..9));
    assert_eq!(state.counts().total, 7);
}

#[test]
fn a_fragment_without_live_rows_is_settled() {
    let definition = Definition::sql("p", "double", "a", "a", vec![]);
    let none = RowSet::new();
    let state = classify(
        None,
        &PRESENT(),
        &RowSet::full(4),
        &none,
        &definition,
        &generation(0),
    );
    assert!(state.is_settled());
    assert_eq!(state.counts(), Counts::default());
}
