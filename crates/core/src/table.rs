//! What one version of a table says about itself, without any I/O.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::{FieldId, FragmentId};

/// A version's manifest as somebody saw it in the store: with it, others need not look for it.
///
/// A hint and no more: who opens it finds what is there, or nothing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeenVersion {
    /// Version.
    pub version: u64,
    /// Size of its manifest.
    pub size_bytes: u64,
    /// What the store told its bytes from others by, if it did.
    pub tag: Option<String>,
}

/// One version of a table: its schema, fragments and metadata, as the manifest has them.
#[derive(Debug, Clone, PartialEq)]
pub struct TableView {
    /// Lance's version number.
    pub version: u64,
    /// When it was committed, in milliseconds since the epoch, by the writer's clock.
    pub created_ms: u64,
    /// Top-level fields, in schema order.
    pub fields: Vec<FieldView>,
    /// Fragments in ascending order of id.
    pub fragments: Vec<FragmentView>,
    /// Table metadata (definitions live here).
    pub metadata: BTreeMap<String, String>,
    /// Whether rows keep an id when they move.
    pub stable_row_ids: bool,
    /// Whether rewrites may redistribute rows in ways that their transactions do not tell.
    pub rewrites_redistribute: bool,
}

/// A top-level field.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldView {
    /// Id of the field itself.
    pub id: FieldId,
    /// Name, case-sensitive.
    pub name: String,
    /// Type as the project writes types.
    pub data_type: String,
    /// Whether NULL is allowed.
    pub nullable: bool,
    /// Field metadata (the binding lives here).
    pub metadata: BTreeMap<String, String>,
    /// The field's id and those of all its descendants: what data files list depends on the format.
    pub tree_ids: Vec<FieldId>,
}

/// A fragment: rows that keep their place for as long as it lives.
#[derive(Debug, Clone, PartialEq)]
pub struct FragmentView {
    /// Never reused.
    pub id: FragmentId,
    /// Rows in its files, deleted ones counted.
    pub physical_rows: u32,
    /// Its deletion vector, if rows were deleted.
    pub deletion: Option<DeletionView>,
    /// Data files, each holding some columns.
    pub files: Vec<FileView>,
    /// Files that patch single cells, oldest first.
    pub overlays: Vec<FileView>,
}

/// Which rows are deleted, by reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletionView {
    /// Changes with every deletion.
    pub token: String,
    /// How many rows it deletes.
    pub rows: u32,
}

/// A file of a fragment and the columns it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileView {
    /// Name under the table's data folder, random, without base path.
    pub name: String,
    /// Field ids; a negative id is a column nobody reads any more.
    pub fields: Arc<[FieldId]>,
    /// Column of the file that holds the field of the same place.
    pub columns: Arc<[i32]>,
    /// Size, where the manifest tells; for estimates.
    pub size_bytes: Option<u64>,
}

impl TableView {
    /// The top-level field of this name.
    pub fn field(&self, name: &str) -> Option<&FieldView> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The top-level field with this id.
    pub fn field_by_id(&self, id: FieldId) -> Option<&FieldView> {
        self.fields.iter().find(|field| field.id == id)
    }

    /// The fragment with this id.
    pub fn fragment(&self, id: FragmentId) -> Option<&FragmentView> {
        let place = self
            .fragments
            .binary_search_by_key(&id, |fragment| fragment.id)
            .ok()?;
        self.fragments.get(place)
    }

    /// Live rows of the whole table.
    pub fn live_rows(&self) -> u64 {
        self.fragments
            .iter()
            .map(|fragment| u64::from(fragment.live_rows()))
            .sum()
    }
}

impl FieldView {
    /// A column that the table does not have any more: its files are recognised by its id alone.
    pub fn gone(id: FieldId, name: &str) -> Self {
        Self {
            id,
            name: name.to_owned(),
            data_type: String::new(),
            nullable: true,
            metadata: BTreeMap::new(),
            tree_ids: vec![id],
        }
    }

    /// Whether it stands for a column that the table does not have any more: only those have no type.
    pub fn is_gone(&self) -> bool {
        self.data_type.is_empty()
    }
}

impl FragmentView {
    /// About how many bytes the given fields take, each column of a file taken for equally wide.
    ///
    /// `None` where the manifest does not tell the size of a file.
    pub fn bytes_of(&self, fields: &[FieldId]) -> Option<u64> {
        let mut bytes = 0;
        for file in self.files.iter().chain(&self.overlays) {
            let all = file.fields.iter().filter(|id| **id >= 0).count() as u64;
            let wanted = file.fields.iter().filter(|id| fields.contains(id)).count() as u64;
            if wanted > 0 {
                bytes += file.size_bytes? * wanted / all.max(1);
            }
        }
        Some(bytes)
    }

    /// Rows that are not deleted.
    pub fn live_rows(&self) -> u32 {
        let deleted = self.deletion.as_ref().map_or(0, |deletion| deletion.rows);
        self.physical_rows.saturating_sub(deleted)
    }
}
