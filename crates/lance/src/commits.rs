//! Lance's commit handler, which need not ask the store for what was just asked or told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use lance_backfill_core::table::SeenVersion;
use lance_core::Result;
use lance_io::object_store::ObjectStore;
use lance_table::format::{IndexMetadata, Manifest, Transaction};
use lance_table::io::commit::{
    CommitError, CommitHandler, ManifestLocation, ManifestNamingScheme, ManifestWriter,
    PredecessorIdentity,
};
use object_store::path::Path;

/// A version counts as the newest for so long after a listing said so. Twice as much saves nothing,
/// since a commit follows its listing in a fraction of it; much less makes slow commits list twice.
const NEWEST_FOR: Duration = Duration::from_secs(5);

/// The handler of a table's store, and what this process knows without asking it.
///
/// All that it passes over is asked again where the answer turns out to be wrong: a manifest that is
/// not where somebody saw it is not found, and a commit after the newest version is refused if there
/// is a newer one. Lance's methods that have defaults are passed on too: a new one must be added here.
#[derive(Debug)]
pub(crate) struct Commits {
    store: Arc<dyn CommitHandler>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Manifests of which somebody told, while they are opened.
    told: BTreeMap<u64, SeenVersion>,
    /// Newest version of the last listing, where it lists, and when that began.
    newest: Option<(Path, u64, Instant)>,
    /// A commit on this version is about to be made.
    committing: Option<u64>,
}

impl Commits {
    pub(crate) fn over(store: Arc<dyn CommitHandler>) -> Self {
        Self {
            store,
            known: Mutex::default(),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As long as this is told, opening the version takes its manifest from where it was seen.
    pub(crate) fn tell(&self, seen: &SeenVersion) -> Telling<'_> {
        self.known().told.insert(seen.version, seen.clone());
        Telling {
            commits: self,
            version: seen.version,
        }
    }

    /// The next commit on this version need not look for newer ones if a listing just found none.
    ///
    /// SUBTLE: that leaves more time between Lance's look for newer versions and its conditional write
    /// of the next manifest. A version that came meanwhile makes the write fail, and Lance then looks
    /// for it and starts over. Only if that version was cleaned up within [`NEWEST_FOR`], under a newer
    /// one, the write would succeed and be seen by nobody, as it can without this; the work would be
    /// found unpublished and be published again.
    pub(crate) fn commit_is_next(&self, version: u64) {
        self.known().committing = Some(version);
    }

    /// Whether nothing newer was there a moment ago; says so once.
    fn is_newest(&self, base: &Path, version: u64) -> bool {
        let mut known = self.known();
        if known.committing.take() != Some(version) {
            return false;
        }
        let newest = known.newest.take();
        newest.is_some_and(|(at, newest, when)| {
            at == *base && newest == version && when.elapsed() < NEWEST_FOR
        })
    }
}

/// What is told of a version, until it is dropped.
pub(crate) struct Telling<'a> {
    commits: &'a Commits,
    version: u64,
}

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        self.commits.known().told.remove(&self.version);
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long ago the store was asked is no decision about rows"
)]
fn now() -> Instant {
    Instant::now()
}

#[async_trait]
impl CommitHandler for Commits {
    fn is_version_not_found_definitive(&self) -> bool {
        self.store.is_version_not_found_definitive()
    }

    fn propagate_commit_error_after_success(&self) -> bool {
        self.store.propagate_commit_error_after_success()
    }

    async fn resolve_latest_location(
        &self,
        base_path: &Path,
        object_store: &ObjectStore,
    ) -> Result<ManifestLocation> {
        let began = now();
        let found = (self.store)
            .resolve_latest_location(base_path, object_store)
            .await?;
        self.known().newest = Some((base_path.clone(), found.version, began));
        Ok(found)
    }

