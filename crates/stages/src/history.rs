//! History: what other writers did since the last survey, and where their rows' state went.
//!
//! Compactions, updates and upserts move rows or patch them in place. Their transactions say which;
//! from them the state of each row is carried along, so that only rows whose inputs really changed
//! are computed again. Where a version is gone, nothing is guessed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lance_backfill_core::coverage::{CoverageRecord, Outcome, Run};
use lance_backfill_core::history::{
    Carried, Change, ChangeKind, Move, Update, by_row_ids, concatenation, in_place,
    rows_that_differ,
};
use lance_backfill_core::ids::{BindingId, FieldId, FragmentId, LedgerSeq};
use lance_backfill_core::rows::RowSet;
use lance_backfill_core::state::Identities;
use lance_backfill_core::table::{FieldView, FragmentView};
use lance_backfill_ports::Result;
use lance_backfill_ports::table::{Table, TableVersion};

use crate::column::Column;
use crate::survey::look;

mod compare;

/// What history tells of a fragment.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// State that was carried into it.
    pub(crate) record: Option<CoverageRecord>,
    /// Whether its values are known to be somebody's own.
    pub(crate) supplied: bool,
}

/// Where a survey of a column stands, and what may be asked.
pub(crate) struct Historian<'a> {
    pub(crate) table: &'a dyn Table,
    pub(crate) latest: &'a Arc<dyn TableVersion>,
    pub(crate) column: &'a Column,
    /// Computed columns that this one reads.
    pub(crate) upstream: &'a [&'a Column],
    /// Version whose changes are accounted for.
    pub(crate) after: u64,
    /// Highest fragment of that version.
    pub(crate) max_fragment: Option<u64>,
}

/// State on its way through the versions.
#[derive(Default)]
struct Walk {
    /// Records as of the version reached, for fragments that changed on the way.
    states: BTreeMap<FragmentId, CoverageRecord>,
    /// Fragments into which rows moved; what is not known of them is lost.
    moved_into: BTreeSet<FragmentId>,
    /// Whether some version on the way is gone.
    lost: bool,
}

/// A version and the one before it.
struct Step {
    before: Arc<dyn TableVersion>,
    after: Arc<dyn TableVersion>,
}

