//! Claims about lossless casts, each tried with Arrow's own cast on extreme values.

use std::sync::Arc;

use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{
    Array, ArrayRef, BinaryArray, Date32Array, FixedSizeBinaryArray, PrimitiveArray, StringArray,
    TimestampSecondArray,
};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{DataType, Field, Fields, TimeUnit};

use super::widens;

macro_rules! numbers {
    ($kind:ty, $native:ty, [$($value:expr),*]) => {
        Arc::new(PrimitiveArray::<$kind>::from_iter_values([<$native>::MIN, <$native>::MAX, $($value),*]))
            as ArrayRef
    };
}

/// Arrays with the extremes of each type, and values that round or overflow elsewhere.
fn extremes() -> Vec<ArrayRef> {
    let decimal = |values: Vec<i128>, precision, scale| -> ArrayRef {
        let array = arrow_array::Decimal128Array::from(values);
        Arc::new(
            array
                .with_precision_and_scale(precision, scale)
                .expect("fits"),
        )
    };
    vec![
        numbers!(Int8Type, i8, [0, 1]),
        numbers!(Int16Type, i16, [0, i16::MAX - 1]),
        numbers!(Int32Type, i32, [0, i32::MAX - 1, (1 << 24) + 1]),
        numbers!(Int64Type, i64, [0, i64::MAX - 1, (1 << 53) + 1]),
        numbers!(UInt8Type, u8, [1]),
        numbers!(UInt16Type, u16, [u16::MAX - 1]),
        numbers!(UInt32Type, u32, [u32::MAX - 1, (1 << 24) + 1]),
        numbers!(UInt64Type, u64, [u64::MAX - 1, (1 << 53) + 1]),
        numbers!(Float32Type, f32, [0.1, -0.0, f32::MIN_POSITIVE]),
        numbers!(Float64Type, f64, [0.1, -0.0, f64::MIN_POSITIVE]),
        decimal(vec![999, -999, 1], 3, 2),
        decimal(vec![99_999, -99_999, 1], 5, 0),
        decimal(vec![10_i128.pow(38) - 1, 1 - 10_i128.pow(38)], 38, 10),
        Arc::new(StringArray::from(vec!["", "12", "x", "2024-01-01"])),
        Arc::new(BinaryArray::from(vec![&b""[..], b"\xff\xfe"])),
        Arc::new(FixedSizeBinaryArray::try_from_iter([b"ab", b"\xff\xfe"].iter()).expect("bytes")),
        // Arrow casts timestamps back to dates for some 260,000 years only.
        Arc::new(Date32Array::from(vec![-95_000_000, 95_000_000, 0])),
        Arc::new(TimestampSecondArray::from(vec![i64::MIN, i64::MAX, 0])),
    ]
}

fn targets() -> Vec<DataType> {
    use TimeUnit::{Microsecond, Millisecond, Nanosecond, Second};
    let mut targets: Vec<DataType> = extremes().iter().map(|a| a.data_type().clone()).collect();
    targets.extend([
        DataType::Float16,
        DataType::LargeUtf8,
        DataType::LargeBinary,
        DataType::Date64,
        DataType::Boolean,
        DataType::Decimal128(5, 2),
        DataType::Decimal128(20, 0),
        DataType::Decimal128(38, 19),
        DataType::Decimal256(76, 20),
    ]);
    targets.extend(
        [Second, Millisecond, Microsecond, Nanosecond].map(|unit| DataType::Timestamp(unit, None)),
    );
    targets
}

#[test]
fn what_widens_is_cast_there_and_back_without_loss() {
    let options = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    let mut tried = 0;
    for values in extremes() {
        for to in targets() {
            let from = values.data_type();
            if !widens(from, &to) {
                continue;
            }
            tried += 1;
            let there = cast_with_options(&values, &to, &options)
                .unwrap_or_else(|error| panic!("{from} to {to}: {error}"));
            let back = cast_with_options(&there, from, &options);
            // Arrow has no way back from binary values of any size to those of a fixed one.
            if matches!(from, DataType::FixedSizeBinary(_)) && back.is_err() {
                continue;
            }
            assert_eq!(&back.expect("casts back"), &values, "{from} to {to}");
        }
    }
    assert!(tried > 50, "{tried} pairs were tried");
}

