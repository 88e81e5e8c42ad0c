//! What all handles of a table in memory share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow_array::ArrayRef;
use lance_backfill_core::ids::FieldId;
use lance_backfill_core::rows::RowSet;
use lance_backfill_core::table::{DeletionView, FileView};
use lance_backfill_ports::{Error, Result};

use super::manifest::Manifest;
use crate::random::Random;

/// Versions and files.
#[derive(Debug)]
pub(super) struct Disk {
    pub(super) manifests: BTreeMap<u64, Arc<Manifest>>,
    pub(super) files: BTreeMap<String, Arc<Vec<ArrayRef>>>,
    random: Random,
}

/// Versions and files, one user at a time.
#[derive(Debug, Clone)]
pub(super) struct SharedDisk(Arc<Mutex<Disk>>);

impl SharedDisk {
    pub(super) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Disk {
            manifests: BTreeMap::new(),
            files: BTreeMap::new(),
            random: Random::new(seed),
        })))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk {
    /// The newest version.
    pub(super) fn newest(&self) -> Result<Arc<Manifest>> {
        self.manifests
            .last_key_value()
            .map(|(_, manifest)| manifest.clone())
            .ok_or_else(|| Error::internal("a table in memory has no version"))
    }

    /// Adds a version; returns its number.
    pub(super) fn commit(&mut self, manifest: Manifest) -> u64 {
        let version = manifest.view.version;
        self.manifests.insert(version, Arc::new(manifest));
        version
    }

    /// Writes a file that no version names yet.
    pub(super) fn write(&mut self, fields: &[FieldId], columns: Vec<ArrayRef>) -> FileView {
        let name = format!("{}{}.lance", self.random.token(), self.random.token());
        self.files.insert(name.clone(), Arc::new(columns));
        FileView {
            name,
            fields: fields.into(),
            columns: (0..).take(fields.len()).collect(),
            size_bytes: None,
        }
    }

    /// Sets the deletion vector of a fragment that keeps some rows.
    pub(super) fn set_deleted(
        &mut self,
        manifest: &mut Manifest,
        fragment: u64,
        deleted: RowSet,
    ) -> Result<()> {
        let token = format!(
            "{}-{}",
            manifest.view.version.saturating_sub(1),
            self.random.next_u64()
        );
        manifest.fragment_mut(fragment)?.deletion = Some(DeletionView {
            token,
            rows: u32::try_from(deleted.len()).unwrap_or(u32::MAX),
        });
        manifest.deleted.insert(fragment, deleted);
        Ok(())
    }

    /// Removes all versions but the newest, and the files that only they named.
    ///
    /// Files that no version ever named stay: they may be staged.
    pub(super) fn clean_up(&mut self) -> Result<()> {
        let newest = self.newest()?;
        let kept: BTreeSet<&str> = newest.file_names().collect();
        let gone: Vec<String> = self
            .manifests
            .values()
            .flat_map(|manifest| manifest.file_names())
            .filter(|name| !kept.contains(name))
            .map(str::to_owned)
            .collect();
        for name in gone {
            self.files.remove(&name);
        }
        self.manifests
            .retain(|version, _| *version == newest.view.version);
        Ok(())
    }
}
