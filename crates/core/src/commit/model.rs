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

/// Whether a result that was ordered at `ledger`, or by a job from `ordered` on, may replace the row.
fn counts(
    row: &Row,
    outcome: Outcome,
    in_need: bool,
    (ledger, ordered): (u64, Option<u64>),
) -> bool {
    let Some(origin) = &row.origin else {
        return in_need || ordered.is_some();
    };
    let by_job = ordered.is_some_and(|seq| origin.ledger < LedgerSeq(seq));
    let provided = origin.generation == Some(generation(0))
        && origin.in_id == identity(0)
        && origin.ledger >= LedgerSeq(ledger);
    let somebody_elses = matches!(origin.outcome, Outcome::Supplied | Outcome::Unknown);
    (in_need || by_job) && !provided && (outcome == Outcome::Failed || !somebody_elses)
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
        let mut model = before.unwrap_or_else(|| padded(vec![]));
        for (ledger, rows) in (1..).zip(&results) {
            for (row, result) in model.iter_mut().zip(rows) {
                if let Some(result) = result_row(result, ledger) {
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
    fn a_result_counts_where_a_row_is_in_need_or_its_job_came_after_what_stands(
        before in prop::option::of(fragment_rows()),
        result in fragment_rows(),
        in_need in some_rows(PHYSICAL_ROWS),
        ordered in prop::option::of(0_u8..3),
    ) {
        let mut one = contribution(2, &result);
        one.job = ordered.map(job);
        let before = before.map(padded);
        let record = before.as_ref().map(|rows| record_of(rows));
        let counting = one.counting(record.as_ref(), &in_need);
        let before = before.unwrap_or_else(|| padded(vec![]));
        for (offset, (row, result)) in (0_u32..).zip(before.iter().zip(&padded(result))) {
            let expected = result_row(result, 2).and_then(|row| row.origin).is_some_and(|origin| {
                counts(row, origin.outcome, in_need.contains(offset), (2, ordered.map(u64::from)))
            });
            prop_assert_eq!(counting.contains(offset), expected, "row {}: {:?}", offset, row);
        }
        prop_assert_eq!(one.limited_to(&counting).result.done(), counting);
    }

    #[test]
    fn what_was_published_counts_no_more(
        before in fragment_rows(),
        result in fragment_rows(),
        in_need in some_rows(PHYSICAL_ROWS),
        ordered in prop::option::of(0_u8..3),
        with_file in any::<bool>(),
    ) {
        let mut result = contribution(2, &padded(result));
        result.job = ordered.map(job);
        if with_file {
            result.result.output = SliceOutput::ColumnFile(file());
        }
        let before = record_of(&padded(before));
        let counting = result.counting(Some(&before), &in_need);
        let limited = result.limited_to(&counting);
        let decision = decide(&finished(with_file.then(file), vec![limited]), Some(&present(Some(before))), &column());
        let (Decision::Publish { record, .. } | Decision::Record(record)) = decision else {
            panic!("{decision:?}");
        };
        prop_assert_eq!(result.counting(Some(&record), &counting), RowSet::new());
    }
}
