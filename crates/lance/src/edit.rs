//! Changes of schema and metadata, repeated when a race is lost.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema};
use lance::Dataset;
use lance::dataset::NewColumnTransform;
use lance_backfill_ports::table::{Edit, EditOutcome};
use lance_backfill_ports::{Error, ErrorKind, Result};

use crate::error::{CommitFailure, commit_failure, from_lance};

/// Lost races before we give up: each one means that somebody else got through.
const MOST_ATTEMPTS: usize = 30;

/// Applies a change to the newest version; `dataset` is left at the newest version known.
pub(crate) async fn apply(dataset: &mut Dataset, edit: &Edit) -> Result<EditOutcome> {
    let doing = "cannot change the table's schema or metadata";
    let mut last = String::new();
    for _ in 0..MOST_ATTEMPTS {
        dataset
            .checkout_latest()
            .await
            .map_err(|error| from_lance(error, doing))?;
        if let Some(reason) = contradiction(dataset, edit) {
            return Ok(EditOutcome::Conflict { reason });
        }
        match attempt(dataset, edit).await {
            Ok(()) => {
                return Ok(EditOutcome::Done {
                    version: dataset.version_id(),
                });
            }
            Err(error) => match commit_failure(error, doing) {
                // Nothing landed, or it may have: the loop looks at the newest version again.
                CommitFailure::Conflict(reason) => last = reason,
                CommitFailure::MaybeLanded => {
                    dataset
                        .checkout_latest()
                        .await
                        .map_err(|error| from_lance(error, doing))?;
                    if is_done(dataset, edit) {
                        return Ok(EditOutcome::Done {
                            version: dataset.version_id(),
                        });
                    }
                }
                CommitFailure::Failed(error) => return Err(error),
            },
        }
    }
    Err(Error::new(
        ErrorKind::Unavailable,
        format!("{doing}: too many others are writing to it, try again"),
    )
    .with_source(last))
}

/// Why the change does not fit the newest version, if it does not.
fn contradiction(dataset: &Dataset, edit: &Edit) -> Option<String> {
    match edit {
        Edit::AddColumn { name, .. } => dataset
            .schema()
            .field(name)
            .map(|_| format!("column '{name}' exists already")),
        Edit::DropColumn { name } | Edit::FieldMetadata { name, .. } => dataset
            .schema()
            .field(name)
            .is_none()
            .then(|| format!("there is no column '{name}'")),
        Edit::TableMetadata { expected, .. } => expected
            .iter()
            .find(|(key, value)| dataset.metadata().get(*key) != value.as_ref())
            .map(|(key, _)| format!("table metadata '{key}' was changed by somebody else")),
    }
}

/// Whether the newest version already says what the change wants.
fn is_done(dataset: &Dataset, edit: &Edit) -> bool {
    match edit {
        Edit::AddColumn { name, metadata, .. } => {
            dataset.schema().field(name).is_some_and(|field| {
                metadata
                    .iter()
                    .all(|(key, value)| field.metadata.get(key) == Some(value))
            })
        }
        Edit::DropColumn { name } => dataset.schema().field(name).is_none(),
        Edit::FieldMetadata { name, entries } => {
            dataset.schema().field(name).is_some_and(|field| {
                entries
                    .iter()
                    .all(|(key, value)| field.metadata.get(key) == value.as_ref())
            })
        }
        Edit::TableMetadata { entries, .. } => entries
            .iter()
            .all(|(key, value)| dataset.metadata().get(key) == value.as_ref()),
    }
}

async fn attempt(dataset: &mut Dataset, edit: &Edit) -> lance::Result<()> {
    match edit {
        Edit::AddColumn {
            name,
            data_type,
            metadata,
        } => add_column(dataset, name, data_type, metadata).await,
        Edit::DropColumn { name } => dataset.drop_columns(&[name.as_str()]).await,
        Edit::FieldMetadata { name, entries } => {
            let entries = entries
                .iter()
                .map(|(key, value)| (key.clone(), value.clone()));
            dataset
                .update_field_metadata()
                .update(name.as_str(), entries)?
                .await?;
            Ok(())
        }
        Edit::TableMetadata { entries, .. } => {
            let entries = entries
                .iter()
                .map(|(key, value)| (key.clone(), value.clone()));
            dataset.update_metadata(entries).await?;
            Ok(())
        }
    }
}

async fn add_column(
    dataset: &mut Dataset,
    name: &str,
    data_type: &DataType,
    metadata: &BTreeMap<String, String>,
) -> lance::Result<()> {
    let metadata = metadata
        .iter()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let field = Field::new(name, data_type.clone(), true).with_metadata(metadata);
    let schema = Arc::new(Schema::new(vec![field]));
    dataset
        .add_columns(NewColumnTransform::AllNulls(schema), None, None)
        .await
}
