//! A state store on the object store that holds the table.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use lance::Dataset;
use lance_backfill_ports::Result;
use lance_backfill_ports::state_store::{Created, Listed, StateStore};
use lance_io::object_store::{ObjectStore as LanceStore, ObjectStoreRegistry};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

use crate::error::{from_lance, from_object_store};
use crate::table::OpenOptions;
use crate::write::store_params;

mod create;
#[cfg(test)]
mod tests;

use create::MOST_ATTEMPTS;

/// Objects under one prefix of an object store, created with put-if-absent.
///
/// Its folder lies beside `data/` and `_versions/`; Lance's cleanup does not look into it.
#[derive(Clone)]
pub struct ObjectStateStore {
    store: Arc<dyn ObjectStore>,
    root: Path,
    is_local: bool,
}

impl ObjectStateStore {
    /// The store in a folder beside a table's data.
    pub(crate) async fn beside(dataset: &Dataset, folder: &str) -> Result<Self> {
        let doing = "cannot reach the state store beside the table";
        let store = dataset
            .object_store(None)
            .await
            .map_err(|error| from_lance(error, doing))?;
        Ok(Self::on(&store, dataset.branch_location().path, folder))
    }

    /// The store in a folder below the root of a table.
    pub(crate) fn on(lance_store: &LanceStore, table: Path, folder: &str) -> Self {
        let root = folder.split('/').fold(table, |path, part| path.join(part));
        // Lance's own local store does not sync files; a ledger that a power cut forgets is none.
        let store: Arc<dyn ObjectStore> = match lance_store.is_local() {
            true => Arc::new(LocalFileSystem::new().with_fsync(true)),
            false => lance_store.inner.clone(),
        };
        let is_local = lance_store.is_local();
        Self {
            store,
            root,
            is_local,
        }
    }

    /// The store under a URI that need not be near any table.
    pub async fn open(uri: &str, options: &OpenOptions) -> Result<Self> {
        let registry = Arc::new(ObjectStoreRegistry::default());
        let params = store_params(options);
        let (store, root) = LanceStore::from_uri_and_params(registry, uri, &params)
            .await
            .map_err(|error| from_lance(error, &format!("cannot reach '{uri}'")))?;
        Ok(Self {
            store: store.inner.clone(),
            root,
            is_local: store.is_local(),
        })
    }

    /// Whether there is anything in it.
    pub async fn is_empty(&self) -> Result<bool> {
        match self.store.list(Some(&self.root)).try_next().await {
            Ok(found) => Ok(found.is_none()),
            Err(object_store::Error::NotFound { .. }) => Ok(true),
            Err(error) => Err(from_object_store(error, "cannot list the state store")),
        }
    }

    /// The part of this store under a folder.
    #[must_use]
    pub fn folder(&self, name: &str) -> Self {
        Self {
            store: self.store.clone(),
            root: self.root.clone().join(name),
            is_local: self.is_local,
        }
    }

    /// What a listing finds, by path as it is given to `create`.
    async fn listed(
        &self,
        objects: BoxStream<'_, object_store::Result<ObjectMeta>>,
        folder: &str,
    ) -> Result<Vec<Listed>> {
        let skip = self.root.as_ref().len() + 1;
        let mut found: Vec<Listed> = objects
            .map_ok(|object| Listed {
                path: object
                    .location
                    .as_ref()
                    .get(skip..)
                    .unwrap_or_default()
                    .to_owned(),
                size_bytes: object.size,
                created_ms: u64::try_from(object.last_modified.timestamp_millis()).unwrap_or(0),
            })
            .try_collect()
            .await
            .map_err(|error| {
                from_object_store(error, &format!("cannot list '{folder}' of the state store"))
            })?;
        found.sort_unstable_by(|left, right| left.path.cmp(&right.path));
        Ok(found)
    }

    fn path(&self, path: &str) -> Path {
        path.split('/')
            .fold(self.root.clone(), |parent, part| parent.join(part))
    }
}

#[async_trait]
impl StateStore for ObjectStateStore {
    async fn create(&self, path: &str, bytes: Bytes) -> Result<Created> {
        // No answer of this machine's disk is lost.
        let attempts = if self.is_local { 1 } else { MOST_ATTEMPTS };
        create::create(self.store.as_ref(), &self.path(path), bytes, attempts)
            .await
            .map_err(|error| {
                from_object_store(error, &format!("cannot write '{path}' to the state store"))
            })
    }

    async fn get(&self, path: &str) -> Result<Option<Bytes>> {
        let doing = || format!("cannot read '{path}' from the state store");
        match self.store.get(&self.path(path)).await {
            Ok(found) => found
                .bytes()
                .await
                .map(Some)
                .map_err(|error| from_object_store(error, &doing())),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(from_object_store(error, &doing())),
        }
    }

    async fn list(&self, folder: &str) -> Result<Vec<Listed>> {
        let prefix = if folder.is_empty() {
            self.root.clone()
        } else {
            self.path(folder)
        };
        self.listed(self.store.list(Some(&prefix)), folder).await
    }

    async fn list_two(&self, first: &str, second: &str) -> Result<Vec<Listed>> {
        if self.is_local {
            // Each folder by itself: a file system has no order that would help.
            let mut listed = self.list(first).await?;
            listed.extend(self.list(second).await?);
            return Ok(listed);
        }
        let last = format!("{}/", self.path(second));
        let objects = self
            .store
            .list_with_offset(Some(&self.root), &self.path(first))
            .try_take_while(|object| {
                let path = object.location.as_ref();
                let within = path < last.as_str() || path.starts_with(&last);
                std::future::ready(Ok(within))
            });
        self.listed(objects.boxed(), first).await
    }

    async fn delete(&self, path: &str) -> Result<()> {
        match self.store.delete(&self.path(path)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(from_object_store(
                error,
                &format!("cannot delete '{path}' from the state store"),
            )),
        }
    }
}

impl std::fmt::Debug for ObjectStateStore {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "ObjectStateStore({})", self.root)
    }
}
