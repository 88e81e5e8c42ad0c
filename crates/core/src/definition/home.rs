//! The home of a table: where it is kept up to date, and how a copy is told from it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::format::Stored;
use crate::ids::HomeId;

/// Folder of the state store beside a table, where no copy made another one necessary.
pub const STATE_FOLDER: &str = "_backfill";

/// Where a table is kept up to date, as it is stored in the table's metadata.
///
/// Every copy of the table carries it too: only where it says so is anything computed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Home {
    /// Format of this JSON.
    pub version: u32,
    /// Given at the first declaration; a copy that is claimed gets one of its own.
    pub id: HomeId,
    /// The place.
    pub at: TablePlace,
    /// Folder of the state store, below the place.
    pub state: String,
    /// State stores that tell how values came to be that were copied along, nearest first.
    pub parents: Vec<Parent>,
}

impl Stored for Home {
    const WHAT: &'static str = "the home of the table";
    const VERSION: u32 = 1;
}

/// Where a table is, in a form that does not depend on who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TablePlace {
    /// Canonical path or URI of the table's root.
    pub table: String,
    /// Branch; the main line without.
    pub branch: Option<String>,
}

impl fmt::Display for TablePlace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.branch {
            None => write!(formatter, "'{}'", self.table),
            Some(branch) => write!(formatter, "branch '{branch}' of '{}'", self.table),
        }
    }
}

/// A state store that is only read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parent {
    /// The table beside which it lies; the table itself without.
    pub at: Option<TablePlace>,
    /// Folder of the state store, below the place.
    pub state: String,
}

/// What was found at the home of a table that was opened elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OldHome {
    /// No table, or one of another identity.
    Gone,
    /// The same table, with the same identity.
    SameTable,
    /// The very folder that was opened, by another path.
    SameFolder,
    /// Nobody can tell.
    Unreachable {
        /// Why, in a line.
        reason: String,
    },
}

/// How the place where a table was opened stands to its home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Residence {
    /// Nothing was ever declared in it.
    Undeclared,
    /// This is its home.
    AtHome(Home),
    /// Its home is gone and this is the table: somebody moved it.
    Moved(Home),
    /// The table is at home elsewhere: nothing is computed here.
    Copy {
        /// The home of the original.
        home: Home,
        /// Why that could not be made sure of, if so.
        doubt: Option<String>,
    },
}

impl Home {
    /// The home of a table in which nothing was declared before.
    pub fn first(id: HomeId, at: TablePlace) -> Self {
        Self {
            version: Self::VERSION,
            id,
            at,
            state: STATE_FOLDER.to_owned(),
            parents: vec![],
        }
    }

    /// The same home after the table was moved: its state store moved along.
    #[must_use]
    pub fn moved(&self, at: TablePlace) -> Self {
        Self { at, ..self.clone() }
    }

    /// The home of a copy, with a state store of its own; `records` says which one has the records of
    /// the values that were copied.
    #[must_use]
    pub fn claimed(&self, id: HomeId, at: TablePlace, records: Records) -> Self {
        let place = |place: &Option<TablePlace>| match records {
            // What lay beside the original lies beside the copy.
            Records::CopiedAlong => place.clone(),
            Records::AtHome => Some(place.clone().unwrap_or_else(|| self.at.clone())),
        };
        let nearest = Parent {
            at: place(&None),
            state: self.state.clone(),
        };
        let farther = self.parents.iter().map(|parent| Parent {
            at: place(&parent.at),
            state: parent.state.clone(),
        });
        Self {
            version: Self::VERSION,
            state: format!("{STATE_FOLDER}/home-{id}"),
            id,
            at,
            parents: std::iter::once(nearest).chain(farther).collect(),
        }
    }
}

/// Where the records of a copy's values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Records {
    /// In the copy's own folder: the state store was copied with the table.
    CopiedAlong,
    /// At the home of the original: only the table was cloned or branched.
    AtHome,
}

/// Decides how `here` stands to the home that the table's metadata name.
///
/// `reads_from_home` says whether some files of the table lie at its home. `look` is what was found
/// there; it may be left out where [`needs_look`] says so.
pub fn residence(
    home: Option<Home>,
    here: &TablePlace,
    reads_from_home: bool,
    look: Option<OldHome>,
) -> Residence {
    let Some(home) = home else {
        return Residence::Undeclared;
    };
    if home.at == *here {
        return Residence::AtHome(home);
    }
    let copy = |home, doubt| Residence::Copy { home, doubt };
    if home.at.branch != here.branch || reads_from_home {
        return copy(home, None);
    }
    match look {
        Some(OldHome::SameFolder) => Residence::AtHome(home),
        Some(OldHome::Gone) => Residence::Moved(home),
        Some(OldHome::SameTable) => copy(home, None),
        Some(OldHome::Unreachable { reason }) => copy(home, Some(reason)),
        None => copy(home, Some("nobody looked there".to_owned())),
    }
}

/// Whether [`residence`] depends on what is found at the home.
pub fn needs_look(home: &Home, here: &TablePlace, reads_from_home: bool) -> bool {
    home.at != *here && home.at.branch == here.branch && !reads_from_home
}

#[cfg(test)]
mod tests;