impl Historian<'_> {
    /// Tells what became of the wanted fragments' rows.
    pub(crate) async fn tell(
        &self,
        wanted: &BTreeSet<FragmentId>,
    ) -> Result<BTreeMap<FragmentId, Told>> {
        let mut walk = Walk::default();
        for change in self
            .table
            .changes(self.after, self.latest.view().version)
            .await?
        {
            Box::pin(self.follow(&mut walk, &change)).await?;
        }
        let mut told = BTreeMap::new();
        for fragment in wanted {
            let Some(view) = self.latest.view().fragment(*fragment) else {
                continue;
            };
            let now = self.column.identify(view).0;
            let record = walk
                .states
                .remove(fragment)
                .filter(|record| (record.in_id, record.out) == (now.in_id, now.out));
            let appeared =
                self.max_fragment.is_none_or(|highest| *fragment > highest) && self.after > 0;
            let supplied = !walk.lost && appeared && !walk.moved_into.contains(fragment);
            told.insert(*fragment, Told { record, supplied });
        }
        Ok(told)
    }

    async fn follow(&self, walk: &mut Walk, change: &Change) -> Result<()> {
        match &change.kind {
            ChangeKind::Other => {}
            ChangeKind::Lost => walk.lost = true,
            ChangeKind::Rewrite { groups } => {
                let step = self.step(change.version).await?;
                for (old, new) in groups {
                    walk.moved_into.extend(new);
                    if let Some(step) = &step {
                        self.rewrite(walk, step, old, new).await?;
                    }
                }
            }
            ChangeKind::Replacement {
                binding: Some(binding),
                ..
            } if *binding == self.column.bound.binding => {
                // Our own publication: its records are found by the names of its files.
            }
            ChangeKind::Replacement {
                fragments,
                fields,
                binding,
            } => {
                let touches = Touches::of(self.column, Some(fields));
                if touches.any()
                    && let Some(step) = self.step(change.version).await?
                {
                    for fragment in fragments {
                        let changed = self
                            .replaced_rows(&step, *fragment, binding.as_ref())
                            .await?;
                        self.patch(walk, &step, *fragment, touches, &changed)
                            .await?;
                    }
                }
            }
            ChangeKind::Update(update) => {
                let touches = Touches::of(self.column, update.fields.as_deref());
                if update.in_place && !touches.any() {
                    return Ok(());
                }
                match self.step(change.version).await? {
                    Some(step) if update.in_place => {
                        self.update_in_place(walk, &step, update, touches).await?
                    }
                    Some(step) => self.update_rows(walk, &step, update, touches).await?,
                    None => walk.lost = true,
                }
            }
        }
        Ok(())
    }

    async fn step(&self, version: u64) -> Result<Option<Step>> {
        let after = match version == self.latest.view().version {
            true => Some(self.latest.clone()),
            false => self.table.at(version).await?,
        };
        let before = self.table.at(version - 1).await?;
        Ok(before
            .zip(after)
            .map(|(before, after)| Step { before, after }))
    }

    /// The state of a fragment before a change: carried so far, recorded, or looked up there.
    async fn state_before(
        &self,
        walk: &Walk,
        step: &Step,
        fragment: &FragmentView,
    ) -> Result<(Option<CoverageRecord>, Identities)> {
        let (identities, place) = self.column.identify(fragment);
        if let Some(record) = walk.states.get(&fragment.id) {
            return Ok((Some(record.clone()), identities));
        }
        let mut found = self
            .column
            .store
            .records(&[(fragment.id, identities, place)])
            .await?;
        let record = found.remove(&fragment.id).map(Arc::unwrap_or_clone);
        if record.is_some() || identities.out.is_none() {
            return Ok((record, identities));
        }
        let appended = self
            .max_fragment
            .is_none_or(|highest| fragment.id > highest)
            && !walk.lost
            && !walk.moved_into.contains(&fragment.id);
        let origin = if appended {
            Outcome::Supplied
        } else {
            Outcome::Unknown
        };
        let (record, _) = look::into(
            step.before.as_ref(),
            self.column,
            fragment,
            &identities,
            None,
            origin,
        )
        .await?;
        Ok((record, identities))
    }

    /// A compaction: rows keep their order, or their stable ids.
    async fn rewrite(
        &self,
        walk: &mut Walk,
        step: &Step,
        old: &[FragmentId],
        new: &[FragmentId],
    ) -> Result<()> {
        let old_views: Vec<&FragmentView> = old
            .iter()
            .filter_map(|id| step.before.view().fragment(*id))
            .collect();
        let new_views: Vec<&FragmentView> = new
            .iter()
            .filter_map(|id| step.after.view().fragment(*id))
            .collect();
        if old_views.len() != old.len() || new_views.len() != new.len() {
            return Ok(());
        }
        let Some(moves) = self.rewrite_moves(step, &old_views, &new_views).await? else {
            return Ok(());
        };
        if !compare::samples_agree(step, self.column, &moves).await? {
            return Ok(());
        }
        let mut states = vec![];
        for view in &old_views {
            states.push((*view, self.state_before(walk, step, view).await?));
        }
        for view in new_views {
            let now = self.column.identify(view).0;
            let mut carried =
                Carried::new(&self.column.bound.binding, view.id, view.physical_rows, now);
            for (old_view, (record, then)) in &states {
                let Some(moves) = moves.get(&(old_view.id, view.id)) else {
                    continue;
                };
                match record {
                    Some(record) => carried.add(record, then, moves, &RowSet::new()),
                    None if self.column.filter.is_some() => carried.forget_filter(),
                    None => {}
                }
            }
            walk.states.insert(view.id, carried.into_record());
        }
        Ok(())
    }

    async fn rewrite_moves(
        &self,
        step: &Step,
        old: &[&FragmentView],
        new: &[&FragmentView],
    ) -> Result<Option<BTreeMap<(FragmentId, FragmentId), Vec<Move>>>> {
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

    /// Rows of a replaced input file that have other values: all, unless one of ours says better.
    async fn replaced_rows(
        &self,
        step: &Step,
        fragment: FragmentId,
        binding: Option<&BindingId>,
    ) -> Result<RowSet> {
        let Some(after) = step.after.view().fragment(fragment) else {
            return Ok(RowSet::new());
        };
        let all = RowSet::full(after.physical_rows);
        let Some(column) = self
            .upstream
            .iter()
            .find(|column| Some(&column.bound.binding) == binding)
        else {
            return Ok(all);
        };
        let Some(before) = step.before.view().fragment(fragment) else {
            return Ok(all);
        };
        let mut records = vec![];
        for view in [before, after] {
            let (identities, place) = column.identify(view);
            let mut found = column
                .store
                .records(&[(fragment, identities, place)])
                .await?;
            records.push(found.remove(&fragment));
        }
        let [Some(was), Some(is)] = records.as_slice() else {
            return Ok(all);
        };
        Ok(rows_that_differ(Some(was), Some(is), after.physical_rows))
    }

    /// Values patched in place: rows keep their offsets.
    async fn update_in_place(
        &self,
        walk: &mut Walk,
        step: &Step,
        update: &Update,
        touches: Touches,
    ) -> Result<()> {
        for fragment in &update.touched {
            let Some(view) = step.after.view().fragment(*fragment) else {
                continue;
            };
            let changed = update
                .offsets
                .get(fragment)
                .cloned()
                .unwrap_or_else(|| RowSet::full(view.physical_rows));
            self.patch(walk, step, *fragment, touches, &changed).await?;
        }
        Ok(())
    }

    async fn patch(
        &self,
        walk: &mut Walk,
        step: &Step,
        fragment: FragmentId,
        touches: Touches,
        changed: &RowSet,
    ) -> Result<()> {
        let (Some(before), Some(after)) = (
            step.before.view().fragment(fragment),
            step.after.view().fragment(fragment),
        ) else {
            return Ok(());
        };
        let (record, then) = self.state_before(walk, step, before).await?;
        let now = self.column.identify(after).0;
        let mut carried = Carried::new(
            &self.column.bound.binding,
            fragment,
            after.physical_rows,
            now,
        );
        let moves = in_place(after.physical_rows);
        let stale = if touches.inputs {
            changed.clone()
        } else {
            RowSet::new()
        };
        match &record {
            Some(record) => carried.add(record, &then, &moves, &stale),
            None if self.column.filter.is_some() => carried.forget_filter(),
            None => {}
        }
        if touches.filter {
            carried.forget_filter();
        }
        if touches.output {
            let written =
                compare::written_values(step, self.column, (fragment, fragment), &moves, changed)
                    .await?;
            supply(&mut carried, written, now);
        }
        walk.states.insert(fragment, carried.into_record());
        Ok(())
    }

    /// Rows that moved into new fragments with other values.
    async fn update_rows(
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
            let mut carried =
                Carried::new(&self.column.bound.binding, view.id, view.physical_rows, now);
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
                    false => RowSet::new(),
                };
                let (record, then) = self.state_before(walk, step, source).await?;
                if let Some(record) = &record {
                    carried.add(record, &then, moves, &changed);
                }
                if touches.output || !certain {
                    let written =
                        compare::written_values(step, self.column, pair, moves, &there).await?;
                    if certain || (touches.output && !touches.inputs) {
                        supply(&mut carried, written, now);
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
                supply(&mut carried, written, now);
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
            let mut carried =
                Carried::new(&self.column.bound.binding, view.id, view.physical_rows, now);
            if touches.output && !touches.inputs && now.out.is_some() {
                let values = look::rows_with_values(step.after.as_ref(), self.column, view).await?;
                supply(
                    &mut carried,
                    compare::Written {
                        values,
                        nulls: RowSet::new(),
                    },
                    now,
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

/// How rows moved between fragments.
struct Moves {
    pairs: BTreeMap<(FragmentId, FragmentId), Vec<Move>>,
    /// Whether ids prove it; otherwise each row must be compared.
    certain: bool,
}

/// Which of a column's fields a write set.
#[derive(Debug, Clone, Copy)]
struct Touches {
    inputs: bool,
    filter: bool,
    output: bool,
}

impl Touches {
    /// Without a list of fields, all of them.
    fn of(column: &Column, fields: Option<&[FieldId]>) -> Self {
        let hits = |views: &[FieldView]| match fields {
            Some(fields) => views
                .iter()
                .any(|view| view.tree_ids.iter().any(|id| fields.contains(id))),
            None => true,
        };
        Self {
            inputs: hits(&column.bound.inputs),
            filter: hits(&column.bound.filter_inputs),
            output: hits(std::slice::from_ref(&column.bound.output)),
        }
    }

    const fn any(self) -> bool {
        self.inputs || self.filter || self.output
    }
}

/// Values that somebody wrote stand; NULLs that somebody wrote are unassigned.
fn supply(carried: &mut Carried, written: compare::Written, now: Identities) {
    carried.forget(&written.nulls);
    let run = Run {
        rows: written.values,
        outcome: Outcome::Supplied,
        generation: None,
        in_id: now.in_id,
        ledger: LedgerSeq(0),
        job: None,
    };
    if !run.rows.is_empty() {
        carried.lay_over(vec![run]);
    }
}

async fn live_rows(version: &dyn TableVersion, view: &FragmentView) -> Result<RowSet> {
    let all = RowSet::full(view.physical_rows);
    match view.deletion {
        Some(_) => Ok(all.difference(&version.deleted_rows(view.id).await?)),
        None => Ok(all),
    }
}

/// Row ids with deleted rows blanked out: an updated row keeps its id, and only one copy lives.
async fn live_row_ids(version: &dyn TableVersion, view: &FragmentView) -> Result<Option<Vec<u64>>> {
    let Some(mut ids) = version.row_ids(view.id).await? else {
        return Ok(None);
    };
    let live = live_rows(version, view).await?;
    for (id, offset) in ids.iter_mut().zip(0_u32..) {
        if !live.contains(offset) {
            *id = u64::MAX;
        }
    }
    Ok(Some(ids))
}
