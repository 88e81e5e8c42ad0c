//! Planning: from the rows in need to batches, with the reasons.

use serde::{Deserialize, Serialize};

use crate::batch::{BatchSpec, FoldPart, FoldSpec, Slice, Target};
use crate::identity::Identity;
use crate::ids::FragmentId;
use crate::rows::RowSet;

/// A fragment of one column that is not settled, as a survey found it.
#[derive(Debug, Clone, PartialEq)]
pub struct FragmentNeed {
    /// Fragment.
    pub fragment: FragmentId,
    /// Identity of its inputs.
    pub in_id: Identity,
    /// Identity of what all accepted generations read: parts of any of them are folded together.
    pub watched: Identity,
    /// Identity of the column in it.
    pub out: Option<Identity>,
    /// Rows in need that nobody works on, whose inputs are ready.
    pub ready: RowSet,
    /// Rows in open batches.
    pub open: RowSet,
    /// Finished, unpublished values of the fragment, each under the present inputs of its generation.
    pub parts: Vec<FoldPart>,
    /// Rows for which the parts count.
    pub part_rows: RowSet,
    /// Live rows of the fragment.
    pub live_rows: u64,
    /// Seconds since the oldest of the parts was handed out.
    pub oldest_part_s: u64,
    /// Whether a fold of the fragment is open or finished and not yet published.
    pub fold_open: bool,
}

/// What bounds a page.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Measured rows per second and worker, or the prior of the function's kind.
    pub rows_per_s: f64,
    /// Time that one batch should take.
    pub target_s: f64,
    /// Workers that may work at once.
    pub workers: u32,
    /// Rows of one batch, whatever the speed.
    pub most_rows_per_batch: u64,
    /// Batches of one page.
    pub most_batches: usize,
    /// Slices of one batch.
    pub most_slices: usize,
    /// Seconds until somebody else may take a batch over.
    pub deadline_s: u64,
    /// The same of a fold.
    pub fold_deadline_s: u64,
    /// Rows that may be handed out at all; 0 while a column is held, and finished parts are folded then.
    pub most_rows: u64,
    /// Whether finished parts are folded whatever is still open: the column is about to be left.
    pub fold_now: bool,
    /// Only fragments after this one, if one is named: new rows overtake a backfill that is under way.
    pub after: Option<FragmentId>,
}

/// Most rows of a probe: where every row fails, each is tried several times.
const MOST_ROWS_OF_A_PROBE: f64 = 1_000.0;
/// Time that a probe should take.
const PROBE_TARGET_S: f64 = 5.0;

impl Limits {
    /// The same for one batch that shows whether the function can be called at all.
    #[must_use]
    pub fn probe(self) -> Self {
        let rows = (self.rows_per_s * PROBE_TARGET_S).clamp(1.0, MOST_ROWS_OF_A_PROBE);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped above"
        )]
        let rows = rows as u64;
        Self {
            most_rows: self.most_rows.min(rows),
            most_batches: self.most_batches.min(1),
            ..self
        }
    }
}

/// Work that a planner wants to hand out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PlannedPage {
    /// Function work.
    pub batches: Vec<BatchSpec>,
    /// Folds of finished parts.
    pub folds: Vec<FoldSpec>,
    /// Ready rows that did not fit into the page.
    pub rows_left: u64,
}

impl PlannedPage {
    /// Whether there is nothing to hand out.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty() && self.folds.is_empty()
    }

    /// Rows to compute.
    pub fn rows(&self) -> u64 {
        self.batches.iter().map(BatchSpec::rows).sum()
    }
}

/// Fewest rows worth a batch of their own: below, the cost of a batch outweighs its work.
const FEWEST_ROWS_WORTH_A_BATCH: u64 = 100_000;

