//! A Lance table and what foreign writers do to it, with Lance's own calls.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arrow_array::{ArrayRef, Int64Array, RecordBatch, RecordBatchIterator, StringArray};
use arrow_schema::{DataType, Field, Schema};
use lance::Dataset;
use lance::dataset::builder::DatasetBuilder;
use lance::dataset::cleanup::CleanupPolicyBuilder;
use lance::dataset::optimize::{CompactionOptions, compact_files};
use lance::dataset::transaction::{Operation, TransactionBuilder};
use lance::dataset::{
    ColumnAlteration, CommitBuilder, MergeInsertBuilder, MergeInsertWriteMode, UpdateBuilder,
    WhenMatched, WhenNotMatched, WriteMode, WriteParams,
};
use lance::index::DatasetIndexExt;
use lance::io::{ObjectStoreParams, StorageOptionsAccessor};
use lance_file::version::LanceFileVersion;
use lance_index::IndexType;
use lance_index::scalar::ScalarIndexParams;
use tempfile::TempDir;

/// How a table is laid out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) stable_row_ids: bool,
    pub(crate) storage: LanceFileVersion,
    /// Most rows of one fragment.
    pub(crate) fragment_rows: usize,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            stable_row_ids: false,
            storage: LanceFileVersion::V2_2,
            fragment_rows: 1_000_000,
        }
    }
}

impl Shape {
    pub(crate) fn stable() -> Self {
        Self {
            stable_row_ids: true,
            ..Self::default()
        }
    }

    pub(crate) fn fragments_of(self, fragment_rows: usize) -> Self {
        Self {
            fragment_rows,
            ..self
        }
    }

    /// Stable row ids on and off.
    pub(crate) fn both() -> [Self; 2] {
        [Self::default(), Self::stable()]
    }

    /// Each version of data files.
    pub(crate) fn of_every_version() -> [Self; 3] {
        [
            LanceFileVersion::V2_0,
            LanceFileVersion::V2_1,
            LanceFileVersion::V2_2,
        ]
        .map(|storage| Self {
            storage,
            ..Self::default()
        })
    }

    fn params(self, mode: WriteMode, storage: &HashMap<String, String>) -> WriteParams {
        let accessor = StorageOptionsAccessor::with_static_options(storage.clone());
        WriteParams {
            mode,
            store_params: (!storage.is_empty()).then(|| ObjectStoreParams {
                storage_options_accessor: Some(Arc::new(accessor)),
                ..ObjectStoreParams::default()
            }),
            max_rows_per_file: self.fragment_rows,
            max_rows_per_group: self.fragment_rows.min(1024),
            data_storage_version: Some(self.storage),
            enable_stable_row_ids: self.stable_row_ids,
            skip_auto_cleanup: true,
            ..WriteParams::default()
        }
    }
}

/// A table in a temporary folder.
pub(crate) struct Table {
    pub(crate) folder: TempDir,
    pub(crate) uri: String,
    shape: Shape,
    /// Options of its object store.
    pub(crate) storage: HashMap<String, String>,
    next_id: AtomicI64,
}

/// A column of integers.
pub(crate) fn ints(values: impl IntoIterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<Int64Array>())
}

/// A column of strings.
pub(crate) fn texts<T: AsRef<str>>(values: impl IntoIterator<Item = Option<T>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<StringArray>())
}

/// A batch of the given columns, all nullable.
pub(crate) fn batch(columns: &[(&str, ArrayRef)]) -> RecordBatch {
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, values)| Field::new(*name, values.data_type().clone(), true))
        .collect();
    let values = columns.iter().map(|(_, values)| values.clone()).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), values).expect("columns of one length")
}

/// Standard rows: `a` is ten times the id and NULL in each eleventh row, `b` counts 0 to 6.
pub(crate) fn standard(ids: std::ops::Range<i64>) -> RecordBatch {
    batch(&[
        ("id", ints(ids.clone().map(Some))),
        (
            "a",
            ints(ids.clone().map(|id| (id % 11 != 3).then_some(id * 10))),
        ),
        ("b", ints(ids.clone().map(|id| Some(id % 7)))),
        ("s", texts(ids.map(|id| Some(format!("s{id}"))))),
    ])
}

