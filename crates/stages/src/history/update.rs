//! Updates and upserts whose rows moved into new fragments.

use std::collections::{BTreeMap, BTreeSet};

use lance_backfill_core::history::{Carried, ChangedRows, Move, Update, by_row_ids, concatenation};
use lance_backfill_core::ids::FragmentId;
use lance_backfill_core::rows::RowSet;
use lance_backfill_core::table::FragmentView;
use lance_backfill_ports::Result;

use super::{Historian, Step, Touches, Walk, compare, live_row_ids, live_rows, supply};
use crate::survey::look;

/// How rows moved between fragments.
struct Moves {
    pairs: BTreeMap<(FragmentId, FragmentId), Vec<Move>>,
    /// Whether ids prove it; otherwise each row must be compared.
    certain: bool,
}

impl Historian<'_> {
    /// Rows that moved into new fragments with other values.
    pub(super) async fn update_rows(
        &self,
        walk: &mut Walk,
        step: &Step,
        update: &Update,
        touches: Touches,
    ) -> Result<()> {
        let before: BTreeSet<FragmentId> = step
            .before
            .view()
            .fragments
            .iter()
            .map(|view| view.id)
            .collect();
        let new: Vec<&FragmentView> = step
            .after
            .view()
            .fragments
            .iter()
            .filter(|view| !before.contains(&view.id))
            .collect();
        walk.moved_into.extend(new.iter().map(|view| view.id));
        let sources: Vec<&FragmentView> = update
            .touched
            .iter()
            .chain(&update.removed)
            .filter_map(|id| step.before.view().fragment(*id))
            .collect();
        let moves = match step.before.view().stable_row_ids {
            true => self.moves_by_row_ids(step, &sources, &new).await?,
            false => self.moves_in_order(step, &sources, &new).await?,
        };
        let Some(Moves { pairs, certain }) = moves else {
            return self.update_unmapped(walk, step, &new, touches).await;
        };
        for view in &new {
            let now = self.column.identify(view).0;
            let mut carried = Carried::new(
                &self.column.bound.binding,
                view.id,
                view.physical_rows,
                now.clone(),
            );
            let mut known = RowSet::new();
            for source in &sources {
                let pair = (source.id, view.id);
                let Some(moves) = pairs.get(&pair).filter(|moves| !moves.is_empty()) else {
                    continue;
                };
                let there: RowSet = moves
                    .iter()
                    .flat_map(|stretch| stretch.new..stretch.new + stretch.rows)
                    .collect();
                known.extend(&there);
                let changed = match touches.inputs || !certain {
                    true => compare::rows_with_other_inputs(step, self.column, pair, moves).await?,
                    false => ChangedRows::default(),
                };
                let (record, then) = self.state_before(walk, step, source).await?;
                if let Some(record) = &record {
                    carried.add(record, &then, moves, &changed);
                }
                if touches.output || !certain {
                    let written =
                        compare::written_values(step, self.column, pair, moves, &there).await?;
                    if certain || (touches.output && !touches.inputs) {
                        supply(&mut carried, written, &now, self.noticed(step));
                    } else {
                        // Another value where the order is only assumed: nothing is known of the row.
                        carried.forget(&written.values.union(&written.nulls));
                    }
                }
            }
            let inserted = RowSet::full(view.physical_rows).difference(&known);
            if !inserted.is_empty() && now.out.is_some() {
                let values = look::rows_with_values(step.after.as_ref(), self.column, view).await?;
                let written = compare::Written {
                    values: values.intersection(&inserted),
                    nulls: RowSet::new(),
                };
                supply(&mut carried, written, &now, self.noticed(step));
            }
            // The new fragment is small: asking the filter again costs less than proving that it need not.
            if self.column.filter.is_some() {
                carried.forget_filter();
            }
            walk.states.insert(view.id, carried.into_record());
        }
        Ok(())
    }

    async fn moves_by_row_ids(
        &self,
        step: &Step,
        sources: &[&FragmentView],
        new: &[&FragmentView],
    ) -> Result<Option<Moves>> {
        let mut pairs = BTreeMap::new();
        for source in sources {
            let Some(old_ids) = live_row_ids(step.before.as_ref(), source).await? else {
                return Ok(None);
            };
            for view in new {
                let Some(new_ids) = step.after.row_ids(view.id).await? else {
                    return Ok(None);
                };
                pairs.insert((source.id, view.id), by_row_ids(&old_ids, &new_ids));
            }
        }
        Ok(Some(Moves {
            pairs,
            certain: true,
        }))
    }

    /// Without stable ids the moved rows are taken to have kept their order, and every row is compared.
    ///
    /// SUBTLE: this need not be how Lance moved them. State depends on a row's inputs and on what stands
    /// in the column, nothing else: where both are equal, the state of the one row holds for the other,
    /// whichever moved where; where they differ, the row counts as changed and is computed again.
    async fn moves_in_order(
        &self,
        step: &Step,
        sources: &[&FragmentView],
        new: &[&FragmentView],
    ) -> Result<Option<Moves>> {
        let mut gone = vec![];
        for source in sources {
            let was = live_rows(step.before.as_ref(), source).await?;
            let is = match step.after.view().fragment(source.id) {
                Some(view) => live_rows(step.after.as_ref(), view).await?,
                None => RowSet::new(),
            };
            gone.push((source.id, was.difference(&is)));
        }
        gone.sort_unstable_by_key(|(fragment, _)| *fragment);
        let new: Vec<_> = new
            .iter()
            .map(|view| (view.id, view.physical_rows))
            .collect();
        Ok(concatenation(&gone, &new).map(|pairs| Moves {
            pairs,
            certain: false,
        }))
    }

    /// Rows were updated and inserted together, and nothing tells them apart: they are computed again,
    /// unless the write set the column itself and none of its inputs.
    async fn update_unmapped(
        &self,
        walk: &mut Walk,
        step: &Step,
        new: &[&FragmentView],
        touches: Touches,
    ) -> Result<()> {
        for view in new {
            let now = self.column.identify(view).0;
            let mut carried = Carried::new(
                &self.column.bound.binding,
                view.id,
                view.physical_rows,
                now.clone(),
            );
            if touches.output && !touches.inputs && now.out.is_some() {
                let values = look::rows_with_values(step.after.as_ref(), self.column, view).await?;
                supply(
                    &mut carried,
                    compare::Written {
                        values,
                        nulls: RowSet::new(),
                    },
                    &now,
                    self.noticed(step),
                );
            }
            if self.column.filter.is_some() {
                carried.forget_filter();
            }
            walk.states.insert(view.id, carried.into_record());
        }
        Ok(())
    }
}
