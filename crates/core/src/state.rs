//! The state of each row of a computed column, derived from a record and a definition.

use serde::{Deserialize, Serialize};

use crate::coverage::{CoverageRecord, Outcome};
use crate::definition::{Definition, OnUnknown};
use crate::ids::GenerationId;
use crate::rows::RowSet;

mod identities;

pub use identities::{Identities, Inputs, OlderInputs};

/// The live rows of a fragment by state; every live row is in exactly one set.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FragmentState {
    /// Not selected by the filter.
    pub filtered: RowSet,
    /// Up to date, or supplied by somebody.
    pub current: RowSet,
    /// Failed for good on its present inputs.
    pub failed: RowSet,
    /// A computed input is failed or blocked.
    pub blocked: RowSet,
    /// Never computed.
    pub unassigned: RowSet,
    /// Has a value of other inputs.
    pub stale_input: RowSet,
    /// Has a value of a generation no longer accepted.
    pub stale_definition: RowSet,
    /// Has a value of lost origin, and the policy trusts it.
    pub unknown: RowSet,
    /// Has a value of lost origin, and the policy is to compute it again.
    pub distrusted: RowSet,
}

/// How many rows are in each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// All live rows.
    pub total: u64,
    /// Not selected by the filter.
    pub filtered: u64,
    /// Up to date.
    pub current: u64,
    /// Failed for good.
    pub failed: u64,
    /// Behind a failed or blocked input.
    pub blocked: u64,
    /// Of lost origin, trusted or not.
    pub unknown: u64,
    /// Never computed.
    pub unassigned: u64,
    /// Of other inputs.
    pub stale_input: u64,
    /// Of a generation no longer accepted.
    pub stale_definition: u64,
}

impl Counts {
    /// Rows that the filter selects.
    pub const fn eligible(&self) -> u64 {
        self.total - self.filtered
    }

    /// Rows that still need a value.
    pub const fn remaining(&self) -> u64 {
        self.unassigned + self.stale_input + self.stale_definition
    }

    /// Adds the counts of other rows.
    pub fn add(&mut self, other: &Self) {
        let Self {
            total,
            filtered,
            current,
            failed,
            blocked,
            unknown,
            unassigned,
            stale_input,
            stale_definition,
        } = other;
        self.total += total;
        self.filtered += filtered;
        self.current += current;
        self.failed += failed;
        self.blocked += blocked;
        self.unknown += unknown;
        self.unassigned += unassigned;
        self.stale_input += stale_input;
        self.stale_definition += stale_definition;
    }
}

/// Sorts the live rows of a fragment into states.
///
/// `filtered` must hold for the present `elig_id`: the record's own set if its `elig_id` is the
/// present one, else the result of a scan.
pub fn classify(
    record: Option<&CoverageRecord>,
    identities: &Identities,
    filtered: &RowSet,
    live: &RowSet,
    definition: &Definition,
    generation: &GenerationId,
) -> FragmentState {
    let mut state = FragmentState {
        filtered: live.intersection(filtered),
        ..FragmentState::default()
    };
    let mut rest = live.difference(filtered);
    // The filter cannot tell whether they are to be computed, whatever the function would say.
    for errors in record.map_or(&[][..], |record| &record.errors) {
        if errors.is_of_filter() {
            let rows = rest.intersection(&errors.rows);
            rest.remove(&rows);
            state.failed.extend(&rows);
        }
    }
    for run in record
        .map(|record| record.runs.as_slice())
        .unwrap_or_default()
    {
        let rows = rest.intersection(&run.rows);
        if rows.is_empty() {
            continue;
        }
        rest.remove(&rows);
        let own = run.generation.as_ref() == Some(generation);
        let accepted = own
            || run
                .generation
                .as_ref()
                .is_some_and(|made| definition.accepted_generations.contains_key(made));
        // Each generation by the columns that it read itself; a value of lost origin was of what
        // stood there when it was first seen.
        let inputs = identities.compare(run.generation.as_ref(), run.in_id);
        let unknown = match definition.on_unknown {
            OnUnknown::Trust => &mut state.unknown,
            OnUnknown::Recompute => &mut state.distrusted,
        };
        let set = match (run.outcome, inputs) {
            (Outcome::Supplied, _) => &mut state.current,
            (_, Inputs::Changed) => &mut state.stale_input,
            (Outcome::Unknown, Inputs::Same | Inputs::Untold) => unknown,
            (Outcome::Value | Outcome::Null, Inputs::Same) if accepted => &mut state.current,
            // A column that it was made from is gone: no reason to compute it again unasked.
            (Outcome::Value | Outcome::Null, Inputs::Untold) if accepted => unknown,
            (Outcome::Failed, _) if own => &mut state.failed,
            (Outcome::Value | Outcome::Null | Outcome::Failed, _) => &mut state.stale_definition,
        };
        set.extend(&rows);
    }
    state.unassigned = rest;
    state
}

impl FragmentState {
    /// Rows that a planner may hand out: unassigned, stale, or distrusted.
    pub fn in_need(&self) -> RowSet {
        let mut rows = self.unassigned.union(&self.stale_input);
        rows.extend(&self.stale_definition);
        rows.extend(&self.distrusted);
        rows
    }

    /// Whether nothing of the fragment needs work and nothing can change without a new identity.
    pub fn is_settled(&self) -> bool {
        self.in_need().is_empty() && self.blocked.is_empty()
    }

    /// How many rows are in each state.
    pub fn counts(&self) -> Counts {
        let Self {
            filtered,
            current,
            failed,
            blocked,
            unassigned,
            stale_input,
            stale_definition,
            unknown,
            distrusted,
        } = self;
        let mut counts = Counts {
            total: 0,
            filtered: filtered.len(),
            current: current.len(),
            failed: failed.len(),
            blocked: blocked.len(),
            unknown: unknown.len() + distrusted.len(),
            unassigned: unassigned.len(),
            stale_input: stale_input.len(),
            stale_definition: stale_definition.len(),
        };
        counts.total = counts.filtered
            + counts.current
            + counts.failed
            + counts.blocked
            + counts.unknown
            + counts.remaining();
        counts
    }

    /// Moves rows that the filter left out into `blocked` where a column that it reads failed: what
    /// stands there is no answer.
    pub fn block_filtered(&mut self, behind: &RowSet) {
        let rows = self.filtered.intersection(behind);
        self.filtered.remove(&rows);
        self.blocked.extend(&rows);
    }

    /// Moves rows behind a failed or blocked input from need into `blocked`.
    pub fn block(&mut self, behind: &RowSet) {
        for set in [
            &mut self.unassigned,
            &mut self.stale_input,
            &mut self.stale_definition,
            &mut self.distrusted,
        ] {
            let rows = set.intersection(behind);
            set.remove(&rows);
            self.blocked.extend(&rows);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