/// Cuts ready rows into batches and finds folds that are due.
///
/// A fragment whose ready rows fit into one batch and that nobody else works on goes straight into
/// a column file; others are computed in parts and folded when the last part is there. Small
/// fragments share a batch.
pub fn cut(needs: &[FragmentNeed], limits: &Limits) -> PlannedPage {
    let wanted = |need: &&FragmentNeed| limits.after.is_none_or(|after| need.fragment > after);
    let needs = || needs.iter().filter(wanted);
    let total: u64 = needs().map(|need| need.ready.len()).sum();
    let batch_rows = rows_per_batch(total, limits);
    let mut page = PlannedPage::default();
    let mut packed = BatchSpec {
        slices: vec![],
        deadline_s: limits.deadline_s,
    };
    let mut packed_rows = 0;
    let mut budget = limits.most_rows;
    for need in needs() {
        if let Some(fold) = due_fold(need, limits) {
            page.folds.push(fold);
        }
        let mut ready = need.ready.first(budget);
        let mut left_over = need.ready.len() - ready.len();
        let alone =
            need.open.is_empty() && need.parts.is_empty() && !need.fold_open && left_over == 0;
        if ready.len() <= batch_rows && alone {
            if page.batches.len() >= limits.most_batches {
                left_over += ready.len();
            } else if !ready.is_empty() {
                budget -= ready.len();
                packed_rows += ready.len();
                packed
                    .slices
                    .push(slice_of(need, ready, Target::ColumnFile));
                if packed_rows >= batch_rows || packed.slices.len() >= limits.most_slices {
                    let empty = BatchSpec {
                        slices: vec![],
                        deadline_s: limits.deadline_s,
                    };
                    page.batches.push(std::mem::replace(&mut packed, empty));
                    packed_rows = 0;
                }
            }
        } else {
            // The shared batch that is being packed counts: it joins the page in the end.
            let packing = usize::from(!packed.slices.is_empty());
            while !ready.is_empty() && page.batches.len() + packing < limits.most_batches {
                let part = ready.first(batch_rows);
                ready.remove(&part);
                budget -= part.len();
                page.batches.push(BatchSpec {
                    slices: vec![slice_of(need, part, Target::Values)],
                    deadline_s: limits.deadline_s,
                });
            }
            left_over += ready.len();
        }
        page.rows_left += left_over;
    }
    if !packed.slices.is_empty() {
        page.batches.push(packed);
    }
    page
}

fn slice_of(need: &FragmentNeed, rows: RowSet, target: Target) -> Slice {
    Slice {
        fragment: need.fragment,
        in_id: need.in_id,
        out: need.out,
        rows,
        target,
    }
}

/// About a target time of work, but small enough that all workers get some.
fn rows_per_batch(total: u64, limits: &Limits) -> u64 {
    let target = (limits.rows_per_s * limits.target_s).clamp(1.0, 1e15);
    // The clamp keeps the conversion exact enough and in range.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped above"
    )]
    let target = target as u64;
    let share = total.div_ceil(u64::from(limits.workers.max(1)) * 2);
    // A share below the floor is only useful when rows are slow.
    let floor = FEWEST_ROWS_WORTH_A_BATCH.min(target);
    target
        .min(share.max(floor))
        .min(limits.most_rows_per_batch)
        .max(1)
}

/// Unpublished parts older than this are folded before the others are there.
const EARLY_FOLD_AFTER_S: u64 = 600;

/// A fold is due when parts wait and nothing of the fragment is open or still to be cut; and before
/// that when the column is left, and, so that slow columns become visible bit by bit, when a quarter
/// of the rows waits for long.
fn due_fold(need: &FragmentNeed, limits: &Limits) -> Option<FoldSpec> {
    if need.parts.is_empty() || need.fold_open {
        return None;
    }
    let complete = need.open.is_empty() && (need.ready.is_empty() || limits.most_rows == 0);
    let early = need.oldest_part_s >= EARLY_FOLD_AFTER_S
        && need.part_rows.len().saturating_mul(4) >= need.live_rows;
    (complete || early || limits.fold_now).then(|| FoldSpec {
        fragment: need.fragment,
        in_id: need.watched,
        out: need.out,
        parts: need.parts.clone(),
        rows: need.part_rows.clone(),
        deadline_s: limits.fold_deadline_s,
    })
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod model;