impl Table {
    /// A table of standard rows.
    pub(crate) async fn standard(shape: Shape, rows: i64) -> Self {
        let table = Self::of(shape, standard(0..rows)).await;
        table.next_id.store(rows, Ordering::Relaxed);
        table
    }

    /// A table of the given rows.
    pub(crate) async fn of(shape: Shape, rows: RecordBatch) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self::of_in(folder, shape, rows).await
    }

    /// The same in a folder that is chosen.
    pub(crate) async fn of_in(folder: TempDir, shape: Shape, rows: RecordBatch) -> Self {
        let uri = folder.path().join("table.lance").display().to_string();
        Self::create(folder, uri, HashMap::new(), shape, rows).await
    }

    /// A table of standard rows in an object store.
    pub(crate) async fn standard_in(
        uri: String,
        storage: HashMap<String, String>,
        shape: Shape,
        rows: i64,
    ) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let table = Self::create(folder, uri, storage, shape, standard(0..rows)).await;
        table.next_id.store(rows, Ordering::Relaxed);
        table
    }

    async fn create(
        folder: TempDir,
        uri: String,
        storage: HashMap<String, String>,
        shape: Shape,
        rows: RecordBatch,
    ) -> Self {
        let table = Self {
            folder,
            uri,
            shape,
            storage,
            next_id: AtomicI64::new(0),
        };
        table.write(WriteMode::Create, rows).await;
        table
    }

    async fn write(&self, mode: WriteMode, rows: RecordBatch) {
        let written = self.try_write(mode, rows).await;
        written.unwrap_or_else(|error| panic!("{mode:?} of '{}': {error}", self.uri));
    }

    pub(crate) async fn try_write(&self, mode: WriteMode, rows: RecordBatch) -> lance::Result<()> {
        let schema = rows.schema();
        let rows = RecordBatchIterator::new([Ok(rows)], schema);
        let params = self.shape.params(mode, &self.storage);
        Dataset::write(rows, &self.uri, Some(params)).await?;
        Ok(())
    }

    /// A table of the given rows at a given place.
    pub(crate) async fn write_at(place: &std::path::Path, rows: RecordBatch) -> Self {
        let mut table = Self::of(Shape::default(), rows.slice(0, 0)).await;
        table.uri = place.display().to_string();
        table.write(WriteMode::Create, rows).await;
        table
    }

    /// A copy that shares the data files, by Lance's own means.
    pub(crate) async fn shallow_clone(&self) -> Self {
        let clone = self.elsewhere("clone.lance");
        let mut dataset = self.open().await;
        let version = dataset.version_id();
        dataset
            .shallow_clone(&clone.uri, version, None)
            .await
            .expect("clones");
        clone
    }

    /// A branch of the table; its URI is that of the branch.
    pub(crate) async fn branch(&self, name: &str) -> Self {
        let mut dataset = self.open().await;
        let version = dataset.version_id();
        let branch = dataset
            .create_branch(name, version, None)
            .await
            .expect("branches");
        Self {
            uri: branch.branch_location().uri,
            ..self.elsewhere("unused")
        }
    }

    /// A copy of the whole folder.
    pub(crate) fn copy_folder(&self) -> Self {
        let copy = self.elsewhere("copy.lance");
        let done = std::process::Command::new("cp")
            .args(["-r", &self.uri, &copy.uri])
            .status();
        assert!(done.is_ok_and(|status| status.success()), "cp -r");
        copy
    }

    /// The same table, moved to another folder.
    pub(crate) fn moved(self) -> Self {
        let moved = self.elsewhere("moved.lance");
        std::fs::rename(&self.uri, &moved.uri).expect("moves");
        moved
    }

    /// A table that is there already.
    pub(crate) fn at(path: &std::path::Path) -> Self {
        Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            uri: path.display().to_string(),
            shape: Shape::default(),
            storage: HashMap::new(),
            next_id: AtomicI64::new(0),
        }
    }

    fn elsewhere(&self, name: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self {
            uri: folder.path().join(name).display().to_string(),
            folder,
            shape: self.shape,
            storage: HashMap::new(),
            next_id: AtomicI64::new(self.next_id.load(Ordering::Relaxed)),
        }
    }

    pub(crate) async fn open(&self) -> Dataset {
        let builder =
            DatasetBuilder::from_uri(&self.uri).with_storage_options(self.storage.clone());
        builder.load().await.expect("opens the table")
    }

    pub(crate) async fn version(&self) -> u64 {
        self.open().await.version_id()
    }

    /// Reader and writer feature flags.
    pub(crate) async fn flags(&self) -> (u64, u64) {
        let dataset = self.open().await;
        let manifest = dataset.manifest();
        (manifest.reader_feature_flags, manifest.writer_feature_flags)
    }

    /// Appends standard rows with the next ids.
    pub(crate) async fn append(&self, rows: i64) {
        let first = self.next_id.fetch_add(rows, Ordering::Relaxed);
        self.append_batch(standard(first..first + rows)).await;
    }

    pub(crate) async fn append_batch(&self, rows: RecordBatch) {
        self.write(WriteMode::Append, rows).await;
    }

    /// All rows with all columns, as another writer would read them to write them back.
    pub(crate) async fn full_batch(&self) -> RecordBatch {
        let rows = self.open().await.scan().try_into_batch().await;
        rows.expect("scans")
    }

    pub(crate) async fn overwrite(&self, rows: RecordBatch) {
        self.write(WriteMode::Overwrite, rows).await;
    }

    /// Ids of the rows that a filter selects, in order, as a reader gets them.
    pub(crate) async fn ids_where(&self, filter: &str) -> Vec<i64> {
        let dataset = self.open().await;
        let mut scanner = dataset.scan();
        let scanner = (scanner.project(&["id"]))
            .and_then(|scanner| scanner.filter(filter))
            .expect("a filter");
        let rows = scanner.try_into_batch().await.expect("scans");
        let ids = rows.column(0).as_any().downcast_ref::<Int64Array>();
        let mut ids: Vec<i64> = ids.expect("integers").values().to_vec();
        ids.sort_unstable();
        ids
    }

    /// How Lance would run a filtered scan.
    pub(crate) async fn explain(&self, filter: &str) -> String {
        let dataset = self.open().await;
        let mut scanner = dataset.scan();
        let scanner = scanner.filter(filter).expect("a filter");
        scanner.explain_plan(true).await.expect("a plan")
    }

    pub(crate) async fn delete(&self, predicate: &str) {
        self.open().await.delete(predicate).await.expect("deletes");
    }

    /// `UPDATE … SET … WHERE …`: the rows move.
    pub(crate) async fn update(&self, column: &str, value: &str, filter: &str) {
        let updated = self.try_update(column, value, filter).await;
        updated.expect("updates");
    }

    pub(crate) async fn try_update(
        &self,
        column: &str,
        value: &str,
        filter: &str,
    ) -> lance::Result<()> {
        let update = UpdateBuilder::new(Arc::new(self.open().await))
            .update_where(filter)
            .and_then(|update| update.set(column, value))
            .and_then(UpdateBuilder::build)
            .expect("an update");
        update.execute().await.map(|_| ())
    }

    /// Upserts rows by `id`: the rows move.
    pub(crate) async fn upsert(&self, rows: RecordBatch) {
        let mut merge = MergeInsertBuilder::try_new(Arc::new(self.open().await), vec!["id".into()])
            .expect("a merge");
        merge
            .when_matched(WhenMatched::UpdateAll)
            .when_not_matched(WhenNotMatched::InsertAll);
        let job = merge.try_build().expect("a merge");
        job.execute_batches(vec![rows]).await.expect("upserts");
    }

    /// Upserts some columns by `id` in place: the rows stay.
    pub(crate) async fn patch(&self, rows: RecordBatch) {
        let mut merge = MergeInsertBuilder::try_new(Arc::new(self.open().await), vec!["id".into()])
            .expect("a merge");
        merge
            .when_matched(WhenMatched::UpdateAll)
            .when_not_matched(WhenNotMatched::DoNothing)
            .write_mode(MergeInsertWriteMode::RewriteColumns);
        let job = merge.try_build().expect("a merge");
        job.execute_batches(vec![rows]).await.expect("patches");
    }

    /// Makes one fragment of all; says whether it changed anything.
    pub(crate) async fn compact(&self) -> bool {
        self.try_compact().await.expect("compacts")
    }

    pub(crate) async fn try_compact(&self) -> lance::Result<bool> {
        let mut dataset = self.open().await;
        let options = CompactionOptions {
            materialize_deletions_threshold: 0.0,
            ..CompactionOptions::default()
        };
        let metrics = compact_files(&mut dataset, options, None).await?;
        Ok(metrics.fragments_removed > 0)
    }

    /// Puts other values into a column of one fragment, without moving rows.
    pub(crate) async fn replace(&self, fragment: u64, column: &str, values: ArrayRef) {
        let dataset = Arc::new(self.open().await);
        let schema = dataset.schema().project(&[column]).expect("the column");
        let found = usize::try_from(fragment)
            .ok()
            .and_then(|id| dataset.get_fragment(id));
        let group = found
            .expect("the fragment")
            .write_columns(
                futures::stream::iter([Ok(batch(&[(column, values)]))]),
                &schema,
            )
            .await
            .expect("stages");
        let operation = Operation::DataReplacement {
            replacements: vec![group],
        };
        let transaction = TransactionBuilder::new(dataset.version_id(), operation).build();
        CommitBuilder::new(dataset)
            .execute(transaction)
            .await
            .expect("replaces");
    }

    pub(crate) async fn rename_column(&self, from: &str, to: &str) {
        let rename = ColumnAlteration::new(from.to_owned()).rename(to.to_owned());
        let mut dataset = self.open().await;
        dataset.alter_columns(&[rename]).await.expect("renames");
    }

    pub(crate) async fn cast_column(&self, column: &str, to: DataType) {
        let cast = ColumnAlteration::new(column.to_owned()).cast_to(to);
        let mut dataset = self.open().await;
        dataset.alter_columns(&[cast]).await.expect("casts");
    }

    pub(crate) async fn drop_column(&self, column: &str) {
        let mut dataset = self.open().await;
        dataset.drop_columns(&[column]).await.expect("drops");
    }

    pub(crate) async fn restore(&self, version: u64) {
        let dataset = self.open().await;
        let mut old = dataset.checkout_version(version).await.expect("is there");
        old.restore().await.expect("restores");
    }

    /// Removes all versions but the newest.
    pub(crate) async fn cleanup(&self) {
        let dataset = self.open().await;
        let newest = dataset.version_id();
        let old: Vec<u64> = (dataset.versions().await.expect("versions").iter())
            .map(|version| version.version)
            .filter(|version| *version != newest)
            .collect();
        let policy = CleanupPolicyBuilder::default().versions(old);
        let policy = policy.expect("a policy").build();
        dataset.cleanup_with_policy(policy).await.expect("cleans");
    }

    pub(crate) async fn index(&self, column: &str) {
        self.open()
            .await
            .create_index(
                &[column],
                IndexType::BTree,
                None,
                &ScalarIndexParams::default(),
                true,
            )
            .await
            .expect("indexes");
    }

    /// Files of the state store with their sizes, by path below its root.
    pub(crate) fn state_files(&self) -> BTreeMap<PathBuf, u64> {
        files_below(&self.state_folder())
    }

    pub(crate) fn state_folder(&self) -> PathBuf {
        self.root().join("_backfill")
    }

    pub(crate) fn root(&self) -> PathBuf {
        PathBuf::from(&self.uri)
    }
}

/// All files below a folder, with their sizes.
pub(crate) fn files_below(folder: &std::path::Path) -> BTreeMap<PathBuf, u64> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&next) else {
            continue;
        };
        for entry in entries.filter_map(Result::ok) {
            match entry.metadata() {
                Ok(data) if data.is_dir() => folders.push(entry.path()),
                Ok(data) => {
                    found.insert(entry.path(), data.len());
                }
                Err(_) => {}
            }
        }
    }
    found
}
