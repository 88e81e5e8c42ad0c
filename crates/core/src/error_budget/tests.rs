use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::batch::{BatchSpec, Lane};
use crate::checkpoint::{Fault, SliceOutput, SliceResult};
use crate::coverage::RowErrors;
use crate::definition::Definition;
use crate::format::Stored;
use crate::ids::LedgerSeq;
use crate::ledger::Page;
use crate::rows::RowSet;
use crate::testing::{batch, binding, generation, identity, job};

fn policy(most_rows: Option<u64>, most_fraction: Option<f64>) -> ErrorPolicy {
    let mut policy = Definition::sql("p", "int64", "a", "a", vec![]).error_policy;
    policy.max_failed_rows = most_rows;
    policy.max_failed_fraction = most_fraction;
    policy
}

fn check(computed: u64, failed: u64, policy: &ErrorPolicy, expected: Option<&str>) {
    let exceeded = Counted { computed, failed }.exceeds(policy);
    assert_eq!(exceeded.as_deref(), expected);
}

#[test]
fn a_share_counts_after_a_hundred_rows_and_a_number_at_once() {
    let share = policy(None, Some(0.05));
    check(0, 99, &share, None);
    check(95, 5, &share, None);
    check(
        94,
        6,
        &share,
        Some("6 of 100 rows failed, a share of 0.05 is tolerated"),
    );
    let number = policy(Some(2), None);
    check(0, 2, &number, None);
    check(1_000, 3, &number, Some("3 rows failed, 2 are tolerated"));
    let mut none = policy(Some(7), Some(0.5));
    none.on_error = OnError::Fail;
    check(5, 0, &none, None);
    check(5, 1, &none, Some("1 rows failed, none is tolerated"));
    check(0, u64::MAX, &policy(None, None), None);
}

fn page(seq: u64, of_job: Option<JobId>, session: Option<&str>, made_by: u8) -> LedgerEntry {
    let spec = BatchSpec {
        slices: vec![],
        deadline_s: 600,
    };
    LedgerEntry {
        session: session.map(str::to_owned),
        ..entry(
            seq,
            EntryBody::Page(Page {
                generation: generation(made_by),
                job: of_job,
                lane: Lane::Fresh,
                batches: vec![spec],
                folds: vec![],
                approved_left: 0,
            }),
        )
    }
}

fn entry(seq: u64, body: EntryBody) -> LedgerEntry {
    LedgerEntry {
        version: LedgerEntry::VERSION,
        binding: binding(),
        seq: LedgerSeq(seq),
        token: "ab12".to_owned(),
        after: None,
        table_version: 1,
        session: None,
        body,
    }
}

fn done(seq: u64, computed: u32, failed: u32, made_by: u8) -> CheckpointManifest {
    let errors = RowErrors {
        rows: RowSet::range(computed..computed + failed),
        kind: "overflow".to_owned(),
        message: String::new(),
        traceback: None,
        attempts: 1,
    };
    CheckpointManifest {
        version: CheckpointManifest::VERSION,
        batch: batch(seq, 0),
        binding: binding(),
        generation: generation(made_by),
        job: None,
        attempt: "a".to_owned(),
        read_version: 1,
        slices: vec![SliceResult {
            fragment: 0,
            in_id: identity(0),
            values: RowSet::range(0..computed),
            nulls: RowSet::new(),
            failed: vec![errors],
            output: SliceOutput::Nothing,
        }],
        fault: None,
        calls: 1,
        elapsed_ms: 1,
        finished_ms: 1,
        bytes_written: 0,
    }
}

fn judged(entries: &[LedgerEntry], done: &[CheckpointManifest]) -> Overdrawn {
    let by_batch: BTreeMap<&BatchId, &CheckpointManifest> =
        done.iter().map(|done| (&done.batch, done)).collect();
    let checkpoint = |batch: &BatchId| by_batch.get(batch).copied();
    let policy = policy(None, Some(0.05));
    overdrawn(entries, &checkpoint, &generation(1), &policy)
}

#[test]
fn batches_are_judged_together_since_somebody_resumed_the_column() {
    let pages = [page(1, None, None, 1), page(2, None, None, 1)];
    let few = [done(1, 45, 5, 1), done(2, 45, 5, 1)];
    assert_eq!(judged(&pages, &few[..1]).column, None);
    let over = judged(&pages, &few).column.expect("ten of a hundred");
    assert!(over.starts_with("10 of 100 rows failed"), "{over}");
    let resumed = [
        page(1, None, None, 1),
        entry(3, EntryBody::Resume {}),
        page(2, None, None, 1),
    ];
    assert_eq!(judged(&resumed, &few), Overdrawn::default());
}

#[test]
fn a_job_a_session_and_another_generation_are_judged_apart() {
    let failing = |seq, made_by| done(seq, 0, 200, made_by);
    let of_job = [page(1, Some(job(1)), None, 1)];
    let found = judged(&of_job, &[failing(1, 1)]);
    assert!(found.column.is_none() && found.jobs.contains_key(&job(1)));
    let of_session = [page(1, None, Some("s"), 1)];
    assert_eq!(judged(&of_session, &[failing(1, 1)]), Overdrawn::default());
    let older = [page(1, None, None, 0)];
    assert_eq!(judged(&older, &[failing(1, 0)]), Overdrawn::default());
    // Rows of a batch that was given up say nothing of the function.
    let given_up = CheckpointManifest {
        calls: 0,
        ..failing(1, 1)
    };
    let pages = [page(1, None, None, 1)];
    assert_eq!(judged(&pages, &[given_up]), Overdrawn::default());
}

#[test]
fn a_batch_that_stopped_by_itself_speaks_for_the_column() {
    let pages = [page(1, None, None, 1), page(2, None, None, 1)];
    let stopped = CheckpointManifest {
        fault: Some(Fault {
            kind: FaultKind::Budget,
            message: "101 of 101 rows failed".to_owned(),
            traceback: None,
        }),
        ..done(2, 0, 101, 1)
    };
    let found = judged(&pages, &[done(1, 100_000, 0, 1), stopped]);
    assert_eq!(found.column.as_deref(), Some("101 of 101 rows failed"));
}

proptest! {
    /// However the rows are cut into batches, the verdict is that of all of them.
    #[test]
    fn the_cut_does_not_matter(batches in prop::collection::vec((0_u32..60, 0_u32..4), 1..12)) {
        let numbered = || (1_u64..).zip(&batches);
        let pages: Vec<_> = numbered().map(|(seq, _)| page(seq, None, None, 1)).collect();
        let done: Vec<_> =
            numbered().map(|(seq, (computed, failed))| done(seq, *computed, *failed, 1)).collect();
        let sum = Counted {
            computed: batches.iter().map(|(computed, _)| u64::from(*computed)).sum(),
            failed: batches.iter().map(|(_, failed)| u64::from(*failed)).sum(),
        };
        let policy = policy(None, Some(0.05));
        prop_assert_eq!(judged(&pages, &done).column, sum.exceeds(&policy));
    }
}
