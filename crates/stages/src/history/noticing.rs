//! Which requests a value that somebody wrote stands against, though it is noticed only now.
//!
//! A request is about the version that it was made of: what that version held was written before,
//! however late a survey notices it.

use std::sync::Arc;

use lance_backfill_core::identity::Identity;
use lance_backfill_core::ids::LedgerSeq;
use lance_backfill_core::ledger::EntryBody;
use lance_backfill_core::table::FragmentView;
use lance_backfill_ports::Result;
use lance_backfill_ports::table::{Table, TableVersion};
use tokio::sync::OnceCell;

use crate::column::Column;
use crate::column_store::StoredEntry;

/// The requests of a ledger, and what they were made of.
pub(crate) struct Noticing<'a> {
    table: &'a dyn Table,
    column: &'a Column,
    newest: LedgerSeq,
    requests: Vec<Made>,
}

struct Made {
    seq: LedgerSeq,
    of_version: u64,
    /// That version, once somebody asked for it; nothing if it is gone.
    loaded: OnceCell<Option<Arc<dyn TableVersion>>>,
}

impl<'a> Noticing<'a> {
    pub(crate) fn new(
        table: &'a dyn Table,
        column: &'a Column,
        ledger: &[Arc<StoredEntry>],
    ) -> Self {
        let requests = ledger.iter().map(|stored| &stored.entry);
        Self {
            table,
            column,
            newest: ledger.last().map_or(LedgerSeq(0), |last| last.entry.seq),
            requests: requests
                .filter(|entry| matches!(entry.body, EntryBody::Request(_)))
                .map(|entry| Made {
                    seq: entry.seq,
                    of_version: entry.table_version,
                    loaded: OnceCell::new(),
                })
                .collect(),
        }
    }

    /// Newest entry of the ledger that a value written by this version stands against.
    pub(crate) fn written_in(&self, version: u64) -> LedgerSeq {
        let about_it = |request: &&Made| request.of_version >= version;
        let first = self.requests.iter().find(about_it);
        first.map_or(self.newest, |request| before(request.seq))
    }

    /// The same of values that stand in a fragment's column, nobody knows since when.
    ///
    /// Where the version of a request is gone they stand: a value is computed again more easily than
    /// brought back.
    pub(crate) async fn found_in(
        &self,
        fragment: &FragmentView,
        out: Option<Identity>,
    ) -> Result<LedgerSeq> {
        for request in &self.requests {
            let load = || self.table.at(request.of_version);
            let held = (request.loaded.get_or_try_init(load).await?.as_ref())
                .and_then(|version| version.view().fragment(fragment.id))
                .is_some_and(|then| self.column.identify(then).0.out == out);
            if held {
                return Ok(before(request.seq));
            }
        }
        Ok(self.newest)
    }
}

/// The entry before one: the ledger is dense.
const fn before(seq: LedgerSeq) -> LedgerSeq {
    LedgerSeq(seq.0.saturating_sub(1))
}
