//! Columns of every type, as inputs and as outputs, in every file version.

use std::sync::Arc;

use arrow_array::builder::{
    BinaryBuilder, Decimal128Builder, FixedSizeListBuilder, Float32Builder, Int32Builder,
    ListBuilder, StringDictionaryBuilder,
};
use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, BooleanArray, Date32Array, Float64Array, RecordBatch, StructArray,
    TimestampMicrosecondArray,
};
use arrow_schema::{DataType, Field};
use lance_file::version::LanceFileVersion;

use crate::support::table::batch;
use crate::support::{Row, Scenario, Shape, Table, ints, texts};

mod blobs;
mod floats;
pub(crate) mod further;
mod wide;

const ROWS: i64 = 60;

/// Each third value is NULL.
fn sparse(id: i64) -> Option<i64> {
    (id % 3 != 2).then_some(id)
}

pub(crate) fn rows() -> RecordBatch {
    let sparse_ids = || (0..ROWS).map(sparse);
    let float = |id: Option<i64>| id.map(|id| id as f64 / 4.0);
    let small = |id: Option<i64>| id.and_then(|id| i32::try_from(id).ok());
    let booleans: BooleanArray = sparse_ids().map(|id| id.map(|id| id % 2 == 0)).collect();
    let floats: Float64Array = sparse_ids().map(float).collect();
    let dates: Date32Array = sparse_ids()
        .map(|id| small(id).map(|day| 19_000 + day))
        .collect();
    let instants: TimestampMicrosecondArray = sparse_ids()
        .map(|id| id.map(|id| 1_600_000_000_000_000 + id * 1_234_567))
        .collect();
    let mut decimals = Decimal128Builder::new()
        .with_precision_and_scale(12, 2)
        .expect("a decimal type");
    let mut lists = ListBuilder::new(Int32Builder::new());
    let mut vectors = FixedSizeListBuilder::new(Float32Builder::new(), 3);
    let mut bytes = BinaryBuilder::new();
    let mut words = StringDictionaryBuilder::<Int32Type>::new();
    for id in sparse_ids() {
        decimals.append_option(id.map(|id| i128::from(id) * 125));
        for item in 0..id.unwrap_or_default() % 4 {
            lists
                .values()
                .append_option(small(Some(item)).filter(|item| *item != 1));
        }
        lists.append(id.is_some());
        for item in 0..3_i16 {
            let base = small(id).unwrap_or_default();
            vectors.values().append_value(f32::from(item) + base as f32);
        }
        vectors.append(id.is_some());
        bytes.append_option(id.map(|id| format!("bytes {id}").into_bytes()));
        words.append_option(
            id.map(|id| ["red", "green", "blue"][usize::try_from(id % 3).unwrap_or(0)]),
        );
    }
    let parts: StructArray = StructArray::from(vec![
        (
            Arc::new(Field::new("x", DataType::Int64, true)),
            ints(sparse_ids()),
        ),
        (
            Arc::new(Field::new("y", DataType::Utf8, true)),
            texts(sparse_ids().map(|id| id.map(|id| format!("y{id}")))) as ArrayRef,
        ),
    ]);
    batch(&[
        ("id", ints((0..ROWS).map(Some))),
        ("flag", Arc::new(booleans)),
        ("f", Arc::new(floats)),
        (
            "s",
            texts(sparse_ids().map(|id| id.map(|id| format!("Text {id}")))),
        ),
        ("day", Arc::new(dates)),
        ("at", Arc::new(instants)),
        ("price", Arc::new(decimals.finish())),
        ("list", Arc::new(lists.finish())),
        ("vector", Arc::new(vectors.finish())),
        ("raw", Arc::new(bytes.finish())),
        ("word", Arc::new(words.finish())),
        ("part", Arc::new(parts)),
    ])
}

/// Expression, further options, and the value of a row as text.
type Case = (
    &'static str,
    &'static [&'static str],
    fn(&Row) -> Option<String>,
);