    async fn resolve_version_location(
        &self,
        base_path: &Path,
        version: u64,
        object_store: &dyn object_store::ObjectStore,
    ) -> Result<ManifestLocation> {
        let told = self.known().told.get(&version).cloned();
        if let Some(SeenVersion {
            version,
            size_bytes,
            tag,
        }) = told
        {
            let naming_scheme = ManifestNamingScheme::V2;
            return Ok(ManifestLocation {
                version,
                path: naming_scheme.manifest_path(base_path, version),
                size: Some(size_bytes),
                naming_scheme,
                e_tag: tag,
                identity: None,
            });
        }
        (self.store)
            .resolve_version_location(base_path, version, object_store)
            .await
    }

    async fn version_exists(
        &self,
        base_path: &Path,
        version: u64,
        object_store: &dyn object_store::ObjectStore,
        naming_scheme: ManifestNamingScheme,
    ) -> Result<bool> {
        (self.store)
            .version_exists(base_path, version, object_store, naming_scheme)
            .await
    }

    fn list_detached_manifest_locations<'a>(
        &self,
        base_path: &Path,
        object_store: &'a ObjectStore,
    ) -> BoxStream<'a, Result<ManifestLocation>> {
        (self.store).list_detached_manifest_locations(base_path, object_store)
    }

    fn list_manifest_locations<'a>(
        &self,
        base_path: &Path,
        object_store: &'a ObjectStore,
        sorted_descending: bool,
    ) -> BoxStream<'a, Result<ManifestLocation>> {
        (self.store).list_manifest_locations(base_path, object_store, sorted_descending)
    }

    fn list_manifest_locations_since<'a>(
        &self,
        base_path: &Path,
        object_store: &'a ObjectStore,
        since_version: u64,
    ) -> BoxStream<'a, Result<ManifestLocation>> {
        if self.is_newest(base_path, since_version) {
            return stream::empty().boxed();
        }
        (self.store).list_manifest_locations_since(base_path, object_store, since_version)
    }

    async fn commit(
        &self,
        manifest: &mut Manifest,
        indices: Option<Vec<IndexMetadata>>,
        base_path: &Path,
        object_store: &ObjectStore,
        manifest_writer: ManifestWriter,
        naming_scheme: ManifestNamingScheme,
        transaction: Option<Transaction>,
    ) -> std::result::Result<ManifestLocation, CommitError> {
        (self.store)
            .commit(
                manifest,
                indices,
                base_path,
                object_store,
                manifest_writer,
                naming_scheme,
                transaction,
            )
            .await
    }

    fn supports_predecessor_condition(&self) -> bool {
        self.store.supports_predecessor_condition()
    }

    async fn resolve_latest_identity(
        &self,
        base_path: &Path,
        object_store: &ObjectStore,
    ) -> Result<Option<PredecessorIdentity>> {
        (self.store)
            .resolve_latest_identity(base_path, object_store)
            .await
    }

    async fn resolve_identity(
        &self,
        base_path: &Path,
        object_store: &ObjectStore,
        version: u64,
    ) -> Result<Option<PredecessorIdentity>> {
        (self.store)
            .resolve_identity(base_path, object_store, version)
            .await
    }

    async fn commit_after(
        &self,
        manifest: &mut Manifest,
        indices: Option<Vec<IndexMetadata>>,
        base_path: &Path,
        object_store: &ObjectStore,
        manifest_writer: ManifestWriter,
        naming_scheme: ManifestNamingScheme,
        transaction: Option<Transaction>,
        predecessor: &PredecessorIdentity,
    ) -> std::result::Result<ManifestLocation, CommitError> {
        (self.store)
            .commit_after(
                manifest,
                indices,
                base_path,
                object_store,
                manifest_writer,
                naming_scheme,
                transaction,
                predecessor,
            )
            .await
    }

    async fn forget_version(&self, base_path: &Path, version: u64, identity: &str) -> Result<()> {
        (self.store)
            .forget_version(base_path, version, identity)
            .await
    }

    async fn delete(&self, base_path: &Path) -> Result<()> {
        self.store.delete(base_path).await
    }
}
