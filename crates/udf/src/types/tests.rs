//! Claims about the names of types.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, IntervalUnit, TimeUnit};
use proptest::prelude::*;

use super::{TypeError, check_storable, normalise, parse_type, type_name};

fn list_of(item: DataType) -> DataType {
    DataType::new_list(item, true)
}

#[test]
fn sql_lance_and_arrow_names_are_read() {
    let utc = Some("UTC".into());
    let structure = DataType::Struct(Fields::from(vec![
        Field::new("a", DataType::Int32, false),
        Field::new("b c", DataType::Utf8, true),
    ]));
    for (text, expected) in [
        ("DOUBLE", DataType::Float64),
        ("double", DataType::Float64),
        ("Double Precision", DataType::Float64),
        ("BIGINT", DataType::Int64),
        ("int", DataType::Int32),
        ("int8", DataType::Int8),
        ("SMALLINT UNSIGNED", DataType::UInt16),
        ("VARCHAR", DataType::Utf8),
        ("VARCHAR(10)", DataType::Utf8),
        ("TEXT", DataType::Utf8),
        ("bytea", DataType::Binary),
        ("DATE", DataType::Date32),
        ("TIMESTAMP", DataType::Timestamp(TimeUnit::Nanosecond, None)),
        (
            "TIMESTAMP(6)",
            DataType::Timestamp(TimeUnit::Microsecond, None),
        ),
        (
            "timestamp(us)",
            DataType::Timestamp(TimeUnit::Microsecond, None),
        ),
        (
            "timestamp[us]",
            DataType::Timestamp(TimeUnit::Microsecond, None),
        ),
        (
            "timestamp[ms, tz=UTC]",
            DataType::Timestamp(TimeUnit::Millisecond, utc.clone()),
        ),
        (
            "timestamp(ms, \"UTC\")",
            DataType::Timestamp(TimeUnit::Millisecond, utc),
        ),
        ("DECIMAL(10,2)", DataType::Decimal128(10, 2)),
        ("NUMERIC(40, 2)", DataType::Decimal256(40, 2)),
        ("FLOAT", DataType::Float32),
        ("float", DataType::Float32),
        ("FLOAT[]", list_of(DataType::Float32)),
        (
            "FLOAT[4]",
            DataType::new_fixed_size_list(DataType::Float32, 4, true),
        ),
        ("string", DataType::Utf8),
        ("bool", DataType::Boolean),
        ("halffloat", DataType::Float16),
        (" list< int32 > ", list_of(DataType::Int32)),
        (
            "fixed_size_list<float, 128>",
            DataType::new_fixed_size_list(DataType::Float32, 128, true),
        ),
        ("struct<a: int32 not null, \"b c\": string>", structure),
        ("Float64", DataType::Float64),
        ("Utf8", DataType::Utf8),
        ("LargeUtf8", DataType::LargeUtf8),
        ("Int8", DataType::Int8),
        ("List(Int32)", list_of(DataType::Int32)),
        (
            "FixedSizeList(4 x Float32)",
            DataType::new_fixed_size_list(DataType::Float32, 4, true),
        ),
        (
            "Timestamp(ns)",
            DataType::Timestamp(TimeUnit::Nanosecond, None),
        ),
        ("Decimal128(10, 2)", DataType::Decimal128(10, 2)),
    ] {
        assert_eq!(parse_type(text), Ok(expected), "{text}");
    }
}

#[test]
fn what_is_no_type_is_refused_with_its_text() {
    let deep = "list<".repeat(10_000);
    let long = "x".repeat(1 << 20);
    let dimensions = format!("FLOAT{}", "[]".repeat(100));
    for text in [
        "",
        "  ",
        "flot",
        "list<",
        "list<int32",
        "list<int32>>",
        "list<flot>",
        "struct<a int32>",
        "fixed_size_list<float, -1>",
        "fixed_size_list<float, 99999999999>",
        "decimal128(39, 2)",
        "decimal128(5, 6)",
        "time32(ns)",
        "timestamp(h)",
        "int32; DROP TABLE t",
        "int32) + CAST(1 AS int",
        "DOUBLE) FROM t",
        "\"",
        "struct<\"a: int32>",
        "\0",
        &deep,
        &dimensions,
        &long,
    ] {
        let error = parse_type(text).expect_err(text);
        assert!(
            matches!(error, TypeError::NotAType { .. }),
            "{text}: {error}"
        );
        let message = error.to_string();
        assert!(message.contains("is not a type"), "{message}");
        assert!(message.len() < 500 && !message.contains('\n'), "{message}");
    }
}

#[test]
fn canonical_names_do_not_change() {
    // These strings are stored in tables: a change here needs a migration.
    for (data_type, name) in [
        (DataType::Utf8, "string"),
        (DataType::Float64, "float64"),
        (
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            "timestamp(us, \"UTC\")",
        ),
        (DataType::Decimal128(10, -2), "decimal128(10, -2)"),
        (
            DataType::new_fixed_size_list(DataType::Float32, 8, true),
            "fixed_size_list<float32, 8>",
        ),
        (
            DataType::new_list(DataType::Utf8, false),
            "list<string not null>",
        ),
        (
            DataType::List(Arc::new(Field::new("element", DataType::Int8, true))),
            "list<element: int8>",
        ),
        (
            DataType::Struct(Fields::from(vec![
                Field::new("a", DataType::Int32, false),
                Field::new("b \"c\"", DataType::Date32, true),
            ])),
            "struct<a: int32 not null, \"b \"\"c\"\"\": date32>",
        ),
    ] {
        assert_eq!(type_name(&data_type).as_deref(), Ok(name));
    }
}

