//! Finding tables below a place of an object store.

use std::sync::Arc;

use lance_backfill_ports::Result;
use lance_io::object_store::{
    ObjectStore, ObjectStoreParams, ObjectStoreRegistry, StorageOptionsAccessor,
};
use object_store::path::Path;

use crate::error::from_lance;
use crate::table::OpenOptions;

/// A place that is a table or holds tables.
pub struct Places {
    uri: String,
    store: Arc<ObjectStore>,
    root: Path,
}

impl Places {
    /// Reaches a place; whether something is there shows when it is asked.
    pub async fn reach(uri: &str, options: &OpenOptions) -> Result<Self> {
        let accessor = StorageOptionsAccessor::with_static_options(options.storage_options.clone());
        let params = ObjectStoreParams {
            storage_options_accessor: Some(Arc::new(accessor)),
            ..ObjectStoreParams::default()
        };
        let registry = Arc::new(ObjectStoreRegistry::default());
        let (store, root) = ObjectStore::from_uri_and_params(registry, uri, &params)
            .await
            .map_err(|error| from_lance(error, &format!("cannot reach '{uri}'")))?;
        Ok(Self {
            uri: uri.trim_end_matches('/').to_owned(),
            store,
            root,
        })
    }

    /// URIs of the table at the place, or of the tables directly below it, sorted.
    pub async fn tables(&self) -> Result<Vec<String>> {
        let names = self.list(&self.root).await?;
        if names.iter().any(|name| name == VERSIONS) && self.is_table(&self.root).await? {
            return Ok(vec![self.uri.clone()]);
        }
        let mut tables = vec![];
        for name in names.iter().filter(|name| !name.starts_with(['.', '_'])) {
            if self
                .is_table(&self.root.clone().join(name.as_str()))
                .await?
            {
                tables.push(format!("{}/{name}", self.uri));
            }
        }
        tables.sort_unstable();
        Ok(tables)
    }

    async fn is_table(&self, folder: &Path) -> Result<bool> {
        let versions = self.list(&folder.clone().join(VERSIONS)).await?;
        Ok(versions.iter().any(|name| name.ends_with(MANIFEST)))
    }

    async fn list(&self, folder: &Path) -> Result<Vec<String>> {
        self.store
            .read_dir(folder.clone())
            .await
            .map_err(|error| from_lance(error, &format!("cannot list '{folder}'")))
    }
}

const VERSIONS: &str = "_versions";
const MANIFEST: &str = ".manifest";

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tables_are_found_at_a_place_or_directly_below_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        for manifest in ["a.lance/_versions/1.manifest", "b/_versions/2.manifest"] {
            let path = root.join(manifest);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            std::fs::write(path, b"").expect("a file");
        }
        std::fs::create_dir_all(root.join("empty/_versions")).expect("a folder");
        std::fs::create_dir_all(root.join("deeper/c/_versions")).expect("a folder");
        std::fs::write(root.join("deeper/c/_versions/1.manifest"), b"").expect("a file");
        let uri = root.display().to_string();
        let found = async |uri: String| {
            let places = Places::reach(&uri, &OpenOptions::default()).await;
            places.expect("reaches").tables().await.expect("lists")
        };
        assert_eq!(
            found(format!("{uri}/")).await,
            [format!("{uri}/a.lance"), format!("{uri}/b")]
        );
        assert_eq!(found(format!("{uri}/b")).await, [format!("{uri}/b")]);
        assert!(found(format!("{uri}/nothing")).await.is_empty());
    }
}
