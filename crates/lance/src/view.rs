//! A Lance manifest as the core sees it.

use std::collections::BTreeMap;

use lance::Dataset;
use lance_backfill_core::table::{DeletionView, FieldView, FileView, FragmentView, TableView};
use lance_backfill_core::types::column_type_name;
use lance_core::datatypes::Field as LanceField;
use lance_table::feature_flags::FLAG_FRAGMENT_REUSE_INDEX;
use lance_table::format::{DataFile, Fragment};

/// Reads the view of an open dataset; no I/O.
pub(crate) fn of_dataset(dataset: &Dataset) -> TableView {
    let manifest = dataset.manifest();
    let mut fragments: Vec<FragmentView> = manifest.fragments.iter().map(fragment).collect();
    fragments.sort_unstable_by_key(|fragment| fragment.id);
    TableView {
        version: dataset.version_id(),
        created_ms: u64::try_from(manifest.timestamp_nanos / 1_000_000).unwrap_or_default(),
        fields: dataset.schema().fields.iter().map(field).collect(),
        fragments,
        metadata: sorted(&manifest.table_metadata),
        stable_row_ids: manifest.uses_stable_row_ids(),
        rewrites_redistribute: (manifest.reader_feature_flags | manifest.writer_feature_flags)
            & FLAG_FRAGMENT_REUSE_INDEX
            != 0,
    }
}

fn sorted(map: &std::collections::HashMap<String, String>) -> BTreeMap<String, String> {
    map.iter()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

fn field(field: &LanceField) -> FieldView {
    let mut tree_ids = vec![];
    collect_ids(field, &mut tree_ids);
    FieldView {
        id: field.id,
        name: field.name.clone(),
        data_type: column_type_name(&field.data_type()),
        nullable: field.nullable,
        metadata: sorted(&field.metadata),
        tree_ids,
    }
}

fn collect_ids(field: &LanceField, ids: &mut Vec<i32>) {
    ids.push(field.id);
    for child in &field.children {
        collect_ids(child, ids);
    }
}

fn fragment(fragment: &Fragment) -> FragmentView {
    let physical_rows = fragment
        .physical_rows
        .and_then(|rows| u32::try_from(rows).ok())
        .unwrap_or(u32::MAX);
    FragmentView {
        id: fragment.id,
        physical_rows,
        deletion: fragment
            .deletion_file
            .as_ref()
            .map(|deletion| DeletionView {
                token: format!("{}-{}", deletion.read_version, deletion.id),
                rows: deletion
                    .num_deleted_rows
                    .and_then(|rows| u32::try_from(rows).ok())
                    .unwrap_or(0),
            }),
        files: fragment.files.iter().map(file).collect(),
        overlays: fragment
            .overlays
            .iter()
            .map(|overlay| file(&overlay.data_file))
            .collect(),
    }
}

fn file(file: &DataFile) -> FileView {
    FileView {
        name: file.path.clone(),
        fields: file.fields.clone(),
        columns: file.column_indices.clone(),
        size_bytes: file.file_size_bytes.get().map(Into::into),
    }
}
