//! The plan ledger: what has been handed out, by whom; dense, create-if-absent only.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::batch::{BatchSpec, FoldSpec, Lane, Work};
use crate::breaker;
use crate::format::Stored;
use crate::ids::{BatchId, BindingId, GenerationId, JobId, LedgerSeq};
use crate::job::Selection;

/// One entry of the ledger of one column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerEntry {
    /// Format of this JSON.
    pub version: u32,
    /// Column that it belongs to.
    pub binding: BindingId,
    /// Its place; also its name in the state store.
    pub seq: LedgerSeq,
    /// Random; part of the batch ids, so that a deleted store cannot bring old results back.
    pub token: String,
    /// Token of the newest entry that its author saw, if there was one: it tells an entry that came after
    /// another from one that was there before its number was taken again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Table version that it was planned from.
    pub table_version: u64,
    /// Embedded process that created it, if one did: its lock file tells whether it lives.
    pub session: Option<String>,
    /// What it says.
    pub body: EntryBody,
}

impl Stored for LedgerEntry {
    const WHAT: &'static str = "an entry of the plan ledger";
    const VERSION: u32 = 1;
}

/// What a ledger entry says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum EntryBody {
    /// Work handed out.
    Page(Page),
    /// Nothing is dispatched until a resume or an approval.
    Hold {
        /// Why.
        reason: HoldReason,
        /// One line for a person.
        message: String,
    },
    /// Ends the holds before it.
    ///
    /// It closes the breaker too.
    // With braces: serde lets unknown fields pass in a variant without.
    Resume {},
    /// Ends the holds for approval before it: so many rows may be handed out unattended.
    Approval {
        /// Rows approved.
        rows: u64,
    },
    /// Faults hit whole batches: until one succeeds, nothing but one at a time is handed out.
    Breaker(OpenBreaker),
    /// Ends the breaker before it: a probe succeeded, or the definition was edited.
    BreakerClosed {},
    /// A person asked for rows: a job.
    Request(Request),
    /// All work of the entries before is finished and published: they can be collected.
    ///
    /// Some entry must stay, for the ledger to be dense. If that were a page, its batches would seem
    /// open again without their checkpoint manifests.
    Settled {
        /// Rows that a person's approval still covers.
        approved_left: u64,
    },
}

/// What a person asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Which rows.
    pub selection: Selection,
    /// How many there were when it was ordered.
    pub rows: u64,
}

/// Batches and folds of one generation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Page {
    /// What is to be computed with.
    pub generation: GenerationId,
    /// Job that ordered it, if one did.
    pub job: Option<JobId>,
    /// Lane to send it through.
    pub lane: Lane,
    /// Function work.
    pub batches: Vec<BatchSpec>,
    /// Folds of finished parts.
    pub folds: Vec<FoldSpec>,
    /// Rows that a person's approval still covers after this page.
    pub approved_left: u64,
}

/// What keeps a column's rows from workers that would fail on all of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenBreaker {
    /// What the faults came from: another generation is not affected.
    pub generation: GenerationId,
    /// Faults in a row: the one that opened it, and one a probe since.
    pub faults: u32,
    /// How long after this entry was stored the next probe is handed out.
    pub wait_ms: u64,
    /// What went wrong last, in one line for a person.
    pub message: String,
}

/// Why a column is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldReason {
    /// More rows failed than the policy allows.
    Budget,
    /// More rows are in need than unattended work may take.
    Approval,
}

impl LedgerEntry {
    /// The job that the entry orders or works on.
    pub fn job(&self) -> Option<JobId> {
        match &self.body {
            EntryBody::Page(page) => page.job.clone(),
            EntryBody::Request(_) => Some(JobId {
                seq: self.seq,
                token: self.token.clone(),
            }),
            EntryBody::Hold { .. }
            | EntryBody::Resume {}
            | EntryBody::Approval { .. }
            | EntryBody::Breaker(_)
            | EntryBody::BreakerClosed {}
            | EntryBody::Settled { .. } => None,
        }
    }

    /// The batches and folds that the entry hands out, with their ids.
    pub fn work(&self) -> Vec<(BatchId, Work)> {
        let EntryBody::Page(page) = &self.body else {
            return vec![];
        };
        let computes = page.batches.iter().cloned().map(Work::Compute);
        let folds = page.folds.iter().cloned().map(Work::Fold);
        computes
            .chain(folds)
            .zip(0_u32..)
            .map(|(work, index)| {
                (
                    BatchId {
                        seq: self.seq,
                        token: self.token.clone(),
                        index,
                    },
                    work,
                )
            })
            .collect()
    }
}

