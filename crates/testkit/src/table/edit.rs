//! Changes of schema and metadata, one at a time.

use std::collections::BTreeMap;

use arrow_schema::Field;
use lance_backfill_ports::Result;
use lance_backfill_ports::table::{Edit, EditOutcome};

use super::disk::Disk;
use super::manifest::{Manifest, Operation};

/// Applies a change to the newest version if what it expects holds.
pub(super) fn apply(disk: &mut Disk, edit: &Edit) -> Result<EditOutcome> {
    let newest = disk.newest()?;
    if let Some(reason) = contradiction(&newest, edit) {
        return Ok(EditOutcome::Conflict { reason });
    }
    let next = match edit {
        Edit::AddColumn {
            name,
            data_type,
            metadata,
        } => {
            let metadata = metadata.clone().into_iter().collect();
            let field = Field::new(name, data_type.clone(), true).with_metadata(metadata);
            let mut next = newest.successor(Operation::Merge);
            next.add_field(&field)?;
            next
        }
        Edit::DropColumn { name } => {
            let mut next = newest.successor(Operation::Project);
            next.drop_field(name);
            next
        }
        Edit::FieldMetadata { name, entries } => {
            let mut next = newest.successor(Operation::Plain);
            for field in &mut next.view.fields {
                if field.name == *name {
                    set(&mut field.metadata, entries);
                }
            }
            next
        }
        Edit::TableMetadata { entries, .. } => {
            let mut next = newest.successor(Operation::Plain);
            set(&mut next.view.metadata, entries);
            next
        }
    };
    let version = disk.commit(next);
    Ok(EditOutcome::Done { version })
}

fn contradiction(newest: &Manifest, edit: &Edit) -> Option<String> {
    let view = &newest.view;
    match edit {
        Edit::AddColumn { name, .. } => view
            .field(name)
            .map(|_| format!("column '{name}' exists already")),
        Edit::DropColumn { name } | Edit::FieldMetadata { name, .. } => view
            .field(name)
            .is_none()
            .then(|| format!("there is no column '{name}'")),
        Edit::TableMetadata { expected, .. } => expected
            .iter()
            .find(|(key, value)| view.metadata.get(*key) != value.as_ref())
            .map(|(key, _)| format!("table metadata '{key}' was changed by somebody else")),
    }
}

fn set(metadata: &mut BTreeMap<String, String>, entries: &BTreeMap<String, Option<String>>) {
    for (key, value) in entries {
        match value {
            Some(value) => metadata.insert(key.clone(), value.clone()),
            None => metadata.remove(key),
        };
    }
}
