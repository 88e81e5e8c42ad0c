use super::*;
use crate::batch::{Lane, Slice, Target, Work};
use crate::testing::{batch, binding, generation, identity};

fn spec() -> BatchSpec {
    BatchSpec {
        slices: vec![Slice {
            fragment: 4,
            in_id: identity(1),
            out: None,
            rows: RowSet::range(3..9),
            target: Target::Values,
        }],
        deadline_s: 600,
    }
}

fn given_up(seq: u64, index: u32, verdict: Verdict) -> CheckpointManifest {
    let message = BatchMessage {
        version: BatchMessage::VERSION,
        batch: batch(seq, index),
        table: "t".to_owned(),
        binding: binding(),
        generation: generation(1),
        job: None,
        lane: Lane::Bulk,
        work: Some(Work::Compute(spec())),
        seen: None,
        entry: None,
    };
    let attempt = Attempt {
        token: "a".to_owned(),
        read_version: 7,
        receives: 5,
        now_ms: 5,
    };
    manifest(&message, &spec(), verdict, attempt)
}

fn succeeded(seq: u64) -> CheckpointManifest {
    CheckpointManifest {
        calls: 1,
        ..given_up(seq, 0, Verdict::RowsFailed)
    }
}

fn check(now: usize, before: &[CheckpointManifest], expected: Verdict) {
    let verdict = judge(now, false, &generation(1), before.iter());
    assert_eq!(verdict, expected, "{now} after {before:?}");
}

#[test]
fn few_batches_are_poison_and_many_in_a_row_are_an_outage() {
    let poison = |seq, index| given_up(seq, index, Verdict::RowsFailed);
    check(1, &[], Verdict::RowsFailed);
    check(2, &[], Verdict::RowsFailed);
    check(3, &[], Verdict::Outage);
    check(1, &[poison(1, 0), poison(1, 1)], Verdict::Outage);
    // A page that came later was done.
    check(
        2,
        &[poison(1, 0), poison(1, 1), succeeded(2)],
        Verdict::RowsFailed,
    );
    check(2, &[succeeded(1), poison(2, 0)], Verdict::Outage);
    check(2, &[poison(2, 0), succeeded(2)], Verdict::Outage);
    let others = judge(2, false, &generation(2), [poison(1, 0)].iter());
    assert_eq!(others, Verdict::RowsFailed);
}

#[test]
fn a_probe_that_is_given_up_blames_no_row() {
    let verdict = judge(1, true, &generation(1), [].iter());
    assert_eq!(verdict, Verdict::Outage);
}

#[test]
fn all_rows_of_a_batch_that_is_given_up_failed_or_none() {
    let failed = given_up(1, 0, Verdict::RowsFailed);
    assert_eq!((failed.rows_failed(), failed.rows_computed()), (6, 0));
    assert!(failed.fault.is_none() && !failed.shows_success());
    let slice = &failed.slices[0];
    assert_eq!(slice.failed_rows(), RowSet::range(3..9));
    assert_eq!(slice.failed[0].attempts, 5);
    let outage = given_up(1, 0, Verdict::Outage);
    assert_eq!(outage.rows_failed(), 0);
    assert!(outage.fault_of_all().is_some());
}
