//! Durable objects that are created once and never changed.

use async_trait::async_trait;
use bytes::Bytes;

use crate::Result;

/// Where ledger, checkpoint manifests, values, coverage records and snapshots live.
///
/// Paths are relative, with `/` between parts. Nothing is ever overwritten.
#[async_trait]
pub trait StateStore: Send + Sync {
    /// Creates an object if there is none of this path; durable when it returns.
    async fn create(&self, path: &str, bytes: Bytes) -> Result<Created>;

    /// The whole object, or `None` if there is none.
    async fn get(&self, path: &str) -> Result<Option<Bytes>>;

    /// Objects under a folder, at any depth, by path.
    async fn list(&self, folder: &str) -> Result<Vec<Listed>>;

    /// Objects under two folders, by path; what lies between them by name may be listed too.
    ///
    /// One request where the store can: folders that are read together are neighbours by name.
    async fn list_two(&self, first: &str, second: &str) -> Result<Vec<Listed>> {
        let mut listed = self.list(first).await?;
        listed.extend(self.list(second).await?);
        Ok(listed)
    }

    /// Deletes an object; one that is not there is no error.
    async fn delete(&self, path: &str) -> Result<()>;
}

/// Whether an object was created by this call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Created {
    /// By this call.
    New,
    /// There was one: ours after a lost answer, or another's. Read it to know.
    AlreadyThere,
}

/// An object in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Path as given to `create`.
    pub path: String,
    /// Size.
    pub size_bytes: u64,
    /// When it was created, by the store's clock, in milliseconds since the epoch.
    pub created_ms: u64,
}
