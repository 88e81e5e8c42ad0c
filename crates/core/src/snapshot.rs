//! The coverage snapshot: a compact cache of which fragments are settled, one entry a fragment.
//!
//! It is only ever a shortcut: an entry counts while its fingerprint equals the fragment's, and
//! what it says can always be found again in the coverage records.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::coverage::{CoverageRecord, Outcome};
use crate::definition::{Definition, OnUnknown};
use crate::ids::{FragmentId, GenerationId};
use crate::rate::Rate;
use crate::rows::RowSet;
use crate::state::{Counts, Identities, Inputs};

/// Entries of settled fragments, and what the last planner saw.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CoverageSnapshot {
    /// What is not per fragment.
    pub head: Head,
    /// By fragment.
    pub entries: BTreeMap<FragmentId, Entry>,
}

/// The part of a snapshot that is not per fragment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Newest table version whose changes are accounted for.
    pub table_version: u64,
    /// Highest fragment of that version.
    pub max_fragment: Option<FragmentId>,
    /// Generation of rows that no entry names another one for.
    pub generation: Option<GenerationId>,
    /// Measured speed of that generation.
    pub rate: Option<Rate>,
}

/// What a fragment's live rows hold, in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// Digest of identities and deletions for which this holds.
    pub fingerprint: u64,
    /// Live rows.
    pub live: u32,
    /// Rows that the filter does not select.
    pub filtered: u32,
    /// Rows by outcome under the head's generation, in the order of [`OUTCOMES`].
    pub rows: [u32; 5],
    /// Rows of other generations, in order, one number for each generation and outcome.
    pub others: Vec<OtherGeneration>,
}

/// Rows of a generation that is not the head's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OtherGeneration {
    /// What computed them.
    pub generation: GenerationId,
    /// How they came out.
    pub outcome: Outcome,
    /// How many.
    pub rows: u32,
}

/// Order of the numbers in [`Entry::rows`].
pub const OUTCOMES: [Outcome; 5] = [
    Outcome::Value,
    Outcome::Null,
    Outcome::Failed,
    Outcome::Supplied,
    Outcome::Unknown,
];

impl Entry {
    /// Sums up a record for the live rows; `None` if a row is unassigned or its inputs are not
    /// known to be the present ones of its generation.
    pub fn of(
        record: &CoverageRecord,
        identities: &Identities,
        fingerprint: u64,
        live: &RowSet,
        head_generation: Option<&GenerationId>,
    ) -> Option<Self> {
        let mut entry = Self {
            fingerprint,
            live: small(live.len())?,
            ..Self::default()
        };
        let mut rest = live.difference(&record.filtered);
        entry.filtered = small(live.len() - rest.len())?;
        for run in &record.runs {
            let rows = rest.intersection(&run.rows);
            if rows.is_empty() {
                continue;
            }
            rest.remove(&rows);
            let rows = small(rows.len())?;
            let made_by = run.generation.as_ref();
            let same = identities.compare(made_by, run.in_id) == Inputs::Same;
            match run.outcome {
                Outcome::Supplied => *entry.slot(run.outcome) += rows,
                _ if !same => return None,
                Outcome::Unknown => *entry.slot(run.outcome) += rows,
                Outcome::Value | Outcome::Null | Outcome::Failed => {
                    entry.add_computed(made_by?, run.outcome, rows, head_generation);
                }
            }
        }
        entry.others.sort_unstable();
        rest.is_empty().then_some(entry)
    }

    /// Counts computed rows; each generation and outcome has one number.
    fn add_computed(
        &mut self,
        made_by: &GenerationId,
        outcome: Outcome,
        rows: u32,
        head_generation: Option<&GenerationId>,
    ) {
        if Some(made_by) == head_generation {
            *self.slot(outcome) += rows;
            return;
        }
        let same =
            |other: &&mut OtherGeneration| other.generation == *made_by && other.outcome == outcome;
        match self.others.iter_mut().find(same) {
            Some(other) => other.rows += rows,
            None => self.others.push(OtherGeneration {
                generation: made_by.clone(),
                outcome,
                rows,
            }),
        }
    }

