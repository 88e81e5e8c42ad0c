//! Freshness: for how long the oldest row in need has been waiting.

use std::sync::Arc;

use lance_backfill_core::table::TableView;
use lance_backfill_ports::Result;
use lance_backfill_ports::table::{Table, TableVersion};
use lance_backfill_stages::column::Column;
use lance_backfill_stages::survey::Survey;

use crate::engine::Engine;

impl Engine {
    /// Seconds since the oldest row in need got its present inputs; `None` if no row is in need.
    ///
    /// It is looked up in the versions that still exist, by bisection: older rows count from the oldest
    /// version, or from the one that declared the column.
    pub async fn oldest_need_s(
        &self,
        version: &Arc<dyn TableVersion>,
        column: &Column,
        survey: &Survey,
    ) -> Result<Option<u64>> {
        let view = version.view();
        let in_need: Vec<_> = (survey.unsettled.iter())
            .filter(|(_, found)| !found.state.in_need().is_empty())
            .map(|(fragment, found)| (*fragment, found.present.identities.watched))
            .collect();
        if in_need.is_empty() {
            return Ok(None);
        }
        let had_need = |then: &TableView| {
            let declared = column.bound.is_carried_by(then);
            let there = |(id, watched)| {
                let fragment = then.fragment(id);
                fragment.is_some_and(|fragment| column.identify(fragment).0.watched == watched)
            };
            declared && in_need.iter().copied().any(there)
        };
        // Once a fragment has its present inputs, it has them in all versions after that.
        let mut since_ms = view.created_ms;
        let (mut before, mut from) = (0, view.version);
        while before + 1 < from {
            let middle = before + (from - before) / 2;
            match self.table.at(middle).await? {
                Some(then) if had_need(then.view()) => {
                    since_ms = then.view().created_ms;
                    from = middle;
                }
                // What was cleaned up is older than what is left.
                _ => before = middle,
            }
        }
        Ok(Some(self.world.now_ms().saturating_sub(since_ms) / 1_000))
    }
}
