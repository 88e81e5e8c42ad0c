//! A number of the ledger that was taken once, and an entry that another came after.

use std::sync::Arc;

use lance_backfill_core::format::Stored as _;
use lance_backfill_core::ids::{BindingId, LedgerSeq};
use lance_backfill_core::ledger::{EntryBody, LedgerEntry};
use lance_backfill_ports::state_store::Created;
use lance_backfill_stages::column_store::ColumnStore;
use lance_backfill_testkit::MemStateStore;

fn entry(binding: &BindingId, seq: u64, token: &str, after: Option<&str>) -> LedgerEntry {
    LedgerEntry {
        version: LedgerEntry::VERSION,
        binding: binding.clone(),
        seq: LedgerSeq(seq),
        token: token.to_owned(),
        after: after.map(str::to_owned),
        table_version: 1,
        session: None,
        body: EntryBody::Resume {},
    }
}

#[tokio::test]
async fn an_entry_that_another_came_after_stays_and_one_that_is_behind_goes() {
    let binding: BindingId = "b-1".parse().expect("a binding");
    let entry = |seq, token, after| entry(&binding, seq, token, after);
    for (after, stays) in [(Some("ours"), true), (Some("others"), false), (None, false)] {
        let store = ColumnStore::new(Arc::new(MemStateStore::default()));
        // It is there when the creation of ours is checked: written after ours, or long before.
        let next = store.create_entry(&entry(2, "next", after)).await;
        assert_eq!(next.expect("creates"), Created::New);
        let ours = store.create_entry(&entry(1, "ours", None)).await;
        let expected = if stays {
            Created::New
        } else {
            Created::AlreadyThere
        };
        assert_eq!(ours.expect("creates"), expected, "{after:?}");
        let left = store.entry(LedgerSeq(1)).await.expect("reads");
        assert_eq!(left.is_some(), stays, "{after:?}");
    }
}
