//! A version of a table in memory as an immutable value.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::{ArrayRef, new_null_array};
use arrow_schema::{DataType, Field, Schema};
use lance_backfill_core::definition::BINDING_KEY;
use lance_backfill_core::history::{ChangeKind, Update};
use lance_backfill_core::ids::{FieldId, FragmentId};
use lance_backfill_core::rows::RowSet;
use lance_backfill_core::table::{FieldView, FileView, FragmentView, TableView};
use lance_backfill_core::types::column_type_name;
use lance_backfill_ports::{Error, Result};

/// Id in a file of a column that nobody reads any more, as Lance writes it.
const TOMBSTONE: FieldId = -2;

/// One version, with all that its view does not tell.
#[derive(Debug, Clone)]
pub(super) struct Manifest {
    pub(super) view: TableView,
    pub(super) types: BTreeMap<FieldId, DataType>,
    pub(super) deleted: BTreeMap<FragmentId, RowSet>,
    /// Stable ids of physical rows; empty when the table has none.
    pub(super) row_ids: BTreeMap<FragmentId, Vec<u64>>,
    pub(super) next_fragment: FragmentId,
    pub(super) next_row_id: u64,
    /// What made this version.
    pub(super) operation: Operation,
}

/// What a version did, as much of it as conflicts and history depend on.
#[derive(Debug, Clone)]
pub(super) enum Operation {
    /// Moves no rows, changes no values, conflicts with nothing.
    Plain,
    /// Deleted rows.
    Delete { removed: Vec<FragmentId> },
    /// Gave rows other values.
    Update(Update),
    /// Compacted.
    Rewrite {
        groups: Vec<(Vec<FragmentId>, Vec<FragmentId>)>,
    },
    /// Replaced column files.
    Replacement {
        fragments: Vec<FragmentId>,
        fields: Vec<FieldId>,
        properties: BTreeMap<String, String>,
    },
    /// Added columns.
    Merge,
    /// Dropped or renamed columns.
    Project,
}

impl Operation {
    /// The operation as the core sees it.
    pub(super) fn change(&self) -> ChangeKind {
        match self {
            Self::Plain | Self::Delete { .. } | Self::Merge | Self::Project => ChangeKind::Other,
            Self::Update(update) => ChangeKind::Update(update.clone()),
            Self::Rewrite { groups } => ChangeKind::Rewrite {
                groups: groups.clone(),
            },
            Self::Replacement {
                fragments,
                fields,
                properties,
            } => ChangeKind::Replacement {
                fragments: fragments.clone(),
                fields: fields.clone(),
                binding: properties
                    .get(BINDING_KEY)
                    .and_then(|binding| binding.parse().ok()),
            },
        }
    }
}

impl Manifest {
    /// A table without columns and rows.
    pub(super) fn empty(stable_row_ids: bool) -> Self {
        Self {
            view: TableView {
                version: 0,
                created_ms: 0,
                fields: vec![],
                fragments: vec![],
                metadata: BTreeMap::new(),
                stable_row_ids,
                rewrites_redistribute: false,
            },
            types: BTreeMap::new(),
            deleted: BTreeMap::new(),
            row_ids: BTreeMap::new(),
            next_fragment: 0,
            next_row_id: 0,
            operation: Operation::Plain,
        }
    }

    /// The version after this one, still the same but for its number and operation.
    pub(super) fn successor(&self, operation: Operation) -> Self {
        let mut next = self.clone();
        next.view.version += 1;
        next.operation = operation;
        next
    }

    /// Columns with their Arrow types.
    pub(super) fn schema(&self) -> Schema {
        let fields: Vec<Field> = self
            .view
            .fields
            .iter()
            .map(|field| self.arrow_field(field))
            .collect();
        Schema::new(fields)
    }

    /// A column as Arrow sees it.
    pub(super) fn arrow_field(&self, field: &FieldView) -> Field {
        let metadata = field.metadata.clone().into_iter().collect();
        Field::new(&field.name, self.data_type(field), field.nullable).with_metadata(metadata)
    }

    fn data_type(&self, field: &FieldView) -> DataType {
        self.types.get(&field.id).cloned().unwrap_or(DataType::Null)
    }

    /// The field of this name.
    pub(super) fn field(&self, name: &str) -> Result<&FieldView> {
        let version = self.view.version;
        self.view
            .field(name)
            .ok_or_else(|| Error::invalid(format!("version {version} has no column '{name}'")))
    }

    /// The fragment with this id.
    pub(super) fn fragment(&self, id: FragmentId) -> Result<&FragmentView> {
        let version = self.view.version;
        self.view
            .fragment(id)
            .ok_or_else(|| Error::invalid(format!("version {version} has no fragment {id}")))
    }

    /// The fragment with this id, for a change.
    pub(super) fn fragment_mut(&mut self, id: FragmentId) -> Result<&mut FragmentView> {
        let version = self.view.version;
        self.view
            .fragments
            .iter_mut()
            .find(|fragment| fragment.id == id)
            .ok_or_else(|| Error::invalid(format!("version {version} has no fragment {id}")))
    }

