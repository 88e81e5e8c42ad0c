//! Blob columns as inputs: expressions and filters see the bytes.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, LargeBinaryArray, RecordBatch, StructArray};
use arrow_schema::{DataType, Field, Schema};
use lance::blob::{BlobArrayBuilder, BlobFieldOptions, blob_field_with_options};
use lance_file::version::LanceFileVersion;

use crate::support::{Row, Scenario, Shape, Table, ints};

/// Each file version with the blobs that it can have, and both kinds of row ids.
fn shapes() -> impl Iterator<Item = Shape> {
    let storages = [
        LanceFileVersion::V2_0,
        LanceFileVersion::V2_1,
        LanceFileVersion::V2_2,
    ];
    let shape = |storage, stable_row_ids| Shape {
        storage,
        stable_row_ids,
        fragment_rows: 40,
    };
    storages
        .into_iter()
        .flat_map(move |storage| [false, true].map(|stable| shape(storage, stable)))
}

/// The bytes of a row: NULL, empty, and of lengths that Lance stores in different places.
fn film(id: i64, take: i64) -> Option<Vec<u8>> {
    let length = match id % 7 {
        3 => return None,
        5 => 0,
        6 => 3_000,
        length => 4 + usize::try_from(length * 100).expect("small"),
    };
    let mut bytes = format!("{id}.{take}.").into_bytes();
    bytes.resize(length, b'x');
    Some(bytes)
}

