//! Staging column files and publishing them.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{Field, Schema as ArrowSchema};
use futures::{StreamExt, TryStreamExt};
use lance::Dataset;
use lance::dataset::CommitBuilder;
use lance::dataset::fragment::FileFragment;
use lance::dataset::transaction::{DataReplacementGroup, Operation, TransactionBuilder};
use lance_backfill_core::checkpoint::StagedColumnFile;
use lance_backfill_core::ids::FragmentId;
use lance_backfill_ports::table::{ArrayStream, PublishNote, PublishOutcome};
use lance_backfill_ports::{Error, ErrorKind, Result};
use lance_table::format::{DataFile, Fragment};

use crate::error::{CommitFailure, commit_failure, from_lance, from_object_store};
use crate::table::Newest;

mod hints;

/// Writes a column file for all physical rows of a fragment.
pub(crate) async fn write(
    dataset: &Arc<Dataset>,
    fragment: Fragment,
    column: &str,
    values: ArrayStream,
) -> Result<StagedColumnFile> {
    let doing = format!("cannot stage column '{column}' of fragment {}", fragment.id);
    let schema = dataset
        .schema()
        .project(&[column])
        .map_err(|error| from_lance(error, &doing))?;
    let arrow = ArrowSchema::from(&schema);
    let field = arrow
        .fields()
        .first()
        .cloned()
        .ok_or_else(|| Error::internal(doing.clone()))?;
    let batch_schema = Arc::new(ArrowSchema::new(vec![
        Field::new(field.name(), field.data_type().clone(), true)
            .with_metadata(field.metadata().clone()),
    ]));
    let physical_rows = fragment
        .physical_rows
        .and_then(|rows| u32::try_from(rows).ok())
        .unwrap_or_default();
    let mut values = values.peekable();
    let first = Pin::new(&mut values).peek().await;
    let first = first.and_then(|first| first.as_ref().ok());
    let hinted = hints::hinted(dataset, column, first);
    let batches = values
        .map_err(|error| lance::Error::wrapped(error.into()))
        .map(move |array| Ok(RecordBatch::try_new(batch_schema.clone(), vec![array?])?));
    let group = FileFragment::new(Arc::new(hinted), fragment)
        .write_columns(batches, &schema)
        .await
        .map_err(|error| unwrap_ours(error, &doing))?;
    let DataReplacementGroup(_, file) = group;
    let size_bytes = file
        .file_size_bytes
        .get()
        .map_or(0, std::num::NonZeroU64::get);
    let descriptor =
        serde_json::to_string(&file).map_err(|error| Error::internal(doing).with_source(error))?;
    Ok(StagedColumnFile {
        name: file.path,
        size_bytes,
        physical_rows,
        over: None,
        descriptor,
    })
}

/// An error of our own stream comes back as it went in.
fn unwrap_ours(error: lance::Error, doing: &str) -> Error {
    match error {
        lance::Error::Wrapped { error, .. } => match error.downcast::<Error>() {
            Ok(ours) => *ours,
            Err(other) => from_lance(lance::Error::wrapped(other), doing),
        },
        other => from_lance(other, doing),
    }
}

/// The table's own description of a staged file.
pub(crate) fn data_file(file: &StagedColumnFile) -> Result<DataFile> {
    serde_json::from_str(&file.descriptor).map_err(|error| {
        Error::new(
            ErrorKind::Corrupt,
            format!("the description of staged file '{}' is damaged", file.name),
        )
        .with_source(error)
    })
}

/// Whether a staged file is there, with the size it was written with: Lance's commit checks neither.
pub(crate) async fn exists(dataset: &Arc<Dataset>, file: &StagedColumnFile) -> Result<bool> {
    let doing = format!("cannot look for staged file '{}'", file.name);
    let store = dataset
        .object_store(None)
        .await
        .map_err(|error| from_lance(error, &doing))?;
    let path = dataset.data_dir().join(file.name.as_str());
    match object_store::ObjectStoreExt::head(&store.inner, &path).await {
        Ok(found) => Ok(found.size == file.size_bytes),
        Err(object_store::Error::NotFound { .. }) => Ok(false),
        Err(error) => Err(from_object_store(error, &doing)),
    }
}

/// Publishes staged files on the version of `dataset`, in one transaction.
pub(crate) async fn publish(
    dataset: &Arc<Dataset>,
    column: &str,
    files: &[(FragmentId, StagedColumnFile)],
    note: &PublishNote,
    newest: &Newest,
) -> Result<PublishOutcome> {
    let replacements = files
        .iter()
        .map(|(fragment, file)| Ok(DataReplacementGroup(*fragment, data_file(file)?)))
        .collect::<Result<Vec<_>>>()?;
    let properties: HashMap<String, String> = note
        .properties
        .iter()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let transaction = TransactionBuilder::new(
        dataset.version_id(),
        Operation::DataReplacement { replacements },
    )
    .transaction_properties(Some(Arc::new(properties)))
    .build();
    let committed = CommitBuilder::new(dataset.clone())
        .with_skip_auto_cleanup(true)
        .execute(transaction)
        .await;
    match committed {
        Ok(dataset) => {
            let version = dataset.version_id();
            newest.offer_committed(dataset).await;
            Ok(PublishOutcome::Published { version })
        }
        Err(error) => {
            match commit_failure(
                error,
                &format!("cannot publish {} files of column '{column}'", files.len()),
            ) {
                CommitFailure::Conflict(reason) => Ok(PublishOutcome::Conflict { reason }),
                CommitFailure::MaybeLanded => Ok(PublishOutcome::MaybeLanded),
                CommitFailure::Failed(error) => Err(error),
            }
        }
    }
}
