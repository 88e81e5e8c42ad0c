//! Nested and less common types, and those that are refused.

use std::sync::Arc;

use arrow_array::builder::{
    FixedSizeListBuilder, Float32Builder, Int64Builder, LargeListBuilder, ListBuilder,
    StringBuilder, StructBuilder,
};
use arrow_array::{
    Array, ArrayRef, Decimal256Array, DurationMillisecondArray, FixedSizeBinaryArray, Float32Array,
    Int8Array, LargeStringArray, RecordBatch, Time64MicrosecondArray, TimestampNanosecondArray,
    UInt32Array,
};
use arrow_buffer::i256;
use arrow_schema::{DataType, Field, Fields};
use lance_file::version::LanceFileVersion;

use super::sparse;
use crate::support::table::batch;
use crate::support::{Row, Scenario, Shape, Table, ints};

const ROWS: i64 = 60;

fn small(id: i64) -> i32 {
    i32::try_from(id).expect("small")
}

/// `list<struct<n, words: list<string>>>`, with NULLs and empty lists at each level.
fn lists_of_structs() -> ArrayRef {
    let word = || ListBuilder::new(StringBuilder::new());
    let fields = Fields::from(vec![
        Field::new("n", DataType::Int64, true),
        Field::new_list("words", Field::new("item", DataType::Utf8, true), true),
    ]);
    let items = StructBuilder::new(
        fields,
        vec![Box::new(Int64Builder::new()), Box::new(word())],
    );
    let mut lists = ListBuilder::new(items);
    for id in (0..ROWS).map(sparse) {
        for item in 0..id.unwrap_or_default() % 3 {
            let items = lists.values();
            (items.field_builder::<Int64Builder>(0).expect("n"))
                .append_option((item != 1).then_some(item));
            let words = (items.field_builder::<ListBuilder<StringBuilder>>(1)).expect("words");
            for word in 0..item {
                words.values().append_value(format!("w{word}"));
            }
            words.append(true);
            items.append(true);
        }
        lists.append(id.is_some());
    }
    Arc::new(lists.finish())
}

/// `struct<vector: fixed_size_list<float, 2>, inner: struct<at: timestamp>>`
fn structs_of_vectors() -> ArrayRef {
    let mut vectors = FixedSizeListBuilder::new(Float32Builder::new(), 2);
    for id in 0..ROWS {
        vectors.values().append_slice(&[small(id) as f32, 0.5]);
        vectors.append(true);
    }
    let vectors = vectors.finish();
    let instants: TimestampNanosecondArray = (0..ROWS).map(sparse).collect();
    let inner = arrow_array::StructArray::from(vec![(
        Arc::new(Field::new("at", instants.data_type().clone(), true)),
        Arc::new(instants) as ArrayRef,
    )]);
    let vector_type = vectors.data_type().clone();
    let inner_type = inner.data_type().clone();
    Arc::new(arrow_array::StructArray::from(vec![
        (
            Arc::new(Field::new("vector", vector_type, true)),
            Arc::new(vectors) as ArrayRef,
        ),
        (
            Arc::new(Field::new("inner", inner_type, true)),
            Arc::new(inner) as ArrayRef,
        ),
    ]))
}

pub(crate) fn rows() -> RecordBatch {
    let ids = || (0..ROWS).map(sparse);
    let large: LargeStringArray = ids().map(|id| id.map(|id| format!("large {id}"))).collect();
    let zoned: TimestampNanosecondArray = ids().map(|id| id.map(|id| id * 1_000_000_007)).collect();
    let times: Time64MicrosecondArray = ids().map(|id| id.map(|id| id * 1_000_003)).collect();
    let spans: DurationMillisecondArray = ids().map(|id| id.map(|id| id * 7)).collect();
    let tiny: Int8Array = ids()
        .map(|id| id.and_then(|id| i8::try_from(id).ok()))
        .collect();
    let unsigned: UInt32Array = ids()
        .map(|id| id.and_then(|id| u32::try_from(id).ok()))
        .collect();
    let floats: Float32Array = ids()
        .map(|id| id.map(|id| small(id) as f32 / 8.0))
        .collect();
    let wide: Decimal256Array = ids()
        .map(|id| id.map(|id| i256::from_i128(i128::from(id) * 1_001)))
        .collect();
    let digests = FixedSizeBinaryArray::try_from_sparse_iter_with_size(
        ids().map(|id| id.map(|id| id.to_be_bytes())),
        8,
    );
    let mut longs = LargeListBuilder::new(StringBuilder::new());
    for id in ids() {
        for item in 0..id.unwrap_or_default() % 3 {
            longs.values().append_value(format!("item {item}"));
        }
        longs.append(id.is_some());
    }
    batch(&[
        ("id", ints((0..ROWS).map(Some))),
        ("large", Arc::new(large)),
        ("zoned", Arc::new(zoned.with_timezone("UTC"))),
        ("time", Arc::new(times)),
        ("span", Arc::new(spans)),
        ("tiny", Arc::new(tiny)),
        ("unsigned", Arc::new(unsigned)),
        ("float", Arc::new(floats)),
        (
            "wide",
            Arc::new(
                wide.with_precision_and_scale(40, 3)
                    .expect("a decimal type"),
            ),
        ),
        ("digest", Arc::new(digests.expect("eight bytes each"))),
        ("longs", Arc::new(longs.finish())),
        ("nested", lists_of_structs()),
        ("box", structs_of_vectors()),
    ])
}

