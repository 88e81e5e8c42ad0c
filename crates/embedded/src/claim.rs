//! Claiming a copy: it becomes a table of its own, with a home and a ledger of its own.

use std::sync::Arc;

use lance_backfill_core::definition::home::{Home, Residence};
use lance_backfill_core::format::Stored;
use lance_backfill_core::ledger::{EntryBody, LedgerEntry};
use lance_backfill_core::snapshot::{CoverageSnapshot, Head};
use lance_backfill_ports::state_store::{Created, StateStore};
use lance_backfill_ports::table::TableVersion;
use lance_backfill_ports::{Error, ErrorKind, Result};
use lance_backfill_stages::column::Column;
use lance_backfill_stages::column_store::{ColumnStore, LoadedSnapshot};
use lance_backfill_stages::survey::Survey;

use crate::catalog::Catalog;
use crate::engine::Engine;
use crate::home::new_home_id;

/// What claiming did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// The table was at home already.
    AtHome(Home),
    /// The table was moved; its home moved along.
    Moved {
        /// The home before.
        from: Home,
        /// The home now.
        home: Home,
    },
    /// The copy is a table of its own now.
    Copy {
        /// The home of the original.
        of: Home,
        /// Its own.
        home: Home,
    },
}

impl Engine {
    /// Makes this place the home of the table; values that were copied stay as they are.
    pub async fn claim(&self) -> Result<Claimed> {
        let here = self.household.here.clone();
        match self.residence() {
            Residence::Undeclared => Err(Error::invalid(format!(
                "{here} has no computed columns, so there is nothing to claim: declare one with 'column add'"
            ))),
            Residence::AtHome(home) => Ok(Claimed::AtHome(home.clone())),
            Residence::Moved(from) => {
                let home = from.moved(here);
                self.write_home(Some(from), &home).await?;
                Ok(Claimed::Moved {
                    from: from.clone(),
                    home,
                })
            }
            Residence::Copy { home: of, .. } => {
                let home = of.claimed(new_home_id()?, here, self.household.records);
                self.take_over_knowledge(&home).await?;
                // Last: until here nothing but unused state was written.
                if !self.write_home(Some(of), &home).await? {
                    return Err(Error::new(
                        ErrorKind::Unavailable,
                        "another process claimed the copy meanwhile: try again",
                    ));
                }
                Ok(Claimed::Copy {
                    of: of.clone(),
                    home,
                })
            }
        }
    }

    /// Writes what is known of the copied rows into the copy's own state store.
    ///
    /// Records of column files never change and are read through the original's store. Records of
    /// identities are succeeded by others there, which are none of the copy's business.
    async fn take_over_knowledge(&self, home: &Home) -> Result<()> {
        let version = self.latest().await?;
        let catalog = Catalog::read(version.view())?;
        let surveyed = self.survey(&version, &catalog, &|_| true).await?;
        let state = self.table.state_store(&home.state).await?;
        for (column, survey) in &surveyed {
            let own: Arc<dyn StateStore> = Arc::new(state.folder(column.bound.binding.as_str()));
            let own = ColumnStore::new(own);
            self.take_over(column, survey, version.as_ref(), &own)
                .await?;
        }
        Ok(())
    }

    async fn take_over(
        &self,
        column: &Column,
        survey: &Survey,
        version: &dyn TableVersion,
        own: &ColumnStore,
    ) -> Result<()> {
        let view = version.view();
        let keys: Vec<_> = view
            .fragments
            .iter()
            .map(|fragment| {
                let (identities, place) = column.identify(fragment);
                (fragment.id, identities, place)
            })
            .collect();
        for record in column.store.records(&keys).await?.into_values() {
            if record.file.is_none() {
                own.create_record(Arc::unwrap_or_clone(record)).await?;
            }
        }
        let mut snapshot = survey.snapshot.snapshot.clone();
        snapshot.apply(CoverageSnapshot {
            head: Head {
                table_version: view.version,
                max_fragment: survey.max_fragment,
                generation: Some(column.bound.generation.clone()),
                rate: snapshot.head.rate,
            },
            entries: survey.newly_settled.clone(),
        });
        snapshot
            .entries
            .retain(|fragment, _| view.fragment(*fragment).is_some());
        match own
            .extend_snapshot(&LoadedSnapshot::default(), snapshot)
            .await?
        {
            Created::New | Created::AlreadyThere => {}
        }
        let Some(last) = survey.ledger.last() else {
            return Ok(());
        };
        // Numbers in records go on from here: a later number counts before an earlier one.
        let start = LedgerEntry {
            version: LedgerEntry::VERSION,
            binding: column.bound.binding.clone(),
            seq: last.entry.seq.next(),
            token: self.world.token(),
            after: None,
            table_version: view.version,
            session: None,
            body: EntryBody::Resume {},
        };
        match own.create_entry(&start).await? {
            Created::New => Ok(()),
            Created::AlreadyThere => Err(Error::internal("a new state folder is not empty")),
        }
    }
}
