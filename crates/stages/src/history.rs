//! History: what other writers did since the last survey, and where their rows' state went.
//!
//! Compactions, updates and upserts move rows or patch them in place. Their transactions say which;
//! from them the state of each row is carried along, so that only rows whose inputs really changed
//! are computed again. Where a version is gone, nothing is guessed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lance_backfill_core::coverage::{CoverageRecord, Outcome, Run};
use lance_backfill_core::history::{
    Carried, Change, ChangeKind, ChangedRows, Move, Update, in_place, rows_that_differ,
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
mod noticing;
mod rewrite;
mod trail;
mod update;

pub(crate) use noticing::Noticing;
pub(crate) use trail::Trail;

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
    /// Which requests a written value stands against.
    pub(crate) noticing: &'a Noticing<'a>,
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
                .filter(|record| (record.in_id, record.out) == (now.watched, now.out));
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

    /// Newest entry of the ledger that a value written in this step stands against.
    fn noticed(&self, step: &Step) -> LedgerSeq {
        self.noticing.written_in(step.after.view().version)
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
            .records(&[(fragment.id, identities.clone(), place)])
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
            self.noticing,
        )
        .await?;
        Ok((record, identities))
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
            now.clone(),
        );
        let moves = in_place(after.physical_rows);
        // Rows that were written need not have changed: an equal value is no reason to compute again.
        let stale = match touches.inputs {
            true => {
                let written: Vec<Move> = stay(changed);
                let pair = (fragment, fragment);
                compare::rows_with_other_inputs(step, self.column, pair, &written).await?
            }
            false => ChangedRows::default(),
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
            supply(&mut carried, written, &now, self.noticed(step));
        }
        walk.states.insert(fragment, carried.into_record());
        Ok(())
    }
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
            inputs: hits(&column.bound.watched),
            filter: hits(&column.bound.filter_inputs),
            output: hits(&column.bound.outputs),
        }
    }

    const fn any(self) -> bool {
        self.inputs || self.filter || self.output
    }
}

/// Rows that stay where they are.
fn stay(rows: &RowSet) -> Vec<Move> {
    rows.ranges()
        .map(|range| Move {
            old: range.start,
            new: range.start,
            rows: range.end - range.start,
        })
        .collect()
}

/// Values that somebody wrote stand; NULLs that somebody wrote are unassigned.
fn supply(carried: &mut Carried, written: compare::Written, now: &Identities, noticed: LedgerSeq) {
    carried.forget(&written.nulls);
    let run = Run {
        rows: written.values,
        outcome: Outcome::Supplied,
        generation: None,
        in_id: now.watched,
        ledger: noticed,
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