    /// Tells the same under another head.
    fn rebase(&mut self, before: Option<&GenerationId>, now: Option<&GenerationId>) {
        let mut computed = std::mem::take(&mut self.others);
        for outcome in [Outcome::Value, Outcome::Null, Outcome::Failed] {
            let Some(generation) = before.cloned() else {
                break;
            };
            computed.push(OtherGeneration {
                generation,
                outcome,
                rows: std::mem::take(self.slot(outcome)),
            });
        }
        for other in computed.into_iter().filter(|other| other.rows > 0) {
            self.add_computed(&other.generation, other.outcome, other.rows, now);
        }
        self.others.sort_unstable();
    }

    fn slot(&mut self, outcome: Outcome) -> &mut u32 {
        let [value, null, failed, supplied, unknown] = &mut self.rows;
        match outcome {
            Outcome::Value => value,
            Outcome::Null => null,
            Outcome::Failed => failed,
            Outcome::Supplied => supplied,
            Outcome::Unknown => unknown,
        }
    }

    /// The generations of computed rows.
    pub fn generations<'a>(
        &'a self,
        head_generation: Option<&'a GenerationId>,
    ) -> impl Iterator<Item = &'a GenerationId> {
        let [value, null, failed, ..] = self.rows;
        let of_head = head_generation.filter(|_| value + null + failed > 0);
        (of_head.into_iter()).chain(self.others.iter().map(|other| &other.generation))
    }

    /// Whether some rows failed.
    pub fn has_failures(&self) -> bool {
        let [_, _, failed, ..] = self.rows;
        failed > 0
            || self
                .others
                .iter()
                .any(|other| other.outcome == Outcome::Failed)
    }

    /// The rows by state if the entry leaves nothing to do under this definition.
    pub fn settled_counts(
        &self,
        head_generation: Option<&GenerationId>,
        definition: &Definition,
        generation: &GenerationId,
    ) -> Option<Counts> {
        let mut counts = Counts {
            total: self.live.into(),
            filtered: self.filtered.into(),
            ..Counts::default()
        };
        let own = OUTCOMES
            .iter()
            .zip(self.rows)
            .map(|(outcome, rows)| (head_generation, *outcome, rows));
        let others = self
            .others
            .iter()
            .map(|other| (Some(&other.generation), other.outcome, other.rows));
        for (made_by, outcome, rows) in own.chain(others).filter(|(_, _, rows)| *rows > 0) {
            let is_own = made_by == Some(generation);
            let accepted = is_own
                || made_by.is_some_and(|made| definition.accepted_generations.contains_key(made));
            let slot = match outcome {
                Outcome::Value | Outcome::Null if accepted => &mut counts.current,
                Outcome::Failed if is_own => &mut counts.failed,
                Outcome::Supplied => &mut counts.current,
                Outcome::Unknown if definition.on_unknown == OnUnknown::Trust => {
                    &mut counts.unknown
                }
                Outcome::Value | Outcome::Null | Outcome::Failed | Outcome::Unknown => return None,
            };
            *slot += u64::from(rows);
        }
        Some(counts)
    }
}

fn small(rows: u64) -> Option<u32> {
    u32::try_from(rows).ok()
}

impl CoverageSnapshot {
    /// Lays newer entries over this snapshot.
    pub fn apply(&mut self, newer: Self) {
        if newer.head.generation != self.head.generation {
            // The numbers of older entries speak of the older head's generation.
            let (before, now) = (&self.head.generation, &newer.head.generation);
            for entry in self.entries.values_mut() {
                entry.rebase(before.as_ref(), now.as_ref());
            }
        }
        self.head = newer.head;
        self.entries.extend(newer.entries);
    }
}

mod stored;

#[cfg(test)]
mod model;

#[cfg(test)]
mod tests;
