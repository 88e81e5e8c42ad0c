//! Compactions: rows keep their order, or their stable ids.

use std::collections::BTreeMap;

use lance_backfill_core::history::{Carried, ChangedRows, Move, by_row_ids, concatenation};
use lance_backfill_core::ids::FragmentId;
use lance_backfill_core::table::{FragmentView, TableView};
use lance_backfill_ports::Result;

use super::{Historian, Step, Walk, compare, live_row_ids, live_rows};

/// Rows that moved from an old fragment into a new one.
pub(super) type Moves = BTreeMap<(FragmentId, FragmentId), Vec<Move>>;

impl Historian<'_> {
    /// A compaction: rows keep their order, or their stable ids.
    pub(super) async fn rewrite(
        &self,
        walk: &mut Walk,
        step: &Step,
        old: &[FragmentId],
        new: &[FragmentId],
    ) -> Result<()> {
        let Some(moves) = self.rewrite_moves(step, old, new).await? else {
            return Ok(());
        };
        let mut states = vec![];
        for view in old.iter().filter_map(|id| step.before.view().fragment(*id)) {
            states.push((view, self.state_before(walk, step, view).await?));
        }
        for view in new.iter().filter_map(|id| step.after.view().fragment(*id)) {
            let now = self.column.identify(view).0;
            let mut carried =
                Carried::new(&self.column.bound.binding, view.id, view.physical_rows, now);
            for (old_view, (record, then)) in &states {
                let Some(moves) = moves.get(&(old_view.id, view.id)) else {
                    continue;
                };
                match record {
                    Some(record) => carried.add(record, then, moves, &ChangedRows::default()),
                    None if self.column.filter.is_some() => carried.forget_filter(),
                    None => {}
                }
            }
            walk.states.insert(view.id, carried.into_record());
        }
        Ok(())
    }

    /// How rows moved from the old fragments into the new ones; none if that cannot be told.
    pub(super) async fn rewrite_moves(
        &self,
        step: &Step,
        old: &[FragmentId],
        new: &[FragmentId],
    ) -> Result<Option<Moves>> {
        let (before, after) = (step.before.view(), step.after.view());
        let views = |version: &'_ TableView, ids: &[FragmentId]| -> Option<Vec<FragmentView>> {
            ids.iter()
                .map(|id| version.fragment(*id).cloned())
                .collect()
        };
        let Some((old, new)) = views(before, old).zip(views(after, new)) else {
            return Ok(None);
        };
        let moves = self.moves_between(step, &old, &new).await?;
        match moves {
            Some(moves) if compare::samples_agree(step, self.column, &moves).await? => {
                Ok(Some(moves))
            }
            _ => Ok(None),
        }
    }

    async fn moves_between(
        &self,
        step: &Step,
        old: &[FragmentView],
        new: &[FragmentView],
    ) -> Result<Option<Moves>> {
        let mut moves = BTreeMap::new();
        if step.before.view().stable_row_ids {
            for old_view in old {
                let Some(old_ids) = live_row_ids(step.before.as_ref(), old_view).await? else {
                    return Ok(None);
                };
                for new_view in new {
                    let Some(new_ids) = step.after.row_ids(new_view.id).await? else {
                        return Ok(None);
                    };
                    moves.insert((old_view.id, new_view.id), by_row_ids(&old_ids, &new_ids));
                }
            }
            return Ok(Some(moves));
        }
        if step.after.view().rewrites_redistribute {
            return Ok(None);
        }
        let mut live = vec![];
        for view in old {
            live.push((view.id, live_rows(step.before.as_ref(), view).await?));
        }
        let new: Vec<_> = new
            .iter()
            .map(|view| (view.id, view.physical_rows))
            .collect();
        Ok(concatenation(&live, &new))
    }
}
