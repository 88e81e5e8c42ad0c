//! Where a table is, what is at other places, and the state stores beside them.

use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use lance::Dataset;
use lance_backfill_core::definition::HOME_KEY;
use lance_backfill_core::definition::home::{Home, OldHome, TablePlace};
use lance_backfill_core::format::decode;
use lance_backfill_ports::Result;
use lance_backfill_ports::table::Table;
use lance_io::local::to_local_path;
use lance_io::object_store::ObjectStore;

use crate::error::from_lance;
use crate::state_store::ObjectStateStore;
use crate::table::{LanceTable, OpenOptions, load};
use crate::write::store_params;

impl LanceTable {
    /// Where this table is: a canonical path, or the URI of its root, and its branch.
    pub async fn place(&self) -> Result<TablePlace> {
        let dataset = self.newest_known();
        let doing = "cannot tell where the table is";
        let store = dataset
            .object_store(None)
            .await
            .map_err(|error| from_lance(error, doing))?;
        let here = dataset.branch_location();
        let root = here.find_main().map_err(|error| from_lance(error, doing))?;
        let table = match store.is_local() {
            true => canonical(FilePath::new(&to_local_path(&root.path))),
            false => root.uri.trim_end_matches('/').to_owned(),
        };
        Ok(TablePlace {
            table,
            branch: here.branch,
        })
    }

    /// A value of the table metadata, as of the newest version seen; no I/O.
    pub fn metadata_seen(&self, key: &str) -> Option<String> {
        self.newest_known().metadata().get(key).cloned()
    }

    /// Whether some files of this table belong to the table at another place.
    pub fn reads_files_of(&self, other: &TablePlace) -> bool {
        let dataset = self.newest_known();
        let bases = dataset.manifest().base_paths.values();
        bases
            .filter(|base| base.is_dataset_root)
            .any(|base| same_root(&base.path, &other.table))
    }

    /// What is at the home that this table's metadata name.
    pub async fn look_at_home(&self, home: &Home) -> OldHome {
        if is_same_folder(self.uri(), &home.at.table) {
            return OldHome::SameFolder;
        }
        let options = OpenOptions {
            branch: home.at.branch.clone(),
            ..self.options().clone()
        };
        let found = match load(&home.at.table, &options).await {
            Ok((found, _)) => found,
            Err(lance::Error::DatasetNotFound { .. } | lance::Error::NotFound { .. }) => {
                return OldHome::Gone;
            }
            Err(error) => {
                return OldHome::Unreachable {
                    reason: from_lance(error, "it cannot be opened").one_line(),
                };
            }
        };
        match found.metadata().get(HOME_KEY) {
            Some(json) if is_id_of(json, home) => OldHome::SameTable,
            _ => OldHome::Gone,
        }
    }

    /// The state store in a folder beside this table.
    pub async fn state_store(&self, folder: &str) -> Result<ObjectStateStore> {
        ObjectStateStore::beside(&self.newest_known(), folder).await
    }

    /// The state store in a folder beside a table at another place, which need not be there.
    pub async fn state_store_at(
        &self,
        place: &TablePlace,
        folder: &str,
    ) -> Result<ObjectStateStore> {
        let doing = || format!("cannot reach the state store of {place}");
        let registry = self.newest_known().session().store_registry();
        let params = store_params(self.options());
        let (store, root) = ObjectStore::from_uri_and_params(registry, &place.table, &params)
            .await
            .map_err(|error| from_lance(error, &doing()))?;
        let root = match &place.branch {
            Some(branch) => branch
                .split('/')
                .fold(root.join("tree"), |path, part| path.join(part)),
            None => root,
        };
        Ok(ObjectStateStore::on(&store, root, folder))
    }

    /// The oldest version that is still there.
    pub async fn oldest_version(&self) -> Result<u64> {
        let dataset: Arc<Dataset> = self.newest_known();
        let versions = dataset
            .versions()
            .await
            .map_err(|error| from_lance(error, "cannot list the table's versions"))?;
        let oldest = versions.iter().map(|version| version.version).min();
        Ok(oldest.unwrap_or_else(|| dataset.version_id()))
    }
}

fn is_id_of(json: &str, home: &Home) -> bool {
    decode::<Home>(json.as_bytes()).is_ok_and(|found| found.id == home.id)
}

/// The path without links and detours; one that is not there stays as it is.
fn canonical(path: &FilePath) -> String {
    let found = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    found.to_string_lossy().into_owned()
}

fn local(uri: &str) -> Option<PathBuf> {
    let path = uri.strip_prefix("file://").unwrap_or(uri);
    (!path.contains("://")).then(|| PathBuf::from(path))
}

fn same_root(one: &str, other: &str) -> bool {
    match (local(one), local(other)) {
        (Some(one), Some(other)) => canonical(&one) == canonical(&other),
        (None, None) => one.trim_end_matches('/') == other.trim_end_matches('/'),
        _ => false,
    }
}

/// Whether two paths lead to one folder, as a folder that is mounted twice has.
fn is_same_folder(one: &str, other: &str) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let identity = |uri: &str| {
            let found = std::fs::metadata(local(uri)?).ok()?;
            Some((found.dev(), found.ino()))
        };
        identity(one).is_some_and(|one| identity(other) == Some(one))
    }
    #[cfg(not(unix))]
    {
        let _ = (one, other);
        false
    }
}
