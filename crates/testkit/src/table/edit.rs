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
        Edit::AddColumns { columns } => {
            let mut next = newest.successor(Operation::Merge);
            for column in columns {
                let metadata = column.metadata.clone().into_iter().collect();
                let field = Field::new(&column.name, column.data_type.clone(), true);
                next.add_field(&field.with_metadata(metadata))?;
            }
            next
        }
        Edit::DropColumns { names } => {
            let mut next = newest.successor(Operation::Project);
            names.iter().for_each(|name| next.drop_field(name));
            next
        }
        Edit::FieldMetadata { names, entries } => {
            let mut next = newest.successor(Operation::Plain);
            for field in &mut next.view.fields {
                if names.contains(&field.name) {
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
        Edit::AddColumns { columns } => columns
            .iter()
            .find(|column| view.field(&column.name).is_some())
            .map(|column| format!("column '{}' exists already", column.name)),
        Edit::DropColumns { names } | Edit::FieldMetadata { names, .. } => names
            .iter()
            .find(|name| view.field(name).is_none())
            .map(|name| format!("there is no column '{name}'")),
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