fn same(row: &Row, column: &str) -> Option<String> {
    row.text(column).map(str::to_owned)
}

const CASES: &[Case] = &[
    ("s", &[], |row| same(row, "s")),
    ("upper(s)", &[], |row| {
        same(row, "s").map(|s| s.to_uppercase())
    }),
    ("NOT flag", &[], |row| {
        same(row, "flag").map(|flag| (flag == "false").to_string())
    }),
    ("f * 2", &[], |row| {
        let f: f64 = row.text("f")?.parse().ok()?;
        Some(format!("{:?}", f * 2.0))
    }),
    ("day", &[], |row| same(row, "day")),
    ("at", &[], |row| same(row, "at")),
    ("date_part('year', at)", &[], |row| {
        same(row, "at").map(|at| at[..4].to_owned())
    }),
    ("price", &[], |row| same(row, "price")),
    ("CAST(price * 2 AS DECIMAL(12, 2))", &[], |row| {
        let cents = sparse(row.id())? * 250;
        Some(format!("{}.{:02}", cents / 100, cents % 100))
    }),
    ("list", &[], |row| same(row, "list")),
    ("coalesce(array_length(list), 0)", &[], |row| {
        Some((sparse(row.id()).unwrap_or(0) % 4).to_string())
    }),
    ("vector", &[], |row| same(row, "vector")),
    ("raw", &[], |row| same(row, "raw")),
    ("word", &["--type", "string"], |row| same(row, "word")),
    ("word = 'red'", &[], |row| {
        same(row, "word").map(|word| (word == "red").to_string())
    }),
    ("part", &[], |row| same(row, "part")),
    ("part.x + 1", &[], |row| {
        sparse(row.id()).map(|id| (id + 1).to_string())
    }),
    ("part['y']", &[], |row| {
        sparse(row.id()).map(|id| format!("y{id}"))
    }),
    ("named_struct('n', id, 't', s)", &[], |row| {
        Some(format!(
            "{{n: {}, t: {}}}",
            row.id(),
            row.text("s").unwrap_or("")
        ))
    }),
    ("make_array(id, id + 1)", &[], |row| {
        Some(format!("[{}, {}]", row.id(), row.id() + 1))
    }),
    ("42", &[], |_| Some("42".to_owned())),
    ("'constant'", &[], |_| Some("constant".to_owned())),
    ("NULL", &["--type", "string"], |_| None),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_type_is_read_and_written_in_every_file_version() {
    for storage in [
        LanceFileVersion::V2_0,
        LanceFileVersion::V2_1,
        LanceFileVersion::V2_2,
    ] {
        let shape = Shape {
            storage,
            fragment_rows: 25,
            ..Shape::default()
        };
        let scenario = Scenario::on(Table::of(shape, rows()).await);
        let flags = scenario.flags().await;
        for (place, (sql, options, _)) in CASES.iter().enumerate() {
            scenario.add(&format!("o{place}"), sql, options);
        }
        for (place, report) in scenario
            .refresh_with(&["--batch-rows", "10"])
            .columns
            .iter()
            .enumerate()
        {
            assert_eq!(
                report.rows_assigned, 60,
                "{storage:?}: {} of {place}",
                report.column
            );
        }
        for (place, (_, _, expected)) in CASES.iter().enumerate() {
            scenario.check(&format!("o{place}"), expected).await;
        }
        scenario.expect_rest().await;
        scenario.append_batch(rows()).await;
        let report = scenario.refresh();
        for (place, (sql, _, expected)) in CASES.iter().enumerate() {
            let column = format!("o{place}");
            assert_eq!(report.assigned(&column), 60, "{storage:?}: {sql}");
            scenario.check(&column, expected).await;
        }
        scenario.expect_rest().await;
        assert_eq!(scenario.flags().await, flags, "{storage:?}");
    }
}