/// The newest hold that is in force after the given entries, if one is.
pub fn standing_hold(entries: &[LedgerEntry]) -> Option<(HoldReason, &str)> {
    standing_holds(entries)
        .pop()
        .map(|(_, reason, message)| (reason, message))
}

/// The oldest hold that is in force after the given entries, if one is, by its number.
pub fn held_since(entries: &[LedgerEntry]) -> Option<LedgerSeq> {
    standing_holds(entries).first().map(|(seq, ..)| *seq)
}

/// An approval ends a hold for approval only: too many failures still wait for a resume.
fn standing_holds(entries: &[LedgerEntry]) -> Vec<(LedgerSeq, HoldReason, &str)> {
    let mut holds: Vec<(LedgerSeq, HoldReason, &str)> = vec![];
    for entry in entries {
        match &entry.body {
            EntryBody::Hold { reason, message } => holds.push((entry.seq, *reason, message)),
            EntryBody::Resume {} => holds.clear(),
            EntryBody::Approval { .. } => {
                holds.retain(|(_, reason, _)| *reason != HoldReason::Approval)
            }
            EntryBody::Page(_)
            | EntryBody::Request(_)
            | EntryBody::Breaker(_)
            | EntryBody::BreakerClosed {}
            | EntryBody::Settled { .. } => {}
        }
    }
    holds
}

/// Entries that say something which no other entry says; the others can be collected.
///
/// `open` are the entries with work that is not finished or of a job that is not over, `ended` the jobs
/// that are. The newest entry stays in any case: its number keeps the ledger dense.
pub fn still_needed(
    entries: &[LedgerEntry],
    open: &BTreeSet<LedgerSeq>,
    ended: impl Fn(&JobId) -> bool,
) -> BTreeSet<LedgerSeq> {
    let mut needed: BTreeSet<LedgerSeq> = standing_holds(entries)
        .into_iter()
        .map(|(seq, ..)| seq)
        .collect();
    needed.extend(entries.last().map(|entry| entry.seq));
    let says_what_is_approved = |entry: &&LedgerEntry| {
        matches!(
            entry.body,
            EntryBody::Approval { .. }
                | EntryBody::Page(_)
                | EntryBody::Hold { .. }
                | EntryBody::Settled { .. }
        )
    };
    if approved_left(entries) > 0 {
        let last = entries.iter().rev().find(says_what_is_approved);
        needed.extend(last.map(|entry| entry.seq));
    }
    for entry in entries {
        let ordered = matches!(entry.body, EntryBody::Request(_));
        let is_open = ordered && entry.job().is_some_and(|job| !ended(&job));
        if is_open || open.contains(&entry.seq) {
            needed.insert(entry.seq);
        }
    }
    needed.extend(breaker::standing(entries).map(|(seq, _)| seq));
    // What was forgiven or is over would count again, where the batches that it came from are kept.
    let ends: [fn(&EntryBody) -> bool; 2] = [breaker::ends_faults, forgives_failures];
    for says in ends {
        let newest = entries.iter().rev().find(|entry| says(&entry.body));
        if let Some(newest) = newest.map(|entry| entry.seq)
            && needed.range(..newest).next().is_some()
        {
            needed.insert(newest);
        }
    }
    needed
}

/// Whether failed rows of the entries before it count no more.
pub(crate) const fn forgives_failures(body: &EntryBody) -> bool {
    matches!(body, EntryBody::Resume {})
}

/// Rows that may still be handed out under the newest approval.
///
/// Each page says what is left after it, so that older entries can be collected.
pub fn approved_left(entries: &[LedgerEntry]) -> u64 {
    let mut left = 0;
    for entry in entries {
        match &entry.body {
            EntryBody::Approval { rows } => left = *rows,
            EntryBody::Page(page) => left = page.approved_left,
            EntryBody::Settled { approved_left } => left = *approved_left,
            EntryBody::Hold { .. } => left = 0,
            EntryBody::Resume {}
            | EntryBody::Request(_)
            | EntryBody::Breaker(_)
            | EntryBody::BreakerClosed {} => {}
        }
    }
    left
}

/// How many of the rows in need unattended work may hand out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Allowance {
    /// All: they are no more than the limit.
    Free,
    /// So many, because a person approved them.
    Approved(u64),
    /// None: a person must approve.
    Hold,
}

/// *No surprise spending*: more rows than the limit wait for a person.
pub fn allowance(in_need: u64, limit: Option<u64>, approved: u64) -> Allowance {
    match limit {
        Some(limit) if in_need > limit && approved == 0 => Allowance::Hold,
        Some(limit) if in_need > limit => Allowance::Approved(approved),
        _ => Allowance::Free,
    }
}

#[cfg(test)]
mod tests;
