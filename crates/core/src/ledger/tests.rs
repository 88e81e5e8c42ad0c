use super::*;
use crate::rows::RowSet;
use crate::testing::{batch, binding, generation, identity};

fn entry(body: EntryBody) -> LedgerEntry {
    LedgerEntry {
        version: LedgerEntry::VERSION,
        binding: binding(),
        seq: LedgerSeq(3),
        token: "ab12".to_owned(),
        after: None,
        table_version: 1,
        session: None,
        body,
    }
}

fn hold(reason: HoldReason) -> EntryBody {
    let message = format!("{reason:?}");
    EntryBody::Hold { reason, message }
}

fn page() -> Page {
    Page {
        generation: generation(0),
        job: None,
        lane: Lane::Fresh,
        batches: vec![],
        folds: vec![],
        approved_left: 0,
    }
}

fn check(bodies: Vec<EntryBody>, expected: Option<HoldReason>) {
    let entries: Vec<LedgerEntry> = bodies.into_iter().map(entry).collect();
    let standing = standing_hold(&entries).map(|(reason, _)| reason);
    assert_eq!(standing, expected, "{entries:?}");
}

#[test]
fn a_hold_stands_until_what_ends_its_kind() {
    use HoldReason::{Approval, Budget};
    let approved = || EntryBody::Approval { rows: 7 };
    check(vec![], None);
    check(vec![hold(Budget)], Some(Budget));
    check(vec![hold(Budget), EntryBody::Page(page())], Some(Budget));
    check(vec![hold(Budget), EntryBody::Resume {}], None);
    check(vec![hold(Approval), EntryBody::Resume {}], None);
    check(vec![hold(Approval), approved()], None);
    check(vec![EntryBody::Resume {}, hold(Budget)], Some(Budget));
}

#[test]
fn an_approval_of_rows_does_not_forgive_failures() {
    use HoldReason::{Approval, Budget};
    let approved = || EntryBody::Approval { rows: 10 };
    check(vec![hold(Budget), approved()], Some(Budget));
    check(vec![hold(Budget), hold(Approval), approved()], Some(Budget));
    check(vec![hold(Approval), hold(Budget), approved()], Some(Budget));
}

#[test]
fn each_batch_and_fold_of_a_page_has_an_id_by_its_place() {
    let spec = |deadline_s| BatchSpec {
        slices: vec![],
        deadline_s,
    };
    let fold = FoldSpec {
        fragment: 1,
        in_id: identity(1),
        out: None,
        parts: vec![],
        rows: RowSet::new(),
        deadline_s: 9,
    };
    let page = Page {
        batches: vec![spec(1), spec(2)],
        folds: vec![fold.clone()],
        ..page()
    };
    let work = entry(EntryBody::Page(page)).work();
    let expected = vec![
        (batch(3, 0), Work::Compute(spec(1))),
        (batch(3, 1), Work::Compute(spec(2))),
        (batch(3, 2), Work::Fold(fold)),
    ];
    assert_eq!(work, expected);
    for (id, _) in work {
        assert_eq!(id.to_string().parse(), Ok(id));
    }
    assert_eq!(entry(EntryBody::Resume {}).work(), vec![]);
}

#[test]
fn an_approval_lasts_until_it_is_used_up() {
    let spent = |approved_left| {
        EntryBody::Page(Page {
            approved_left,
            ..page()
        })
    };
    let left =
        |bodies: Vec<EntryBody>| approved_left(&bodies.into_iter().map(entry).collect::<Vec<_>>());
    assert_eq!(left(vec![]), 0);
    assert_eq!(left(vec![EntryBody::Approval { rows: 9 }]), 9);
    assert_eq!(left(vec![EntryBody::Approval { rows: 9 }, spent(4)]), 4);
    // Older entries are collected; the newest page still tells.
    assert_eq!(left(vec![spent(4), EntryBody::Resume {}]), 4);
    assert_eq!(
        left(vec![spent(4), EntryBody::Settled { approved_left: 3 }]),
        3
    );
    assert_eq!(left(vec![spent(4), hold(HoldReason::Approval)]), 0);
}

#[test]
fn more_rows_than_the_limit_wait_for_a_person() {
    assert_eq!(allowance(1_000, None, 0), Allowance::Free);
    assert_eq!(allowance(1_000, Some(1_000), 0), Allowance::Free);
    assert_eq!(allowance(1_000, Some(1_000), 7), Allowance::Free);
    assert_eq!(allowance(1_001, Some(1_000), 0), Allowance::Hold);
    assert_eq!(allowance(1_001, Some(1_000), 7), Allowance::Approved(7));
}

#[test]
fn what_still_says_something_is_not_collected() {
    let request = || {
        EntryBody::Request(Request {
            selection: Selection::in_need(),
            rows: 1,
        })
    };
    let needed = |bodies: Vec<EntryBody>, open: &[u64], ended: &[u64]| -> Vec<u64> {
        let entries: Vec<LedgerEntry> = (1..)
            .zip(bodies)
            .map(|(seq, body)| LedgerEntry {
                seq: LedgerSeq(seq),
                ..entry(body)
            })
            .collect();
        let open = open.iter().copied().map(LedgerSeq).collect();
        let is_ended = |job: &JobId| ended.contains(&job.seq.0);
        still_needed(&entries, &open, is_ended)
            .into_iter()
            .map(|seq| seq.0)
            .collect()
    };
    let spent = || EntryBody::Page(page());
    assert_eq!(needed(vec![], &[], &[]), Vec::<u64>::new());
    assert_eq!(needed(vec![spent(), spent(), spent()], &[1], &[]), [1, 3]);
    assert_eq!(needed(vec![request(), spent()], &[], &[]), [1, 2]);
    assert_eq!(needed(vec![request(), spent()], &[], &[1]), [2]);
    let held = || hold(HoldReason::Budget);
    assert_eq!(needed(vec![held(), spent()], &[], &[]), [1, 2]);
    assert_eq!(needed(vec![held(), EntryBody::Resume {}], &[], &[]), [2]);
    let approved = || EntryBody::Approval { rows: 9 };
    assert_eq!(needed(vec![approved(), request()], &[], &[2]), [1, 2]);
    assert_eq!(needed(vec![approved(), spent(), request()], &[], &[3]), [3]);
}
