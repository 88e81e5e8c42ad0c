//! Identities of a fragment under one definition, one for each set of columns that is read.

use std::collections::BTreeMap;

use crate::identity::{self, Identity};
use crate::ids::GenerationId;
use crate::table::FragmentView;

/// Identities of a fragment at the version that is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identities {
    /// Of the inputs of the present generation.
    pub in_id: Identity,
    /// Of the inputs of all accepted generations together; `in_id` where they are the same columns.
    pub watched: Identity,
    /// Of the inputs of accepted generations that read other columns.
    pub older: BTreeMap<GenerationId, OlderInputs>,
    /// What records of earlier definitions are kept under, newest first: `watched` and `elig_id`.
    pub earlier: Vec<(Identity, Option<Identity>)>,
    /// Of the filter and its columns.
    pub elig_id: Option<Identity>,
    /// Of the column itself.
    pub out: Option<Identity>,
}

/// Identity of what an accepted generation read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OlderInputs {
    /// The identity.
    pub in_id: Identity,
    /// Whether another identity means that its inputs changed: not where a column is gone or has
    /// another name, so that nobody can tell.
    pub certain: bool,
}

/// What a value's inputs are now, next to what they were when it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inputs {
    /// The same.
    Same,
    /// Others.
    Changed,
    /// Nobody can tell.
    Untold,
}

impl Identities {
    /// Those of a column whose accepted generations all read the same, under one definition.
    pub fn simple(in_id: Identity, elig_id: Option<Identity>, out: Option<Identity>) -> Self {
        Self {
            in_id,
            watched: in_id,
            older: BTreeMap::new(),
            earlier: vec![],
            elig_id,
            out,
        }
    }

    /// Identity of what a generation reads; what has none may have been made from any of them.
    pub fn of(&self, generation: Option<&GenerationId>) -> Identity {
        match generation {
            None => self.watched,
            Some(generation) => match self.older.get(generation) {
                Some(older) => older.in_id,
                None => self.in_id,
            },
        }
    }

    /// Compares the inputs that a value was made from with the present ones of its generation.
    pub fn compare(&self, generation: Option<&GenerationId>, in_id: Identity) -> Inputs {
        let same = match generation {
            // What was noticed under an earlier definition was of the columns watched then.
            None => self.stands(in_id),
            Some(_) => in_id == self.of(generation),
        };
        let certain = match generation {
            None => self.older.values().all(|older| older.certain),
            Some(generation) => self.older.get(generation).is_none_or(|older| older.certain),
        };
        match (same, certain) {
            (true, _) => Inputs::Same,
            (false, true) => Inputs::Changed,
            (false, false) => Inputs::Untold,
        }
    }

    /// Whether what was watched then, under this or an earlier definition, is still what it was.
    pub fn stands(&self, watched: Identity) -> bool {
        watched == self.watched || self.earlier.iter().any(|(before, _)| *before == watched)
    }

    /// Fingerprint of the fragment; the snapshot's entry has it if the fragment is as it was.
    pub fn fingerprint(&self, fragment: &FragmentView) -> u64 {
        identity::fingerprint(fragment, self.watched, self.elig_id, self.out)
    }

    /// The earlier definition under which an entry of the snapshot is of this fragment as it is now.
    ///
    /// Other columns were watched then. That is enough for values that were made from those, and it
    /// spares reading the records of the whole table after an edit.
    pub fn earlier_of(&self, fragment: &FragmentView, fingerprint: u64) -> Option<usize> {
        self.earlier.iter().position(|(watched, elig_id)| {
            *elig_id == self.elig_id
                && identity::fingerprint(fragment, *watched, *elig_id, self.out) == fingerprint
        })
    }

    /// What a record of this state may be kept under, the present definition's first.
    pub fn keys(&self) -> impl Iterator<Item = (Identity, Option<Identity>)> {
        std::iter::once((self.watched, self.elig_id)).chain(self.earlier.iter().copied())
    }
}
