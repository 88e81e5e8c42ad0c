//! Where a table is at home, and which state stores that makes this process use.

use std::collections::BTreeMap;
use std::sync::Arc;

use lance_backfill_core::definition::HOME_KEY;
use lance_backfill_core::definition::home::{
    Home, Parent, Records, Residence, STATE_FOLDER, TablePlace, needs_look, residence,
};
use lance_backfill_core::format::{decode, encode};
use lance_backfill_core::ids::{BindingId, HomeId};
use lance_backfill_core::table::TableView;
use lance_backfill_lance::{LanceTable, ObjectStateStore};
use lance_backfill_ports::state_store::StateStore;
use lance_backfill_ports::table::{Edit, EditOutcome, Table};
use lance_backfill_ports::{Error, ErrorKind, Result};
use lance_backfill_stages::column_store::{ColumnStore, Seen};
use lance_backfill_udf::python::Artifacts;

use crate::engine::Engine;
use crate::scratch::Scratch;

/// The state stores of a table, by what it is.
pub(crate) struct Household {
    pub(crate) residence: Residence,
    pub(crate) here: TablePlace,
    /// Written to, unless the table is a copy.
    state: ObjectStateStore,
    parents: Vec<ObjectStateStore>,
    /// Where a copy left its original.
    left_at: Option<Seen>,
    /// Where the records of a copy's values are.
    pub(crate) records: Records,
}

impl Household {
    /// Finds out what a table is; looks at its home only if that is elsewhere.
    pub(crate) async fn of(table: &LanceTable) -> Result<Self> {
        let here = table.place().await?;
        let home = table.metadata_seen(HOME_KEY).as_deref().map(read_home);
        let home = home.transpose()?;
        let reads_from_home = home
            .as_ref()
            .is_some_and(|home| table.reads_files_of(&home.at));
        let look = match &home {
            Some(home) if needs_look(home, &here, reads_from_home) => {
                Some(table.look_at_home(home).await)
            }
            _ => None,
        };
        let residence = residence(home, &here, reads_from_home, look);
        let mut records = Records::CopiedAlong;
        let mut left_at = None;
        let (state, parents): (_, &[Parent]) = match &residence {
            Residence::Undeclared => (table.state_store(STATE_FOLDER).await?, &[]),
            Residence::AtHome(home) | Residence::Moved(home) => {
                (table.state_store(&home.state).await?, &home.parents)
            }
            Residence::Copy { home, .. } => {
                let copied = table.state_store(&home.state).await?;
                if copied.is_empty().await? {
                    records = Records::AtHome;
                    left_at = Some(left_at_version(table).await?);
                    let state = table.state_store_at(&home.at, &home.state).await?;
                    (state, &home.parents)
                } else {
                    (copied, &home.parents)
                }
            }
        };
        // Relative parents lie beside the state store that is used.
        let base = match (&residence, records) {
            (Residence::Copy { home, .. }, Records::AtHome) => &home.at,
            _ => &here,
        };
        let mut opened = vec![];
        for Parent { at, state } in parents {
            let at = at.as_ref().unwrap_or(base);
            opened.push(table.state_store_at(at, state).await?);
        }
        Ok(Self {
            parents: opened,
            residence,
            here,
            state,
            left_at,
            records,
        })
    }

    /// State that is of the table, not of a column.
    pub(crate) fn folder(&self, name: &str) -> ObjectStateStore {
        self.state.folder(name)
    }

    /// Packed functions: written to this table's own store, read from its parents' too.
    pub(crate) fn artifacts(&self) -> Artifacts {
        let own: Arc<dyn StateStore> = match &self.residence {
            Residence::Copy { .. } => Arc::new(Scratch::over(self.state.clone())),
            Residence::Undeclared | Residence::AtHome(_) | Residence::Moved(_) => {
                Arc::new(self.state.clone())
            }
        };
        let parents = self.parents.iter().cloned();
        let parents = parents.map(|parent| Arc::new(parent) as Arc<dyn StateStore>);
        Artifacts::new(std::iter::once(own).chain(parents).collect())
    }

