//! A Lance table as a port.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow_schema::SchemaRef;
use async_trait::async_trait;
use lance::Dataset;
use lance::dataset::builder::DatasetBuilder;
use lance::dataset::rowids::load_row_id_sequence;
use lance::session::Session;
use lance_backfill_core::checkpoint::StagedColumnFile;
use lance_backfill_core::history::Change;
use lance_backfill_core::ids::FragmentId;
use lance_backfill_core::rows::RowSet;
use lance_backfill_core::table::{SeenVersion, TableView};
use lance_backfill_ports::table::{
    BatchStream, Edit, EditOutcome, PublishNote, PublishOutcome, Table, TableVersion,
};
use lance_backfill_ports::{Error, Result};
use lance_table::format::Fragment;
use lance_table::io::commit::{ManifestNamingScheme, commit_handler_from_url};
use object_store::ObjectStoreExt;

use crate::commits::Commits;
use crate::error::from_lance;
use crate::write::store_params;
use crate::{blob, changes, edit, read, stage, view};

/// Index cache: we never use indices.
const INDEX_CACHE_BYTES: usize = 16 << 20;
/// Metadata cache: manifests and file footers; about 80 bytes a fragment and 1 KiB an open file.
const METADATA_CACHE_BYTES: usize = 256 << 20;

/// How to reach tables.
#[derive(Debug, Clone, Default)]
pub struct OpenOptions {
    /// Options of the object store, such as credentials and endpoints.
    pub storage_options: HashMap<String, String>,
    /// Branch of the table; its main line without.
    pub branch: Option<String>,
}

/// A Lance table.
pub struct LanceTable {
    uri: String,
    options: OpenOptions,
    newest: Arc<Newest>,
}

/// The newest version that this process has seen, shared so that a commit saves the next reload.
pub(crate) struct Newest {
    known: Mutex<Known>,
    commits: Arc<Commits>,
}

/// A version, and how its manifest is told from another of the same name.
struct Known {
    version: Arc<LanceVersion>,
    /// Of a version that we committed where Lance's own record of it lacks the tag, as on a local disk:
    /// it would read the manifest again that it has just written.
    tag: Option<String>,
}

impl Newest {
    fn new(dataset: Dataset, commits: Arc<Commits>) -> Self {
        let known = Known {
            version: Arc::new(LanceVersion::new(dataset)),
            tag: None,
        };
        Self {
            known: Mutex::new(known),
            commits,
        }
    }

    /// The next commit on this version need not look for newer ones if a listing just found none.
    pub(crate) fn commit_is_next(&self, version: u64) {
        self.commits.commit_is_next(version);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self) -> Arc<LanceVersion> {
        self.known().version.clone()
    }

    /// Remembers a version, unless it is the one that is known.
    pub(crate) fn offer(&self, dataset: Dataset) -> Arc<LanceVersion> {
        let mut newest = self.known();
        let (now, then) = (
            dataset.manifest_location(),
            newest.version.dataset.manifest_location(),
        );
        let same_file = now.path == then.path && now.e_tag == then.e_tag;
        if dataset.version_id() != newest.version.dataset.version_id() || !same_file {
            *newest = Known {
                version: Arc::new(LanceVersion::new(dataset)),
                tag: None,
            };
        }
        newest.version.clone()
    }

    /// Remembers a version that somebody told of, if it is newer than the one that is known.
    fn offer_newer(&self, dataset: Dataset) -> Arc<LanceVersion> {
        let version = Arc::new(LanceVersion::new(dataset));
        let mut newest = self.known();
        if version.dataset.version_id() > newest.version.dataset.version_id() {
            *newest = Known {
                version: version.clone(),
                tag: None,
            };
        }
        version
    }

    /// Remembers a version that this process has just committed.
    pub(crate) async fn offer_committed(&self, dataset: Dataset) {
        let tag = match &dataset.manifest_location().e_tag {
            Some(_) => None,
            None => manifest_tag(&dataset).await,
        };
        let version = Arc::new(LanceVersion::new(dataset));
        *self.known() = Known { version, tag };
    }

    /// The version that this process committed last, if it is still the newest.
    async fn still_ours(&self) -> Option<Arc<LanceVersion>> {
        let (version, tag) = {
            let known = self.known();
            (known.version.clone(), known.tag.clone()?)
        };
        let dataset = &version.dataset;
        let newest = dataset.latest_version_id().await.ok()?;
        let same = newest == dataset.version_id() && manifest_tag(dataset).await? == tag;
        same.then_some(version)
    }
}

/// What the store says of a manifest's bytes; none where it has no such thing.
async fn manifest_tag(dataset: &Dataset) -> Option<String> {
    let store = dataset.object_store(None).await.ok()?;
    let found = store.inner.head(&dataset.manifest_location().path).await;
    found.ok()?.e_tag
}