fn film_of(row: &Row) -> Option<Vec<u8>> {
    film(row.id(), row.int("take").expect("a take"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A blob column as it is written to a file version.
fn blobs(storage: LanceFileVersion, values: &[Option<Vec<u8>>]) -> (Field, ArrayRef) {
    if storage != LanceFileVersion::V2_2 {
        let metadata = HashMap::from([("lance-encoding:blob".to_owned(), "true".to_owned())]);
        let field = Field::new("film", DataType::LargeBinary, true).with_metadata(metadata);
        let values: LargeBinaryArray = values.iter().map(Option::as_deref).collect();
        return (field, Arc::new(values));
    }
    // In the data file, in a file shared with others, and in a file of its own.
    let options = BlobFieldOptions::default()
        .with_inline_size_threshold(150)
        .with_dedicated_size_threshold(1_000.try_into().expect("not zero"));
    let mut builder = BlobArrayBuilder::new(values.len());
    for value in values {
        match value {
            Some(bytes) => builder.push_bytes(bytes),
            None => builder.push_null(),
        }
        .expect("a blob");
    }
    let values = builder.finish().expect("blobs");
    (blob_field_with_options("film", true, options), values)
}

/// Rows with blobs in `film`, the same bytes in `still`, and in `take` what they depend on.
fn rows(storage: LanceFileVersion, ids: Range<i64>, take: i64) -> RecordBatch {
    let values: Vec<_> = ids.clone().map(|id| film(id, take)).collect();
    let (field, films) = blobs(storage, &values);
    let stills: LargeBinaryArray = values.iter().map(Option::as_deref).collect();
    let fields = vec![
        Field::new("id", DataType::Int64, true),
        Field::new("take", DataType::Int64, true),
        field,
        Field::new("still", DataType::LargeBinary, true),
    ];
    let columns = vec![
        ints(ids.clone().map(Some)),
        ints(ids.map(|_| Some(take))),
        films,
        Arc::new(stills) as ArrayRef,
    ];
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("rows")
}

async fn scenario(shape: Shape, count: i64) -> Scenario {
    Scenario::on(Table::of(shape, rows(shape.storage, 0..count, 1)).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn expressions_and_filters_see_the_bytes_of_blobs() {
    for shape in shapes() {
        let scenario = scenario(shape, 100).await;
        // Rows that were deleted lie between those that are read.
        scenario.delete("id % 10 = 2").await;
        scenario.add("size", "octet_length(film)", &[]);
        scenario.add("hex", "encode(film, 'hex')", &[]);
        scenario.add("same", "md5(film) = md5(still)", &[]);
        scenario.add("digest", "encode(sha256(film), 'hex') || take", &[]);
        scenario.add("bytes", "film", &[]);
        scenario.add(
            "kind",
            "CASE WHEN film IS NULL THEN 'none' ELSE 'some' END",
            &[],
        );
        scenario.add("p", "id", &["--where", "octet_length(film) > 3"]);
        // In parts first, whole fragments then.
        for (options, count) in [(&["--batch-rows", "7"][..], 90), (&[][..], 60)] {
            let report = scenario.refresh_with(options);
            for column in ["size", "hex", "same", "digest", "bytes", "kind"] {
                assert_eq!(report.assigned(column), count, "{shape:?}: {column}");
            }
            let size = |row: &Row| film_of(row).map(|film| film.len().to_string());
            scenario.check("size", size).await;
            let text = |row: &Row| film_of(row).map(|film| hex(&film));
            scenario.check("hex", text).await;
            scenario.check("bytes", text).await;
            let same = |row: &Row| film_of(row).map(|_| "true".to_owned());
            scenario.check("same", same).await;
            let kind = |row: &Row| {
                let kind = film_of(row).map_or("none", |_| "some");
                Some(kind.to_owned())
            };
            scenario.check("kind", kind).await;
            let selected = |row: &Row| film_of(row).is_some_and(|film| film.len() > 3);
            let ids = |row: &Row| selected(row).then(|| row.id());
            scenario.check_int("p", ids).await;
            let filtered = scenario.rows().await;
            let filtered = filtered.iter().filter(|row| !selected(row)).count() as u64;
            assert_eq!(report.column("p").rows_filtered, filtered, "{shape:?}");
            scenario.expect_rest().await;
            if count == 90 {
                scenario
                    .append_batch(rows(shape.storage, 100..160, 1))
                    .await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn compactions_and_updates_of_rows_with_blobs_compute_what_changed() {
    for shape in shapes() {
        let scenario = scenario(shape, 200).await;
        scenario.add(
            "hex",
            "encode(film, 'hex')",
            &["--where", "film IS NOT NULL"],
        );
        scenario.refresh();
        let filled = scenario.version().await;
        scenario.delete("id % 10 = 2").await;
        let expect = async |computed: u64| {
            let report = scenario.refresh();
            assert_eq!(report.assigned("hex"), computed, "{shape:?}");
            let text = |row: &Row| film_of(row).map(|film| hex(&film));
            scenario.check("hex", text).await;
            scenario.expect_rest().await;
        };
        assert!(scenario.compact().await);
        expect(0).await;
        // The blobs of rows that move for another reason are the same.
        scenario
            .update("still", "NULL", "id >= 20 AND id < 50")
            .await;
        expect(0).await;
        // New bytes for nine rows, of which 66 is NULL and 68 is empty, as before.
        scenario.upsert(rows(shape.storage, 63..72, 2)).await;
        expect(7).await;
        assert!(scenario.compact().await);
        expect(0).await;
        scenario.restore(filled).await;
        expect(0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_reads_the_blobs_of_the_original() {
    for shape in shapes() {
        let scenario = scenario(shape, 100).await;
        let clone = Scenario::on(scenario.shallow_clone().await);
        clone.add("hex", "encode(film, 'hex')", &[]);
        assert_eq!(clone.refresh().assigned("hex"), 100, "{shape:?}");
        let text = |row: &Row| film_of(row).map(|film| hex(&film));
        clone.check("hex", text).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_column_is_refused_as_an_output() {
    for shape in shapes() {
        let scenario = scenario(shape, 20).await;
        let version = scenario.version().await;
        let adopted = scenario.try_add("film", "still", &["--adopt"]);
        adopted.expect_refusal(&[2], "blob");
        assert_eq!(scenario.version().await, version);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_inside_of_other_types_are_refused() {
    let storage = LanceFileVersion::V2_2;
    let flat = rows(storage, 0..20, 1);
    let film = (flat.schema().field_with_name("film").expect("there")).clone();
    let films = flat.column_by_name("film").expect("there").clone();
    let boxed = StructArray::from(vec![(Arc::new(film), films)]);
    let fields = vec![
        Field::new("id", DataType::Int64, true),
        Field::new("box", boxed.data_type().clone(), true),
    ];
    let columns = vec![flat.column(0).clone(), Arc::new(boxed) as ArrayRef];
    let nested = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("rows");
    let scenario = Scenario::on(Table::of(Shape::default(), nested).await);
    let version = scenario.version().await;
    let refused = scenario.try_add("p", "CASE WHEN \"box\" IS NULL THEN 1 END", &[]);
    refused.expect_refusal(&[2], "blobs inside");
    let refused = scenario.try_add("p", "id", &["--where", "\"box\" IS NOT NULL"]);
    refused.expect_refusal(&[2], "blobs inside");
    assert_eq!(scenario.version().await, version);
    scenario.add("p", "id + 1", &[]);
    assert_eq!(scenario.refresh().assigned("p"), 20);
}