#[test]
fn what_can_lose_something_does_not_widen() {
    use DataType as T;
    let seconds = T::Timestamp(TimeUnit::Second, None);
    for (from, to) in [
        (T::Int64, T::Int32),
        (T::Int8, T::UInt64),
        (T::UInt64, T::Int64),
        (T::Int64, T::Float64),
        (T::Int32, T::Float32),
        (T::UInt16, T::Float16),
        (T::Float64, T::Float32),
        (T::Float64, T::Int64),
        (T::Boolean, T::Int64),
        (T::Int64, T::Utf8),
        (T::Utf8, T::Int64),
        (T::Utf8, T::Binary),
        (T::LargeUtf8, T::Utf8),
        (T::Int64, T::Decimal128(18, 0)),
        (T::Decimal128(10, 2), T::Decimal128(11, 3 + 1)),
        (T::Decimal128(10, 2), T::Decimal128(20, 1)),
        (T::Decimal128(10, 0), T::Float64),
        (T::Timestamp(TimeUnit::Nanosecond, None), seconds.clone()),
        (seconds.clone(), T::Timestamp(TimeUnit::Millisecond, None)),
        (
            seconds.clone(),
            T::Timestamp(TimeUnit::Second, Some("UTC".into())),
        ),
        (T::Date32, T::Timestamp(TimeUnit::Microsecond, None)),
        (T::Date64, T::Date32),
        (
            T::Time64(TimeUnit::Nanosecond),
            T::Time32(TimeUnit::Millisecond),
        ),
        (T::new_list(T::Int64, true), T::Int64),
        (T::Int64, T::new_list(T::Int64, true)),
        (
            T::new_list(T::Int64, true),
            T::new_fixed_size_list(T::Int64, 2, true),
        ),
        (
            T::new_fixed_size_list(T::Int64, 3, true),
            T::new_fixed_size_list(T::Int64, 2, true),
        ),
    ] {
        assert!(!widens(&from, &to), "{from} to {to}");
    }
}

#[test]
fn nested_types_widen_by_their_parts() {
    use DataType as T;
    let structure = |names: [&str; 2], inner: T| {
        T::Struct(Fields::from(vec![
            Field::new(names[0], T::Int32, true),
            Field::new(names[1], inner, false),
        ]))
    };
    let list = |item: T| T::new_list(item, true);
    for (from, to, expected) in [
        (list(T::Int32), list(T::Int64), true),
        (list(T::Int32), T::new_large_list(T::Float64, true), true),
        (list(T::Utf8View), list(T::Utf8), true),
        (list(T::Int64), list(T::Float64), false),
        (
            T::new_fixed_size_list(T::Float32, 2, true),
            list(T::Float64),
            true,
        ),
        (
            structure(["a", "b"], T::Int8),
            structure(["a", "b"], T::Int64),
            true,
        ),
        (
            structure(["a", "b"], T::Int8),
            structure(["a", "c"], T::Int64),
            false,
        ),
        (
            structure(["a", "b"], T::Int64),
            structure(["a", "b"], T::Utf8),
            false,
        ),
        (T::Null, structure(["a", "b"], T::Int64), true),
        (
            T::Dictionary(Box::new(T::Int8), Box::new(T::Utf8)),
            T::Utf8,
            true,
        ),
        (
            T::Dictionary(Box::new(T::Int8), Box::new(T::Int64)),
            T::Int32,
            false,
        ),
        (T::Utf8View, T::LargeUtf8, true),
        (
            T::Time32(TimeUnit::Second),
            T::Time64(TimeUnit::Nanosecond),
            true,
        ),
    ] {
        assert_eq!(widens(&from, &to), expected, "{from} to {to}");
    }
}
