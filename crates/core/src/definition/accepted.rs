//! Generations beside the present one whose values count, and what their state is kept under.

use serde::{Deserialize, Serialize};

use super::{Definition, Input};
use crate::ids::{FieldId, GenerationId};

/// What an edit makes of the values that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnChange {
    /// They stand for as long as their own inputs do.
    OnlyNew,
    /// They are computed again.
    RecomputeAll,
}

/// What records were kept under before an edit; only an edit of inputs or filter makes a new one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Earlier {
    /// The columns that were watched.
    pub watched: Vec<Input>,
    /// The filter.
    pub filter: Option<String>,
    /// Columns that the filter read.
    pub filter_inputs: Vec<Input>,
}

impl Earlier {
    /// Names are left out: a renamed column is in the same files.
    fn same_key(&self, other: &Self) -> bool {
        ids(&self.watched) == ids(&other.watched)
            && self.filter == other.filter
            && ids(&self.filter_inputs) == ids(&other.filter_inputs)
    }
}

fn ids(inputs: &[Input]) -> Vec<FieldId> {
    inputs.iter().map(|input| input.id).collect()
}

impl Definition {
    /// Whether a value of this generation counts as current.
    ///
    /// `present` is this definition's own, which takes a digest to find.
    pub fn accepts(&self, present: &GenerationId, generation: &GenerationId) -> bool {
        generation == present || self.accepted_generations.contains_key(generation)
    }

    /// Accepted generations that read other columns than the present one.
    pub fn older(&self) -> impl Iterator<Item = (&GenerationId, &Vec<Input>)> {
        self.accepted_generations
            .iter()
            .filter(|(_, inputs)| ids(inputs) != ids(&self.inputs))
    }

    /// All columns that some accepted generation reads: while they stand, no value becomes stale.
    pub fn watched(&self) -> Vec<Input> {
        if self.older().next().is_none() {
            return self.inputs.clone();
        }
        // In order of their ids: whichever generation is the present one, the identity is the same.
        let all = self.inputs.iter().chain(self.older().flat_map(|it| it.1));
        let mut watched: Vec<Input> = all.cloned().collect();
        watched.sort_by_key(|input| input.id);
        watched.dedup_by_key(|input| input.id);
        watched
    }

    fn key(&self) -> Earlier {
        Earlier {
            watched: self.watched(),
            filter: self.filter.clone(),
            filter_inputs: self.filter_inputs.clone(),
        }
    }

    /// Whether this is a generation that `old` knows, over columns that took the place of those it read.
    ///
    /// Its older values cannot be told from its newer ones, so they become stale.
    pub fn replaces_inputs_of(&self, old: &Self) -> bool {
        let generation = self.generation();
        let before = match old.generation() == generation {
            true => Some(&old.inputs),
            false => old.accepted_generations.get(&generation),
        };
        before.is_some_and(|before| ids(before) != ids(&self.inputs))
    }

    /// Decides what this edited definition makes of values that `old` and those before it made.
    pub fn succeed(&mut self, old: &Self, on_change: OnChange) {
        self.accepted_generations = match on_change {
            OnChange::OnlyNew => {
                let mut inputs = old.inputs.clone();
                // Whoever edits says which columns are meant, under the names that they have now. Not
                // so for generations before: an id may have been given to another column since.
                for input in &mut inputs {
                    if let Some(now) = self.inputs.iter().find(|now| now.id == input.id) {
                        input.name.clone_from(&now.name);
                    }
                }
                let mut accepted = old.accepted_generations.clone();
                accepted.insert(old.generation(), inputs);
                accepted
            }
            OnChange::RecomputeAll => Default::default(),
        };
        self.accepted_generations.remove(&self.generation());
        let own = self.key();
        self.earlier = vec![];
        for before in std::iter::once(&old.key()).chain(&old.earlier) {
            let known = |known: &Earlier| known.same_key(before);
            if !own.same_key(before) && !self.earlier.iter().any(known) {
                self.earlier.push(before.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests;