#[test]
fn types_that_no_column_can_have_have_no_name() {
    let tagged = Field::new("item", DataType::Int8, true)
        .with_metadata([("key".to_owned(), "value".to_owned())].into());
    for data_type in [
        DataType::Utf8View,
        DataType::Interval(IntervalUnit::DayTime),
        DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8)),
        DataType::List(Arc::new(tagged)),
    ] {
        let error = type_name(&data_type).expect_err("a type without a name");
        assert!(matches!(error, TypeError::NoName { .. }), "{error}");
    }
}

#[test]
fn views_are_replaced_at_every_level() {
    let item = Arc::new(Field::new("v", DataType::Utf8View, false));
    let viewed = DataType::Struct(Fields::from(vec![
        Field::new("a", DataType::ListView(Arc::clone(&item)), true),
        Field::new("b", DataType::LargeListView(item), true),
        Field::new(
            "c",
            DataType::new_fixed_size_list(DataType::BinaryView, 2, true),
            true,
        ),
    ]));
    let item = Arc::new(Field::new("v", DataType::Utf8, false));
    let plain = DataType::Struct(Fields::from(vec![
        Field::new("a", DataType::List(Arc::clone(&item)), true),
        Field::new("b", DataType::LargeList(item), true),
        Field::new(
            "c",
            DataType::new_fixed_size_list(DataType::Binary, 2, true),
            true,
        ),
    ]));
    assert_eq!(normalise(&viewed), plain);
    assert!(check_storable(&viewed).is_err());
    assert_eq!(check_storable(&plain), Ok(()));
}

#[test]
fn types_that_lance_does_not_store_are_refused_with_advice() {
    for (data_type, advice) in [
        (DataType::Interval(IntervalUnit::MonthDayNano), "timestamp"),
        (
            DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8)),
            "type of its values, Utf8",
        ),
        (DataType::Decimal32(5, 2), "decimal128(5, 2)"),
        (DataType::Struct(Fields::empty()), "at least one field"),
        (
            DataType::new_fixed_size_list(list_of(DataType::Int8), 2, true),
            "variable-size",
        ),
        (
            list_of(DataType::Interval(IntervalUnit::DayTime)),
            "timestamp",
        ),
    ] {
        let message = check_storable(&data_type).expect_err("refused").to_string();
        assert!(message.contains(advice), "{message}");
    }
    assert_eq!(check_storable(&DataType::Null), Err(TypeError::NoType));
    assert_eq!(
        check_storable(&list_of(DataType::Null)),
        Err(TypeError::NoType)
    );
    assert_eq!(check_storable(&DataType::Float16), Ok(()));
}

fn unit() -> impl Strategy<Value = TimeUnit> {
    prop_oneof![
        Just(TimeUnit::Second),
        Just(TimeUnit::Millisecond),
        Just(TimeUnit::Microsecond),
        Just(TimeUnit::Nanosecond),
    ]
}

fn leaf() -> impl Strategy<Value = DataType> {
    prop_oneof![
        prop::sample::select(vec![
            DataType::Null,
            DataType::Boolean,
            DataType::Int8,
            DataType::Int16,
            DataType::Int32,
            DataType::Int64,
            DataType::UInt8,
            DataType::UInt16,
            DataType::UInt32,
            DataType::UInt64,
            DataType::Float16,
            DataType::Float32,
            DataType::Float64,
            DataType::Utf8,
            DataType::LargeUtf8,
            DataType::Binary,
            DataType::LargeBinary,
            DataType::Date32,
            DataType::Date64,
            DataType::Time32(TimeUnit::Second),
            DataType::Time32(TimeUnit::Millisecond),
            DataType::Time64(TimeUnit::Microsecond),
            DataType::Time64(TimeUnit::Nanosecond),
        ]),
        (0..=i32::MAX).prop_map(DataType::FixedSizeBinary),
        unit().prop_map(DataType::Duration),
        (unit(), proptest::option::of(".{0,8}"))
            .prop_map(|(unit, zone)| DataType::Timestamp(unit, zone.map(Into::into))),
        (1..=38_u8)
            .prop_flat_map(|precision| (Just(precision), i8::MIN..=precision as i8))
            .prop_map(|(precision, scale)| DataType::Decimal128(precision, scale)),
        (1..=76_u8)
            .prop_flat_map(|precision| (Just(precision), i8::MIN..=precision as i8))
            .prop_map(|(precision, scale)| DataType::Decimal256(precision, scale)),
    ]
}

fn data_type() -> impl Strategy<Value = DataType> {
    leaf().prop_recursive(4, 24, 4, |inner| {
        let name = prop_oneof![".{0,6}", Just("item".to_owned()), Just("not".to_owned())];
        let field = (name, inner, any::<bool>())
            .prop_map(|(name, data_type, nullable)| Field::new(name, data_type, nullable));
        prop_oneof![
            field
                .clone()
                .prop_map(|item| DataType::List(Arc::new(item))),
            field
                .clone()
                .prop_map(|item| DataType::LargeList(Arc::new(item))),
            (field.clone(), 0..=i32::MAX)
                .prop_map(|(item, size)| DataType::FixedSizeList(Arc::new(item), size)),
            prop::collection::vec(field.clone(), 0..4)
                .prop_map(|fields| DataType::Struct(fields.into())),
            (field.clone(), field).prop_map(|(key, value)| {
                let entry = vec![key.with_name("key"), value.with_name("value")];
                let entries = Field::new("entries", DataType::Struct(entry.into()), false);
                DataType::Map(Arc::new(entries), false)
            }),
        ]
    })
}

proptest! {
    #[test]
    fn every_canonical_name_is_read_back_to_the_same_type(data_type in data_type()) {
        let name = type_name(&data_type).unwrap();
        prop_assert_eq!(parse_type(&name), Ok(data_type));
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in ".{0,40}") {
        let _ = parse_type(&text);
    }
}
