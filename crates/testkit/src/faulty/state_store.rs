//! A state store that fails as planned.

use async_trait::async_trait;
use bytes::Bytes;
use lance_backfill_ports::Result;
use lance_backfill_ports::state_store::{Created, Listed, StateStore};

use super::Faulty;

#[async_trait]
impl<S: StateStore> StateStore for Faulty<S> {
    async fn create(&self, path: &str, bytes: Bytes) -> Result<Created> {
        let call = self.inner.create(path, bytes);
        self.faults.call("create", call).await
    }

    async fn get(&self, path: &str) -> Result<Option<Bytes>> {
        self.faults.call("get", self.inner.get(path)).await
    }

    async fn list(&self, folder: &str) -> Result<Vec<Listed>> {
        self.faults.call("list", self.inner.list(folder)).await
    }

    async fn delete(&self, path: &str) -> Result<()> {
        self.faults.call("delete", self.inner.delete(path)).await
    }
}