    /// The state of a column as this table may use it.
    pub(crate) fn column(&self, binding: &BindingId) -> ColumnStore {
        let state = self.state.folder(binding.as_str());
        let state: Arc<dyn StateStore> = match &self.residence {
            Residence::Copy { .. } => Arc::new(Scratch::over(state)),
            Residence::Undeclared | Residence::AtHome(_) | Residence::Moved(_) => Arc::new(state),
        };
        let parents = self
            .parents
            .iter()
            .map(|parent| Arc::new(parent.folder(binding.as_str())) as Arc<dyn StateStore>)
            .collect();
        let store = ColumnStore::new(state).with_parents(parents);
        match self.left_at {
            Some(seen) => store.seen_at_most(seen),
            None => store,
        }
    }
}

/// The home that a table's metadata name.
pub(crate) fn home_of(table: &TableView) -> Result<Option<Home>> {
    let json = table.metadata.get(HOME_KEY);
    json.map(String::as_str).map(read_home).transpose()
}

fn read_home(json: &str) -> Result<Home> {
    decode(json.as_bytes())
        .map_err(|error| Error::from(error).with_source(format!("table metadata '{HOME_KEY}'")))
}

/// The first version of a clone or branch; what its original did later is none of its history.
async fn left_at_version(table: &LanceTable) -> Result<Seen> {
    let oldest = table.oldest_version().await?;
    let version = table.at(oldest).await?;
    let last = version.and_then(|version| Some(version.view().fragments.last()?.id));
    Ok(Seen {
        table_version: oldest,
        max_fragment: last,
    })
}

/// A table's home as its metadata have it.
pub(crate) fn home_json(home: &Home) -> Result<String> {
    String::from_utf8(encode(home)?)
        .map_err(|error| Error::internal("a home is not text").with_source(error))
}

pub(crate) fn new_home_id() -> Result<HomeId> {
    let token: String = uuid::Uuid::new_v4()
        .simple()
        .to_string()
        .chars()
        .take(12)
        .collect();
    token
        .parse()
        .map_err(|error| Error::internal("a fresh id is not one").with_source(error))
}

impl Engine {
    /// What this table is, seen from its home.
    pub fn residence(&self) -> &Residence {
        &self.household.residence
    }

    /// The home of the table that this is a copy of, if nothing is computed in it for that reason.
    pub fn copy_of(&self) -> Option<&Home> {
        match &self.household.residence {
            Residence::Copy { home, .. } => Some(home),
            _ => None,
        }
    }

    /// A line for a person if this is a copy that nothing is computed in.
    pub fn copy_note(&self) -> Option<String> {
        let Residence::Copy { home, doubt } = &self.household.residence else {
            return None;
        };
        let doubt = match doubt {
            Some(reason) => format!(", as far as can be told ({reason})"),
            None => String::new(),
        };
        Some(format!(
            "{} is a copy of {}{doubt}: nothing is computed in it until 'lance-backfill claim' makes it a table of its own",
            self.household.here, home.at
        ))
    }

    /// Refuses to work in a copy, and follows a table that was moved; returns a line about a move.
    pub async fn settle(&self) -> Result<Option<String>> {
        if let Some(note) = self.copy_note() {
            return Err(Error::invalid(note));
        }
        let Residence::Moved(home) = &self.household.residence else {
            return Ok(None);
        };
        let now = home.moved(self.household.here.clone());
        let told = self
            .followed
            .get_or_try_init(|| self.write_home(Some(home), &now))
            .await?;
        Ok(told.then(|| format!("the table was moved here from {}", home.at)))
    }

    /// Writes a home over the one that was read; false if another process wrote the same meanwhile.
    pub(crate) async fn write_home(&self, before: Option<&Home>, now: &Home) -> Result<bool> {
        let key = HOME_KEY.to_owned();
        let expected = before.map(home_json).transpose()?;
        let edit = Edit::TableMetadata {
            entries: BTreeMap::from([(key.clone(), Some(home_json(now)?))]),
            expected: BTreeMap::from([(key, expected)]),
        };
        match self.table.edit(&edit).await? {
            EditOutcome::Done { .. } => Ok(true),
            EditOutcome::Conflict { reason } => {
                let found = home_of(self.latest().await?.view())?;
                if found.as_ref() == Some(now) {
                    return Ok(false);
                }
                Err(Error::new(
                    ErrorKind::Unavailable,
                    format!("{reason}: another process gave the table a home, try again"),
                ))
            }
        }
    }
}
