//! Changes of schema and metadata, repeated when a race is lost.

use std::sync::Arc;

use arrow_schema::{Field, Schema};
use lance::Dataset;
use lance::dataset::NewColumnTransform;
use lance_backfill_ports::table::{Edit, EditOutcome, NewColumn};
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
        Edit::AddColumns { columns } => columns
            .iter()
            .find(|column| dataset.schema().field(&column.name).is_some())
            .map(|column| format!("column '{}' exists already", column.name)),
        Edit::DropColumns { names } | Edit::FieldMetadata { names, .. } => names
            .iter()
            .find(|name| dataset.schema().field(name).is_none())
            .map(|name| format!("there is no column '{name}'")),
        Edit::TableMetadata { expected, .. } => expected
            .iter()
            .find(|(key, value)| dataset.metadata().get(*key) != value.as_ref())
            .map(|(key, _)| format!("table metadata '{key}' was changed by somebody else")),
    }
}

/// Whether the newest version already says what the change wants.
fn is_done(dataset: &Dataset, edit: &Edit) -> bool {
    match edit {
        Edit::AddColumns { columns } => columns.iter().all(|column| {
            dataset.schema().field(&column.name).is_some_and(|field| {
                (column.metadata.iter()).all(|(key, value)| field.metadata.get(key) == Some(value))
            })
        }),
        Edit::DropColumns { names } => {
            (names.iter()).all(|name| dataset.schema().field(name).is_none())
        }
        Edit::FieldMetadata { names, entries } => names.iter().all(|name| {
            dataset.schema().field(name).is_some_and(|field| {
                entries
                    .iter()
                    .all(|(key, value)| field.metadata.get(key) == value.as_ref())
            })
        }),
        Edit::TableMetadata { entries, .. } => entries
            .iter()
            .all(|(key, value)| dataset.metadata().get(key) == value.as_ref()),
    }
}

async fn attempt(dataset: &mut Dataset, edit: &Edit) -> lance::Result<()> {
    match edit {
        Edit::AddColumns { columns } => add_columns(dataset, columns).await,
        Edit::DropColumns { names } => {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            dataset.drop_columns(&names).await
        }
        Edit::FieldMetadata { names, entries } => {
            let mut update = dataset.update_field_metadata();
            for name in names {
                let entries = entries
                    .iter()
                    .map(|(key, value)| (key.clone(), value.clone()));
                update = update.update(name.as_str(), entries)?;
            }
            update.await?;
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

async fn add_columns(dataset: &mut Dataset, columns: &[NewColumn]) -> lance::Result<()> {
    let field = |column: &NewColumn| {
        let metadata = column.metadata.clone().into_iter().collect();
        Field::new(&column.name, column.data_type.clone(), true).with_metadata(metadata)
    };
    let schema = Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
    dataset
        .add_columns(NewColumnTransform::AllNulls(schema), None, None)
        .await
}