impl LanceTable {
    /// Opens a table that exists.
    pub async fn open(uri: &str, options: &OpenOptions) -> Result<Self> {
        let (dataset, commits) = load(uri, options)
            .await
            .map_err(|error| open_error(uri, options, error))?;
        if dataset
            .manifest()
            .fragments
            .iter()
            .any(|fragment| fragment.physical_rows.is_none())
        {
            return Err(Error::invalid(format!(
                "table '{uri}' was written by a very old Lance that did not count rows: rewrite it once with a present one"
            )));
        }
        Ok(Self {
            uri: uri.to_owned(),
            options: options.clone(),
            newest: Arc::new(Newest::new(dataset, commits)),
        })
    }

    /// How the table was opened.
    pub(crate) fn options(&self) -> &OpenOptions {
        &self.options
    }

    /// The newest version that was seen so far.
    pub(crate) fn newest_known(&self) -> Arc<Dataset> {
        self.newest.get().dataset.clone()
    }

    /// The newest version, for writing.
    pub(crate) async fn newest_dataset(&self, doing: &str) -> Result<Arc<Dataset>> {
        let mut dataset = self.newest.get().dataset.as_ref().clone();
        dataset
            .checkout_latest()
            .await
            .map_err(|error| from_lance(error, doing))?;
        Ok(Arc::new(dataset))
    }

    /// Remembers a version that this process wrote; returns its number.
    pub(crate) fn remember(&self, dataset: Dataset) -> u64 {
        let version = dataset.version_id();
        self.newest.offer(dataset);
        version
    }
}

/// Opens the newest version of a table, with caches of its own.
pub(crate) async fn load(
    uri: &str,
    options: &OpenOptions,
) -> lance::Result<(Dataset, Arc<Commits>)> {
    let session = Arc::new(Session::new(
        INDEX_CACHE_BYTES,
        METADATA_CACHE_BYTES,
        Arc::default(),
    ));
    let handler = commit_handler_from_url(uri, &Some(store_params(options))).await?;
    let commits = Arc::new(Commits::over(handler));
    let builder = DatasetBuilder::from_uri(uri)
        .with_session(session)
        .with_commit_handler(commits.clone())
        .with_storage_options(options.storage_options.clone());
    let dataset = match &options.branch {
        Some(branch) => builder.with_branch(branch, None).load().await?,
        None => builder.load().await?,
    };
    Ok((dataset, commits))
}

fn open_error(uri: &str, options: &OpenOptions, error: lance::Error) -> Error {
    match (&error, &options.branch) {
        (
            lance::Error::RefNotFound { .. }
            | lance::Error::DatasetNotFound { .. }
            | lance::Error::NotFound { .. },
            Some(branch),
        ) => Error::invalid(format!(
            "there is no branch '{branch}' of a Lance table at '{uri}': check both names"
        )),
        (lance::Error::DatasetNotFound { .. } | lance::Error::NotFound { .. }, _) => {
            Error::invalid(format!(
                "there is no Lance table at '{uri}': check the path"
            ))
        }
        _ => from_lance(error, &format!("cannot open table '{uri}'")),
    }
}

#[async_trait]
impl Table for LanceTable {
    fn uri(&self) -> &str {
        &self.uri
    }

    async fn latest(&self) -> Result<Arc<dyn TableVersion>> {
        if let Some(ours) = self.newest.still_ours().await {
            return Ok(ours.with_newest(&self.newest));
        }
        let mut dataset = self.newest.get().dataset.as_ref().clone();
        dataset
            .checkout_latest()
            .await
            .map_err(|error| open_error(&self.uri, &self.options, error))?;
        Ok(self.newest.offer(dataset).with_newest(&self.newest))
    }

    async fn at(&self, version: u64) -> Result<Option<Arc<dyn TableVersion>>> {
        let newest = self.newest.get();
        if newest.dataset.version_id() == version {
            return Ok(Some(newest.with_newest(&self.newest)));
        }
        match newest.dataset.checkout_version(version).await {
            Ok(dataset) => Ok(Some(
                Arc::new(LanceVersion::new(dataset)).with_newest(&self.newest),
            )),
            Err(error) if changes::is_gone(&error) => Ok(None),
            Err(error) => Err(from_lance(error, &format!("cannot open version {version}"))),
        }
    }

    async fn seen(&self, seen: &SeenVersion) -> Result<Option<Arc<dyn TableVersion>>> {
        let newest = self.newest.get();
        let known = newest.dataset.manifest_location();
        if known.version == seen.version && known.e_tag == seen.tag {
            return Ok(Some(newest.with_newest(&self.newest)));
        }
        if known.naming_scheme != ManifestNamingScheme::V2 {
            return self.at(seen.version).await;
        }
        let commits = &self.newest.commits;
        let telling = commits.tell(seen);
        let opened = newest.dataset.checkout_version(seen.version).await;
        drop(telling);
        match opened {
            Ok(dataset) => Ok(Some(
                self.newest.offer_newer(dataset).with_newest(&self.newest),
            )),
            Err(error) if changes::is_gone(&error) => Ok(None),
            // What was told may be wrong, and then nothing can be read by it.
            Err(_) => self.at(seen.version).await,
        }
    }

