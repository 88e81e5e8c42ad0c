//! Staging column files and publishing them.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::Schema as ArrowSchema;
use futures::{StreamExt, TryStreamExt};
use lance::Dataset;
use lance::dataset::CommitBuilder;
use lance::dataset::fragment::FileFragment;
use lance::dataset::transaction::{DataReplacementGroup, Operation, TransactionBuilder};
use lance_backfill_core::checkpoint::StagedColumnFile;
use lance_backfill_core::ids::FragmentId;
use lance_backfill_ports::table::{BatchStream, PublishNote, PublishOutcome};
use lance_backfill_ports::{Error, ErrorKind, Result};
use lance_table::format::{DataFile, Fragment};

use crate::error::{CommitFailure, commit_failure, from_lance, from_object_store};
use crate::table::Newest;

mod complete;
mod hints;

use complete::Completed;

/// Writes a file of columns for all physical rows of a fragment.
pub(crate) async fn write(
    dataset: &Arc<Dataset>,
    fragment: Fragment,
    columns: &[String],
    values: BatchStream,
) -> Result<StagedColumnFile> {
    let names = columns.join("', '");
    let doing = format!("cannot stage '{names}' of fragment {}", fragment.id);
    let schema = dataset
        .schema()
        .project(columns)
        .map_err(|error| from_lance(error, &doing))?;
    let arrow = ArrowSchema::from(&schema);
    // In the order in which the values come, which need not be the table's.
    let fields = (columns.iter())
        .map(|column| {
            let field = arrow
                .field_with_name(column)
                .map_err(|error| Error::internal(doing.clone()).with_source(error))?;
            Ok(field.clone().with_nullable(true))
        })
        .collect::<Result<Vec<_>>>()?;
    let batch_schema = Arc::new(ArrowSchema::new(fields));
    let physical_rows = fragment
        .physical_rows
        .and_then(|rows| u32::try_from(rows).ok())
        .unwrap_or_default();
    let mut values = values.peekable();
    let first = Pin::new(&mut values).peek().await;
    let first = first.and_then(|first| first.as_ref().ok());
    let hinted = hints::hinted(dataset, columns, first);
    let batches = values
        .map_err(|error| lance::Error::wrapped(error.into()))
        .map(move |batch| {
            let columns = batch?.columns().to_vec();
            Ok(RecordBatch::try_new(batch_schema.clone(), columns)?)
        });
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
    columns: &[String],
    files: &[(FragmentId, StagedColumnFile)],
    note: &PublishNote,
    newest: &Newest,
) -> Result<PublishOutcome> {
    let names = columns.join("', '");
    let doing = format!("cannot publish {} files of '{names}'", files.len());
    let replacements = files
        .iter()
        .map(|(fragment, file)| Ok(DataReplacementGroup(*fragment, data_file(file)?)))
        .collect::<Result<Vec<_>>>()?;
    let completed = complete::complete(dataset, columns, &replacements, &doing).await?;
    let dataset = match completed {
        Completed::Was => dataset.clone(),
        Completed::Now(dataset) => dataset,
        Completed::Conflict(outcome) => return Ok(outcome),
    };
    let properties: HashMap<String, String> = note
        .properties
        .iter()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    newest.commit_is_next(dataset.version_id());
    match replace(&dataset, replacements, properties, &doing).await? {
        Replaced::Done(dataset) => {
            let version = dataset.version_id();
            newest.offer_committed(*dataset).await;
            Ok(PublishOutcome::Published { version })
        }
        Replaced::Not(outcome) => Ok(outcome),
    }
}

/// How a replacement of data files ended.
enum Replaced {
    Done(Box<Dataset>),
    Not(PublishOutcome),
}

async fn replace(
    dataset: &Arc<Dataset>,
    replacements: Vec<DataReplacementGroup>,
    properties: HashMap<String, String>,
    doing: &str,
) -> Result<Replaced> {
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
        Ok(dataset) => Ok(Replaced::Done(Box::new(dataset))),
        Err(error) => match commit_failure(error, doing) {
            CommitFailure::Conflict(reason) => {
                Ok(Replaced::Not(PublishOutcome::Conflict { reason }))
            }
            CommitFailure::MaybeLanded => Ok(Replaced::Not(PublishOutcome::MaybeLanded)),
            CommitFailure::Failed(error) => Err(error),
        },
    }
}