/// Expression and the column whose values it gives back.
const SAME: &[(&str, &str)] = &[
    ("large", "large"),
    ("zoned", "zoned"),
    ("time", "time"),
    ("span", "span"),
    ("tiny", "tiny"),
    ("unsigned", "unsigned"),
    ("float", "float"),
    ("wide", "wide"),
    ("digest", "digest"),
    ("longs", "longs"),
    ("nested", "nested"),
    ("\"box\"", "box"),
    ("CASE WHEN id >= 0 THEN nested END", "nested"),
    ("coalesce(\"box\", \"box\")", "box"),
];

/// Expression and its value as text.
type Case = (&'static str, fn(&Row) -> Option<String>);

const READ: &[Case] = &[
    ("array_length(nested)", |row| {
        sparse(row.id()).map(|id| (id % 3).to_string())
    }),
    ("nested[1]['n'] + 5", |row| {
        (sparse(row.id())? % 3 > 0).then(|| "5".to_owned())
    }),
    ("\"box\"['vector'][1] * 2", |row| {
        Some(format!("{:?}", small(row.id()) as f32 * 2.0))
    }),
    ("\"box\"['inner']['at'] IS NULL", |row| {
        Some(sparse(row.id()).is_none().to_string())
    }),
    ("longs[1]", |row| {
        (sparse(row.id())? % 3 > 0).then(|| "item 0".to_owned())
    }),
    ("date_part('second', zoned)", |row| {
        sparse(row.id()).map(|id| (id * 1_000_000_007 / 1_000_000_000 % 60).to_string())
    }),
    ("tiny + 1", |row| {
        sparse(row.id()).map(|id| (id + 1).to_string())
    }),
];

#[tokio::test(flavor = "multi_thread")]
async fn nested_and_uncommon_types_are_read_and_written_in_every_file_version() {
    for (storage, stable_row_ids) in [
        (LanceFileVersion::V2_0, true),
        (LanceFileVersion::V2_1, false),
        (LanceFileVersion::V2_2, true),
    ] {
        let shape = Shape {
            storage,
            stable_row_ids,
            fragment_rows: 25,
        };
        let scenario = Scenario::on(Table::of(shape, rows()).await);
        let flags = scenario.flags().await;
        for (place, (sql, _)) in SAME.iter().enumerate() {
            scenario.add(&format!("same{place}"), sql, &[]);
        }
        for (place, (sql, _)) in READ.iter().enumerate() {
            scenario.add(&format!("read{place}"), sql, &[]);
        }
        // In parts first, whole fragments then.
        for (turn, options) in [&["--batch-rows", "10"][..], &[][..]]
            .into_iter()
            .enumerate()
        {
            if turn == 1 {
                scenario.append_batch(rows()).await;
            }
            let report = scenario.refresh_with(options);
            for column in &report.columns {
                assert_eq!(column.rows_assigned, 60, "{storage:?}: {}", column.column);
            }
            for (place, (_, input)) in SAME.iter().enumerate() {
                let expected = |row: &Row| row.text(input).map(str::to_owned);
                scenario.check(&format!("same{place}"), expected).await;
            }
            for (place, (_, expected)) in READ.iter().enumerate() {
                scenario.check(&format!("read{place}"), expected).await;
            }
            scenario.expect_rest().await;
        }
        assert_eq!(scenario.flags().await, flags, "{storage:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dictionaries_are_refused_as_outputs() {
    let scenario = Scenario::on(Table::of(Shape::default(), rows()).await);
    let version = scenario.version().await;
    let sql = "arrow_cast(CAST(id AS VARCHAR), 'Dictionary(Int32, Utf8)')";
    (scenario.try_add("p", sql, &[])).expect_refusal(&[2], "dictionary");
    assert_eq!(scenario.version().await, version);
}