    /// Rows of a fragment that are not deleted.
    pub(super) fn live_rows(&self, fragment: &FragmentView) -> RowSet {
        let deleted = self.deleted.get(&fragment.id).cloned().unwrap_or_default();
        RowSet::full(fragment.physical_rows).difference(&deleted)
    }

    /// Adds a field; its id is the lowest above all that the schema or any file names.
    pub(super) fn add_field(&mut self, field: &Field) -> Result<()> {
        if field.data_type().is_nested() {
            return Err(Error::invalid(
                "tables in memory have no columns of nested types",
            ));
        }
        let in_schema = self.view.fields.iter().map(|field| field.id);
        let in_files = self
            .view
            .fragments
            .iter()
            .flat_map(|fragment| &fragment.files)
            .flat_map(|file| file.fields.iter().copied());
        let id = in_schema.chain(in_files).max().unwrap_or(-1).max(-1) + 1;
        self.types.insert(id, field.data_type().clone());
        self.view.fields.push(FieldView {
            id,
            name: field.name().clone(),
            data_type: column_type_name(field.data_type()),
            nullable: field.is_nullable(),
            metadata: field.metadata().clone().into_iter().collect(),
            tree_ids: vec![id],
        });
        Ok(())
    }

    /// Removes a field, and the files that hold nothing else.
    pub(super) fn drop_field(&mut self, name: &str) {
        self.view.fields.retain(|field| field.name != name);
        self.drop_unread_files();
    }

    /// Adds a fragment with one file; rows get the given stable ids, or fresh ones.
    pub(super) fn add_fragment(
        &mut self,
        file: FileView,
        physical_rows: u32,
        row_ids: Option<Vec<u64>>,
    ) -> FragmentId {
        let id = self.next_fragment;
        self.next_fragment += 1;
        if self.view.stable_row_ids {
            let ids = row_ids.unwrap_or_else(|| {
                let first = self.next_row_id;
                self.next_row_id += u64::from(physical_rows);
                (first..self.next_row_id).collect()
            });
            self.row_ids.insert(id, ids);
        }
        self.view.fragments.push(FragmentView {
            id,
            physical_rows,
            deletion: None,
            files: vec![file],
            overlays: vec![],
        });
        id
    }

    /// Removes fragments.
    pub(super) fn remove_fragments(&mut self, ids: &[FragmentId]) {
        self.view
            .fragments
            .retain(|fragment| !ids.contains(&fragment.id));
        for id in ids {
            self.deleted.remove(id);
            self.row_ids.remove(id);
        }
    }

    /// Lets a new file answer for its fields in a fragment.
    pub(super) fn put_file(&mut self, id: FragmentId, file: FileView) -> Result<()> {
        let fragment = self.fragment_mut(id)?;
        if let Some(same) = fragment
            .files
            .iter_mut()
            .find(|present| present.fields == file.fields)
        {
            *same = file;
            return Ok(());
        }
        for present in &mut fragment.files {
            let fields: Vec<FieldId> = present
                .fields
                .iter()
                .map(|id| match file.fields.contains(id) {
                    true => TOMBSTONE,
                    false => *id,
                })
                .collect();
            present.fields = fields.into();
        }
        fragment.files.push(file);
        self.drop_unread_files();
        Ok(())
    }

    fn drop_unread_files(&mut self) {
        let live: BTreeSet<FieldId> = self.view.fields.iter().map(|field| field.id).collect();
        for fragment in &mut self.view.fragments {
            fragment
                .files
                .retain(|file| file.fields.iter().any(|id| live.contains(id)));
        }
    }

    /// Names of all files of this version.
    pub(super) fn file_names(&self) -> impl Iterator<Item = &str> {
        self.view
            .fragments
            .iter()
            .flat_map(|fragment| &fragment.files)
            .map(|file| file.name.as_str())
    }

    /// All physical rows of a column of a fragment; NULL where no file holds it.
    pub(super) fn column(
        &self,
        files: &BTreeMap<String, Arc<Vec<ArrayRef>>>,
        fragment: &FragmentView,
        field: &FieldView,
    ) -> Result<ArrayRef> {
        for file in &fragment.files {
            let place = file.fields.iter().position(|id| *id == field.id);
            let Some(column) = place.and_then(|place| file.columns.get(place)) else {
                continue;
            };
            return column_of_file(files, &file.name, *column);
        }
        let rows = usize::try_from(fragment.physical_rows).unwrap_or(usize::MAX);
        Ok(new_null_array(&self.data_type(field), rows))
    }
}

/// One column of a file.
pub(super) fn column_of_file(
    files: &BTreeMap<String, Arc<Vec<ArrayRef>>>,
    name: &str,
    column: i32,
) -> Result<ArrayRef> {
    let index = usize::try_from(column).unwrap_or(usize::MAX);
    files
        .get(name)
        .and_then(|columns| columns.get(index))
        .cloned()
        .ok_or_else(|| Error::invalid(format!("data file '{name}' is not there")))
}
