//! A state store whose additions stay in this process: what is learned about a copy of a table that
//! nobody claimed is used and forgotten, and the original's store is not written to.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use lance_backfill_ports::Result;
use lance_backfill_ports::state_store::{Created, Listed, StateStore};

/// Objects in memory over a store that is only read.
pub(crate) struct Scratch<S> {
    below: S,
    /// Bytes by path; none where the object below counts as deleted.
    above: Mutex<BTreeMap<String, Option<Bytes>>>,
}

impl<S> Scratch<S> {
    pub(crate) fn over(below: S) -> Self {
        Self {
            below,
            above: Mutex::default(),
        }
    }

    fn above(&self) -> MutexGuard<'_, BTreeMap<String, Option<Bytes>>> {
        self.above.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl<S: StateStore> StateStore for Scratch<S> {
    async fn create(&self, path: &str, bytes: Bytes) -> Result<Created> {
        if self.get(path).await?.is_some() {
            return Ok(Created::AlreadyThere);
        }
        let mut above = self.above();
        // Another task of this process may have been faster.
        if matches!(above.get(path), Some(Some(_))) {
            return Ok(Created::AlreadyThere);
        }
        above.insert(path.to_owned(), Some(bytes));
        Ok(Created::New)
    }

    async fn get(&self, path: &str) -> Result<Option<Bytes>> {
        let known = self.above().get(path).cloned();
        match known {
            Some(known) => Ok(known),
            None => self.below.get(path).await,
        }
    }

    async fn list(&self, folder: &str) -> Result<Vec<Listed>> {
        let mut found: BTreeMap<String, Listed> = self
            .below
            .list(folder)
            .await?
            .into_iter()
            .map(|object| (object.path.clone(), object))
            .collect();
        let prefix = match folder {
            "" => String::new(),
            folder => format!("{folder}/"),
        };
        for (path, bytes) in self.above().iter() {
            match bytes {
                None => {
                    found.remove(path);
                }
                Some(bytes) if path.starts_with(&prefix) => {
                    let listed = Listed {
                        path: path.clone(),
                        size_bytes: bytes.len() as u64,
                        created_ms: 0,
                    };
                    found.insert(path.clone(), listed);
                }
                Some(_) => {}
            }
        }
        Ok(found.into_values().collect())
    }

    async fn delete(&self, path: &str) -> Result<()> {
        self.above().insert(path.to_owned(), None);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use lance_backfill_testkit::{MemStateStore, conformance};

    use super::*;

    #[tokio::test]
    async fn scratch_does_what_state_stores_do() {
        let below = MemStateStore::default();
        let scratch = Scratch::over(below.clone());
        conformance::state_store(&scratch).await.expect("conforms");
        assert_eq!(below.list("").await.expect("lists"), []);
    }

    #[tokio::test]
    async fn what_is_below_is_seen_and_never_changed() {
        let below = MemStateStore::default();
        for path in ["f/1", "f/2"] {
            let created = below.create(path, Bytes::from_static(b"old")).await;
            assert_eq!(created.expect("creates"), Created::New);
        }
        let before = below.list("").await.expect("lists");
        let scratch = Scratch::over(below.clone());
        let taken = scratch.create("f/1", Bytes::from_static(b"new")).await;
        assert_eq!(taken.expect("answers"), Created::AlreadyThere);
        scratch.delete("f/2").await.expect("deletes");
        assert_eq!(scratch.get("f/2").await.expect("reads"), None);
        let created = scratch.create("f/3", Bytes::new()).await;
        assert_eq!(created.expect("creates"), Created::New);
        let listed = scratch.list("f").await.expect("lists");
        let paths: Vec<&str> = listed.iter().map(|object| object.path.as_str()).collect();
        assert_eq!(paths, ["f/1", "f/3"]);
        assert_eq!(below.list("").await.expect("lists"), before);
    }
}
