use proptest::prelude::*;

use super::*;
use crate::testing::{Row, errors_of, fragment_rows, record_of, rows_of, runs_of, some_rows};

/// Lays rows over rows, one by one.
fn lay(below: &mut [Row], above: &[Row]) {
    for (below, above) in below.iter_mut().zip(above) {
        if above.origin.is_some() {
            below.origin = above.origin.clone();
            below.error = above.error.clone();
        }
    }
}

proptest! {
    #[test]
    fn each_row_belongs_to_the_newest_run_that_has_it_and_its_error_goes_with_it(
        mut rows in fragment_rows(),
        layers in prop::collection::vec(fragment_rows(), 0..4),
    ) {
        let mut record = record_of(&rows);
        for mut layer in layers {
            layer.truncate(rows.len());
            record.lay_over(runs_of(&layer), errors_of(&layer));
            lay(&mut rows, &layer);
            // Panics if a run is empty or two runs share a row.
            prop_assert_eq!(&rows_of(&record), &rows);
        }
        let assigned: RowSet = (0_u32..).zip(&rows).filter(|(_, row)| row.origin.is_some()).map(|(offset, _)| offset).collect();
        prop_assert_eq!(record.assigned(), assigned);
        let mut origins: Vec<_> = record.runs.iter().map(|run| (run.outcome, run.generation.clone(), run.in_id, run.ledger, run.job.clone())).collect();
        origins.sort();
        origins.dedup();
        prop_assert_eq!(origins.len(), record.runs.len(), "two runs of one origin");
    }

    #[test]
    fn of_runs_laid_over_together_the_later_wins(
        mut rows in fragment_rows(),
        layers in prop::collection::vec(fragment_rows(), 2..4),
    ) {
        let mut record = record_of(&rows);
        let (mut runs, mut errors) = (vec![], vec![]);
        for mut layer in layers {
            layer.truncate(rows.len());
            runs.extend(runs_of(&layer));
            // Only the last layer's errors: of the others the row would keep none anyway.
            errors = errors_of(&layer);
            lay(&mut rows, &layer);
        }
        record.lay_over(runs, errors);
        let origins = |rows: Vec<Row>| rows.into_iter().map(|row| row.origin).collect::<Vec<_>>();
        prop_assert_eq!(origins(rows_of(&record)), origins(rows));
        for errors in &record.errors {
            let failed: RowSet = record.runs.iter().filter(|run| run.outcome == Outcome::Failed).flat_map(|run| run.rows.iter()).collect();
            prop_assert!(errors.rows.is_subset(&failed));
        }
    }

    #[test]
    fn an_error_without_a_failed_row_is_not_kept(rows in fragment_rows(), extra in some_rows(40)) {
        let mut record = record_of(&[]);
        record.physical_rows = 48;
        let mut errors = errors_of(&rows);
        for error in &mut errors {
            error.rows.extend(&extra);
        }
        record.lay_over(runs_of(&rows), errors);
        let failed: RowSet = record.runs.iter().filter(|run| run.outcome == Outcome::Failed).flat_map(|run| run.rows.iter()).collect();
        for errors in &record.errors {
            prop_assert!(errors.rows.is_subset(&failed));
        }
    }
}
