//! Digests and names that are stored and compared: another digest of the same makes every row of
//! every table stale, or hides its record.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{is_writing, path, samples};
use crate::commit::record_path;
use crate::identity::{fingerprint, of_fields, of_filter, place_of, record_key};
use crate::table::{DeletionView, FieldView, FileView, FragmentView};
use crate::testing::batch;

pub(super) const FILE: &str = "digests.json";

fn field(id: i32, tree_ids: &[i32]) -> FieldView {
    FieldView {
        id,
        name: format!("c{id}"),
        data_type: "float64".to_owned(),
        nullable: true,
        metadata: BTreeMap::new(),
        tree_ids: tree_ids.to_vec(),
    }
}

fn file(name: &str, fields: &[i32], columns: &[i32]) -> FileView {
    FileView {
        name: name.to_owned(),
        fields: Arc::from(fields),
        columns: Arc::from(columns),
        size_bytes: None,
    }
}

fn fragment(deletion: Option<DeletionView>) -> FragmentView {
    FragmentView {
        id: 6,
        physical_rows: 10,
        deletion,
        files: vec![
            file("a.lance", &[0, 1, -2, 4], &[0, 1, 2, 3]),
            file("b.lance", &[2, 3], &[0, 1]),
        ],
        overlays: vec![file("o.lance", &[1], &[0])],
    }
}

fn digests() -> BTreeMap<&'static str, String> {
    let plain = fragment(None);
    let deleted = fragment(Some(DeletionView {
        token: "6-12-1.arrow".to_owned(),
        rows: 1,
    }));
    let (simple, nested) = (field(0, &[0]), field(1, &[1, 2, 3]));
    let in_id = of_fields(&plain, [&simple, &nested]);
    let elig_id = of_filter(&plain, Some("c0 > 1"), [&simple]);
    let out = place_of(&plain, &[&field(4, &[4])]).map(|place| place.identity);
    let whole = |view| format!("{:016x}", fingerprint(view, in_id, elig_id, out));
    let (sql, python) = (samples::sql(), samples::python());
    let in_a_file = samples::coverage::record_of_a_file();
    let by_identity = samples::coverage::record_by_identity();
    BTreeMap::from([
        ("generation of sql", sql.generation().to_string()),
        ("generation of python", python.generation().to_string()),
        ("identity of fields", in_id.to_string()),
        ("identity of no field", of_fields(&plain, []).to_string()),
        (
            "identity of the filter",
            elig_id.expect("a filter").to_string(),
        ),
        ("identity of the column", out.expect("a column").to_string()),
        ("fingerprint", whole(&plain)),
        ("fingerprint with deletions", whole(&deleted)),
        (
            "fingerprint of a bare column",
            format!("{:016x}", fingerprint(&plain, in_id, None, None)),
        ),
        ("record key", record_key(6, in_id, elig_id, out).to_string()),
        ("permit", samples::permit().program.permit_path()),
        ("record of a file", record_path(&in_a_file, 0)),
        ("record by identity", record_path(&by_identity, 12)),
        ("batch", batch(7, 2).to_string()),
    ])
}

#[test]
fn digests_and_names_are_those_of_the_golden_file() {
    let today = serde_json::to_string_pretty(&digests()).expect("JSON") + "\n";
    if is_writing() {
        std::fs::create_dir_all(path("")).expect("a folder");
        std::fs::write(path(FILE), &today).expect("a file");
    }
    let golden = std::fs::read_to_string(path(FILE)).expect("a file");
    assert_eq!(today, golden);
}