    async fn changes(&self, after: u64, upto: u64) -> Result<Vec<Change>> {
        changes::between(&self.newest.get().dataset, after, upto).await
    }

    async fn edit(&self, change: &Edit) -> Result<EditOutcome> {
        let mut dataset = self.newest.get().dataset.as_ref().clone();
        let outcome = edit::apply(&mut dataset, change).await?;
        self.newest.offer(dataset);
        Ok(outcome)
    }
}

/// One version of a Lance table.
pub(crate) struct LanceVersion {
    pub(crate) dataset: Arc<Dataset>,
    view: TableView,
    schema: SchemaRef,
}

impl LanceVersion {
    fn new(dataset: Dataset) -> Self {
        let view = view::of_dataset(&dataset);
        let schema = Arc::new(blob::schema_of_values(dataset.schema()));
        Self {
            dataset: Arc::new(dataset),
            view,
            schema,
        }
    }

    fn with_newest(self: Arc<Self>, newest: &Arc<Newest>) -> Arc<dyn TableVersion> {
        Arc::new(OpenVersion {
            version: self,
            newest: newest.clone(),
        })
    }
}

/// A version together with the place where its successors are remembered.
struct OpenVersion {
    version: Arc<LanceVersion>,
    newest: Arc<Newest>,
}

impl OpenVersion {
    fn fragment(&self, id: FragmentId) -> Result<Fragment> {
        let dataset = &self.version.dataset;
        let place = usize::try_from(id)
            .ok()
            .and_then(|id| dataset.get_fragment(id));
        place
            .map(|fragment| fragment.metadata().clone())
            .ok_or_else(|| {
                Error::invalid(format!(
                    "version {} has no fragment {id}",
                    dataset.version_id()
                ))
            })
    }
}

#[async_trait]
impl TableVersion for OpenVersion {
    fn view(&self) -> &TableView {
        &self.version.view
    }

    fn where_seen(&self) -> Option<SeenVersion> {
        let location = self.version.dataset.manifest_location();
        let is_plain = location.naming_scheme == ManifestNamingScheme::V2;
        let size_bytes = location.size.filter(|_| is_plain)?;
        Some(SeenVersion {
            version: location.version,
            size_bytes,
            tag: location.e_tag.clone(),
        })
    }

    fn schema(&self) -> SchemaRef {
        self.version.schema.clone()
    }

    async fn deleted_rows(&self, fragment: FragmentId) -> Result<RowSet> {
        read::deleted_rows(&self.version.dataset, self.fragment(fragment)?).await
    }

    async fn row_ids(&self, fragment: FragmentId) -> Result<Option<Vec<u64>>> {
        if !self.version.view.stable_row_ids {
            return Ok(None);
        }
        let metadata = self.fragment(fragment)?;
        let ids = load_row_id_sequence(&self.version.dataset, &metadata)
            .await
            .map_err(|error| {
                from_lance(
                    error,
                    &format!("cannot read the row ids of fragment {fragment}"),
                )
            })?;
        Ok(Some(ids.iter().collect()))
    }

    async fn read(
        &self,
        fragment: FragmentId,
        columns: &[String],
        rows: &RowSet,
        batch_rows: u32,
    ) -> Result<BatchStream> {
        read::physical_rows(
            &self.version.dataset,
            self.fragment(fragment)?,
            columns,
            rows,
            batch_rows,
        )
        .await
    }

    async fn read_staged(
        &self,
        columns: &[String],
        file: &StagedColumnFile,
        rows: &RowSet,
        batch_rows: u32,
    ) -> Result<BatchStream> {
        // Not one of the manifest: the fragment that it was staged for may have been rewritten since.
        let mut fragment = Fragment::new(0);
        fragment.physical_rows = usize::try_from(file.physical_rows).ok();
        fragment.files = vec![stage::data_file(file)?];
        read::physical_rows(&self.version.dataset, fragment, columns, rows, batch_rows).await
    }

    async fn stage_columns(
        &self,
        fragment: FragmentId,
        columns: &[String],
        values: BatchStream,
    ) -> Result<StagedColumnFile> {
        stage::write(
            &self.version.dataset,
            self.fragment(fragment)?,
            columns,
            values,
        )
        .await
    }

    async fn staged_exists(&self, file: &StagedColumnFile) -> Result<bool> {
        stage::exists(&self.version.dataset, file).await
    }

    async fn publish(
        &self,
        columns: &[String],
        files: &[(FragmentId, StagedColumnFile)],
        note: &PublishNote,
    ) -> Result<PublishOutcome> {
        stage::publish(&self.version.dataset, columns, files, note, &self.newest).await
    }
}
