//! What a decision publishes, against a model of each row.

use proptest::prelude::*;

use super::tests::{PHYSICAL_ROWS, column, contribution, file, finished, present};
use super::*;
use crate::testing::{
    Origin, Row, fragment_rows, generation, identity, job, record_of, rows_of, some_rows,
};

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
