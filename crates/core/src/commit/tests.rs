use std::collections::BTreeMap;

use super::*;
use crate::definition::Definition;
use crate::table::FieldView;
use crate::testing::{Row, binding, errors_of, generation, identity, job, offsets};

pub(super) const PHYSICAL_ROWS: u32 = 48;

pub(super) fn column() -> BoundColumn {
    let mut definition = Definition::sql("p", "double", "a", "a", vec![]);
    definition.accepted_generations = [(generation(0), vec![])].into();
    let output = FieldView {
        id: 3,
        name: "p".to_owned(),
        data_type: "double".to_owned(),
        nullable: true,
        metadata: BTreeMap::new(),
        tree_ids: vec![3],
    };
    BoundColumn {
        binding: binding(),
        generation: definition.generation(),
        definition,
        name: "p".to_owned(),
        outputs: vec![output],
        inputs: vec![],
        filter_inputs: vec![],
        older: BTreeMap::new(),
        watched: vec![],
        earlier: vec![],
    }
}

pub(super) fn present(record: Option<CoverageRecord>) -> Present {
    Present {
        physical_rows: PHYSICAL_ROWS,
        identities: Identities::simple(identity(0), Some(identity(9)), Some(identity(8))),
        place: Some(Place {
            identity: identity(8),
            file: Some("old.lance".to_owned()),
        }),
        record,
    }
}

pub(super) fn file() -> StagedColumnFile {
    StagedColumnFile {
        name: "new.lance".to_owned(),
        size_bytes: 1,
        physical_rows: PHYSICAL_ROWS,
        over: Some(identity(8)),
        descriptor: String::new(),
    }
}

/// A result with these rows; those of other outcomes than a computation has are left out.
pub(super) fn contribution(ledger: u64, rows: &[Row]) -> Contribution {
    let of = |outcome| {
        offsets(rows, |row| {
            row.origin
                .as_ref()
                .is_some_and(|origin| origin.outcome == outcome)
        })
    };
    Contribution {
        ledger: LedgerSeq(ledger),
        job: Some(job(1)),
        generation: generation(0),
        result: SliceResult {
            fragment: 7,
            in_id: identity(0),
            values: of(Outcome::Value),
            nulls: of(Outcome::Null),
            failed: errors_of(rows),
            output: SliceOutput::Nothing,
        },
    }
}

pub(super) fn finished(
    file: Option<StagedColumnFile>,
    contributions: Vec<Contribution>,
) -> Finished {
    Finished {
        fragment: 7,
        file,
        contributions,
    }
}

fn one_value() -> Vec<Contribution> {
    let mut one = contribution(2, &[]);
    one.result.values = RowSet::range(0..1);
    vec![one]
}

fn dropped(decision: &Decision) -> Option<DropReason> {
    match decision {
        Decision::Drop(reason) => Some(*reason),
        Decision::Publish { .. } | Decision::Record(_) | Decision::Landed => None,
    }
}

#[test]
fn nothing_is_published_over_what_it_was_not_made_for() {
    let right = finished(Some(file()), one_value());
    let now = present(None);
    assert!(matches!(
        decide(&right, Some(&now), &column()),
        Decision::Publish { .. }
    ));
    let with_file = |change: fn(&mut StagedColumnFile)| {
        let mut file = file();
        change(&mut file);
        finished(Some(file), one_value())
    };
    let with_contribution = |change: fn(&mut Contribution)| {
        let mut contributions = one_value();
        contributions.insert(0, contribution(1, &[]));
        change(&mut contributions[1]);
        finished(Some(file()), contributions)
    };
    let with_present = |change: fn(&mut Present)| {
        let mut now = present(None);
        change(&mut now);
        now
    };
    let cases = [
        (
            "the fragment is gone",
            right.clone(),
            None,
            DropReason::FragmentGone,
        ),
        (
            "one result is of other inputs",
            with_contribution(|one| one.result.in_id = identity(1)),
            Some(now.clone()),
            DropReason::InputsChanged,
        ),
        (
            "the inputs changed",
            right.clone(),
            Some(with_present(|now| now.identities.in_id = identity(1))),
            DropReason::InputsChanged,
        ),
        (
            "the file lies over another state of the column",
            with_file(|file| file.over = Some(identity(1))),
            Some(now.clone()),
            DropReason::ColumnChanged,
        ),
        (
            "the file lies over nothing, and there is something now",
            with_file(|file| file.over = None),
            Some(now.clone()),
            DropReason::ColumnChanged,
        ),
        (
            "the column changed",
            right.clone(),
            Some(with_present(|now| now.identities.out = Some(identity(1)))),
            DropReason::ColumnChanged,
        ),
        (
            "the column is gone from the fragment",
            right.clone(),
            Some(with_present(|now| now.identities.out = None)),
            DropReason::ColumnChanged,
        ),
        (
            "one result is of a generation that is not accepted",
            with_contribution(|one| one.generation = generation(1)),
            Some(now.clone()),
            DropReason::GenerationGone,
        ),
        (
            "the file has a row too few",
            with_file(|file| file.physical_rows -= 1),
            Some(now.clone()),
            DropReason::RowsDiffer,
        ),
        (
            "the file has a row too many",
            with_file(|file| file.physical_rows += 1),
            Some(now.clone()),
            DropReason::RowsDiffer,
        ),
    ];
    for (what, finished, present, reason) in cases {
        let decision = decide(&finished, present.as_ref(), &column());
        assert_eq!(dropped(&decision), Some(reason), "{what}");
    }
}

#[test]
fn only_inputs_and_generation_matter_where_no_file_is_needed() {
    let learned = finished(None, one_value());
    let mut now = present(None);
    now.identities.out = None;
    assert!(matches!(
        decide(&learned, Some(&now), &column()),
        Decision::Record(_)
    ));
    now.identities.in_id = identity(1);
    assert_eq!(
        dropped(&decide(&learned, Some(&now), &column())),
        Some(DropReason::InputsChanged)
    );
}

#[test]
fn a_file_that_the_manifest_names_has_landed_whatever_else_changed() {
    let mut now = present(None);
    now.place = Some(Place {
        identity: identity(1),
        file: Some("new.lance".to_owned()),
    });
    now.identities.in_id = identity(1);
    let decision = decide(&finished(Some(file()), one_value()), Some(&now), &column());
    assert_eq!(decision, Decision::Landed);
}
