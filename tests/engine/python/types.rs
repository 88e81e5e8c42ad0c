//! Values of every type, and NULLs, go through a host and come back as they were.

use arrow_array::RecordBatch;

use crate::support::{Functions, Report, Scenario, Shape, Table};
use crate::types;

/// A column, and its type as a function declares it.
type Case = (&'static str, &'static str);

const USUAL: &[Case] = &[
    ("flag", "pa.bool_()"),
    ("f", "pa.float64()"),
    ("s", "pa.string()"),
    ("day", "pa.date32()"),
    ("at", "pa.timestamp('us')"),
    ("price", "pa.decimal128(12, 2)"),
    ("list", "pa.list_(pa.int32())"),
    ("vector", "pa.list_(pa.float32(), 3)"),
    ("raw", "pa.binary()"),
    // A dictionary column cannot be computed, and is read as its values.
    ("word", "pa.string()"),
    ("part", "pa.struct([('x', pa.int64()), ('y', pa.string())])"),
];

const UNCOMMON: &[Case] = &[
    ("large", "pa.large_string()"),
    ("time", "pa.time64('us')"),
    ("span", "pa.duration('ms')"),
    ("tiny", "pa.int8()"),
    ("unsigned", "pa.uint32()"),
    ("float", "pa.float32()"),
    ("wide", "pa.decimal256(40, 3)"),
    ("digest", "pa.binary(8)"),
    ("longs", "pa.large_list(pa.string())"),
    (
        "nested",
        "pa.list_(pa.struct([('n', pa.int64()), ('words', pa.list_(pa.string()))]))",
    ),
];

/// Types whose values Python has no exact form for: nanoseconds.
const ARRAYS_ONLY: &[Case] = &[
    ("zoned", "pa.timestamp('ns', 'UTC')"),
    (
        "box",
        "pa.struct([('vector', pa.list_(pa.float32(), 2)), ('inner', pa.struct([('at', pa.timestamp('ns'))]))])",
    ),
];

fn code(cases: &[Case], kind: &str) -> String {
    cases
        .iter()
        .map(|(column, data_type)| match kind {
            "array" => format!(
                "@udf(data_type={data_type})\ndef {kind}_{column}({column}: pa.Array) -> pa.Array:\n    return {column}.dictionary_decode() if pa.types.is_dictionary({column}.type) else {column}\n\n"
            ),
            _ => format!("@udf(data_type={data_type})\ndef {kind}_{column}({column}):\n    return {column}\n\n"),
        })
        .collect()
}

async fn round_trip(rows: RecordBatch, groups: &[(&[Case], &str)]) {
    let all: String = groups
        .iter()
        .map(|(cases, kind)| code(cases, kind))
        .collect();
    let Some(functions) = Functions::new(&all) else {
        return;
    };
    let scenario = Scenario::on(Table::of(Shape::default().fragments_of(25), rows).await);
    let columns: Vec<(String, &str)> = (groups.iter())
        .flat_map(|(cases, kind)| {
            cases
                .iter()
                .map(move |(name, _)| (format!("{kind}_{name}"), *name))
        })
        .collect();
    for (column, _) in &columns {
        functions.add(&scenario, column, column, &[]);
    }
    let outcome = functions.run(&scenario, &["refresh"], &[]).expect_code(0);
    let report = Report::read(outcome.json());
    for (column, input) in &columns {
        assert_eq!(report.assigned(column), 60, "{column}");
        scenario
            .check(column, |row| row.text(input).map(str::to_owned))
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn usual_types_come_back_as_they_were() {
    let groups = [(USUAL, "scalar"), (&USUAL[6..], "array")];
    round_trip(types::rows(), &groups).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uncommon_types_come_back_as_they_were() {
    let groups = [(UNCOMMON, "scalar"), (ARRAYS_ONLY, "array")];
    round_trip(types::further::rows(), &groups).await;
}
