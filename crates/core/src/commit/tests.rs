use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::definition::Definition;
use crate::table::FieldView;
use crate::testing::{
    Origin, Row, binding, errors_of, fragment_rows, generation, identity, job, offsets, record_of,
    rows_of, some_rows,
};

const PHYSICAL_ROWS: u32 = 48;

fn column() -> BoundColumn {
    let mut definition = Definition::sql("p", "double", "a", "a", vec![]);
    definition.accepted_generations = [generation(0)].into();
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
        output,
        inputs: vec![],
        filter_inputs: vec![],
    }
}

fn present(record: Option<CoverageRecord>) -> Present {
    Present {
        physical_rows: PHYSICAL_ROWS,
        identities: Identities {
            in_id: identity(0),
            elig_id: Some(identity(9)),
            out: Some(identity(8)),
        },
        place: Some(Place {
            identity: identity(8),
            file: Some("old.lance".to_owned()),
        }),
        record,
    }
}

fn file() -> StagedColumnFile {
    StagedColumnFile {
        name: "new.lance".to_owned(),
        size_bytes: 1,
        physical_rows: PHYSICAL_ROWS,
        over: Some(identity(8)),
        descriptor: String::new(),
    }
}

/// A result with these rows; those of other outcomes than a computation has are left out.
fn contribution(ledger: u64, rows: &[Row]) -> Contribution {
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

fn finished(file: Option<StagedColumnFile>, contributions: Vec<Contribution>) -> Finished {
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

/// A record row as the result of one contribution would have it.
fn result_row(row: &Row, ledger: u64) -> Option<Row> {
    let origin = row.origin.as_ref()?;
    if matches!(origin.outcome, Outcome::Supplied | Outcome::Unknown) {
        return None;
    }
    Some(Row {
        origin: Some(Origin {
            outcome: origin.outcome,
            generation: Some(generation(0)),
            in_id: identity(0),
            ledger: LedgerSeq(ledger),
            job: Some(job(1)),
        }),
        error: row.error.clone(),
        filtered: false,
    })
}

/// Whether the record has a result of this very function and inputs that was ordered as late or later.
fn is_provided_for(row: &Row, ledger: u64) -> bool {
    row.origin.as_ref().is_some_and(|origin| {
        origin.generation == Some(generation(0))
            && origin.in_id == identity(0)
            && origin.ledger >= LedgerSeq(ledger)
    })
}

fn is_somebody_elses(row: &Row) -> bool {
    let outcome = row.origin.as_ref().map(|origin| origin.outcome);
    matches!(outcome, Some(Outcome::Supplied | Outcome::Unknown))
}

fn padded(mut rows: Vec<Row>) -> Vec<Row> {
    rows.resize(PHYSICAL_ROWS as usize, Row::default());
    rows
}

proptest! {
    #[test]
    fn what_is_published_carries_the_record_and_over_it_each_rows_latest_result(
        before in prop::option::of(fragment_rows()),
        results in prop::collection::vec(fragment_rows(), 0..4),
        with_file in any::<bool>(),
    ) {
        let contributions: Vec<Contribution> = (1..).zip(&results).map(|(ledger, rows)| contribution(ledger, rows)).collect();
        let before = before.map(padded);
        let now = present(before.as_ref().map(|rows| record_of(rows)));
        let decision = decide(&finished(with_file.then(file), contributions), Some(&now), &column());
        let (record, file_name) = match decision {
            Decision::Publish { file, record } => (record, Some(file.name)),
            Decision::Record(record) => (record, None),
            other => panic!("{other:?}"),
        };
        let before = before.unwrap_or_else(|| padded(vec![]));
        let mut model = before.clone();
        for (ledger, rows) in (1..).zip(&results) {
            for ((row, was), result) in model.iter_mut().zip(&before).zip(rows) {
                let Some(result) = result_row(result, ledger) else { continue };
                let failed = result.error.is_some();
                // The file holds its values, whatever the record said; all else needs to be news.
                let in_file = with_file && !failed;
                let old_news = is_provided_for(was, ledger) || (!failed && is_somebody_elses(was));
                if in_file || !old_news {
                    *row = Row { filtered: row.filtered, ..result };
                }
            }
        }
        prop_assert_eq!(rows_of(&record), model);
        prop_assert_eq!(record.in_id, identity(0));
        prop_assert_eq!(record.out, (!with_file).then(|| identity(8)));
        prop_assert_eq!(&record.file, &with_file.then(|| "new.lance".to_owned()));
        prop_assert_eq!(file_name, record.file);
        prop_assert_eq!(record.physical_rows, PHYSICAL_ROWS);
    }

    #[test]
    fn what_was_published_is_no_news_any_more(
        before in fragment_rows(),
        result in fragment_rows(),
        with_file in any::<bool>(),
        extra in some_rows(40),
    ) {
        let mut result = contribution(2, &padded(result));
        // Results of one batch for a row are one: what is both, is a value.
        result.result.values.extend(&extra);
        result.result.nulls.remove(&extra);
        for errors in &mut result.result.failed {
            errors.rows.remove(&extra);
        }
        if with_file {
            result.result.output = SliceOutput::ColumnFile(file());
        }
        let before = record_of(&padded(before));
        let decision = decide(&finished(with_file.then(file), vec![result.clone()]), Some(&present(Some(before))), &column());
        let (Decision::Publish { record, .. } | Decision::Record(record)) = decision else {
            panic!("{decision:?}");
        };
        prop_assert_eq!(result.news(Some(&record)), RowSet::new());
    }
}
