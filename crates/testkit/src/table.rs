//! A table in memory that behaves like Lance's, and the other programs that write to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use lance_backfill_core::history::{Change, ChangeKind};
use lance_backfill_core::ids::FragmentId;
use lance_backfill_core::rows::RowSet;
use lance_backfill_ports::Result;
use lance_backfill_ports::table::{Edit, EditOutcome, Table, TableVersion};

mod disk;
mod edit;
mod foreign;
mod manifest;
mod publish;
mod version;

use disk::SharedDisk;
use version::MemVersion;

/// Rows by fragment and physical offset.
pub type Selection = BTreeMap<FragmentId, RowSet>;

/// A table in memory; clones are handles of the same table.
#[derive(Debug, Clone)]
pub struct MemTable {
    uri: String,
    disk: SharedDisk,
}

#[async_trait]
impl Table for MemTable {
    fn uri(&self) -> &str {
        &self.uri
    }

    async fn latest(&self) -> Result<Arc<dyn TableVersion>> {
        let newest = self.disk.lock().newest()?;
        Ok(Arc::new(MemVersion::new(newest, self.disk.clone())))
    }

    async fn at(&self, version: u64) -> Result<Option<Arc<dyn TableVersion>>> {
        let manifest = self.disk.lock().manifests.get(&version).cloned();
        Ok(manifest.map(|manifest| {
            let version: Arc<dyn TableVersion> =
                Arc::new(MemVersion::new(manifest, self.disk.clone()));
            version
        }))
    }

    async fn changes(&self, after: u64, upto: u64) -> Result<Vec<Change>> {
        let disk = self.disk.lock();
        Ok((after + 1..=upto)
            .map(|version| Change {
                version,
                kind: disk
                    .manifests
                    .get(&version)
                    .map_or(ChangeKind::Lost, |manifest| manifest.operation.change()),
            })
            .collect())
    }

    async fn edit(&self, edit: &Edit) -> Result<EditOutcome> {
        edit::apply(&mut self.disk.lock(), edit)
    }
}
