//! Which types take all values of another without losing anything.

use arrow_schema::{DataType, Field, Fields, TimeUnit};

use super::normalise;

/// Whether every value of `from` is a value of `to`, so that a cast cannot fail or change one.
///
/// What may be NULL has no part in it: a NULL where none is allowed is an error of its row, not
/// another value.
pub fn widens(from: &DataType, to: &DataType) -> bool {
    widens_plain(&normalise(from), &normalise(to))
}

fn widens_plain(from: &DataType, to: &DataType) -> bool {
    use DataType as T;
    if from == to {
        return true;
    }
    match (from, to) {
        (T::Null, _) => true,
        (T::Dictionary(_, value), _) => widens(value, to),
        (T::RunEndEncoded(_, values), _) => widens(values.data_type(), to),
        (T::Utf8, T::LargeUtf8) | (T::Binary, T::LargeBinary) => true,
        (T::FixedSizeBinary(_), T::Binary | T::LargeBinary) => true,
        // Milliseconds of any day fit; finer units of far days do not.
        (T::Date32, T::Date64 | T::Timestamp(TimeUnit::Second | TimeUnit::Millisecond, None)) => {
            true
        }
        // A time is within one day in any unit. A timestamp or duration in a finer unit may overflow.
        (T::Time32(from) | T::Time64(from), T::Time32(to) | T::Time64(to)) => {
            fineness(*from) <= fineness(*to)
        }
        (T::Struct(from), T::Struct(to)) => fields_widen(from, to),
        (T::Map(from, false), T::Map(to, false)) => match (from.data_type(), to.data_type()) {
            (T::Struct(from), T::Struct(to)) => items_widen(from, to),
            _ => false,
        },
        (T::FixedSizeList(from, width), T::FixedSizeList(to, wanted)) => {
            width == wanted && item_widens(from, to)
        }
        (T::List(from) | T::FixedSizeList(from, _), T::List(to) | T::LargeList(to))
        | (T::LargeList(from), T::LargeList(to)) => item_widens(from, to),
        _ => number_widens(from, to),
    }
}

/// Numbers, by the digits or bits that each side holds exactly.
fn number_widens(from: &DataType, to: &DataType) -> bool {
    if let (Some(from), Some(to)) = (integer(from), integer(to)) {
        return match (from.signed, to.signed) {
            (true, false) => false,
            (false, true) => from.bits < to.bits,
            _ => from.bits <= to.bits,
        };
    }
    if let (Some(from), Some(to)) = (integer(from), exact_bits(to)) {
        let magnitude = from.bits - u32::from(from.signed);
        return magnitude <= to;
    }
    if let (Some(from), Some(to)) = (exact_bits(from), exact_bits(to)) {
        return from <= to;
    }
    let whole = |(precision, scale): (u8, i8)| i16::from(precision) - i16::from(scale);
    match (decimal(from), decimal(to)) {
        (Some(from), Some(to)) => from.1 <= to.1 && whole(from) <= whole(to),
        (None, Some(to)) => integer(from)
            .is_some_and(|from| to.1 >= 0 && i16::from(from.decimal_digits()) <= whole(to)),
        _ => false,
    }
}

#[derive(Clone, Copy)]
struct Integer {
    bits: u32,
    signed: bool,
}

impl Integer {
    /// Digits of its largest value.
    fn decimal_digits(self) -> u8 {
        match (self.bits, self.signed) {
            (8, _) => 3,
            (16, _) => 5,
            (32, _) => 10,
            (_, true) => 19,
            (_, false) => 20,
        }
    }
}

fn integer(data_type: &DataType) -> Option<Integer> {
    let (bits, signed) = match data_type {
        DataType::Int8 => (8, true),
        DataType::Int16 => (16, true),
        DataType::Int32 => (32, true),
        DataType::Int64 => (64, true),
        DataType::UInt8 => (8, false),
        DataType::UInt16 => (16, false),
        DataType::UInt32 => (32, false),
        DataType::UInt64 => (64, false),
        _ => return None,
    };
    Some(Integer { bits, signed })
}

/// Bits up to which a floating-point type holds every integer.
fn exact_bits(data_type: &DataType) -> Option<u32> {
    match data_type {
        DataType::Float16 => Some(11),
        DataType::Float32 => Some(24),
        DataType::Float64 => Some(53),
        _ => None,
    }
}

fn decimal(data_type: &DataType) -> Option<(u8, i8)> {
    match data_type {
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => Some((*precision, *scale)),
        _ => None,
    }
}

fn fineness(unit: TimeUnit) -> u8 {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 1,
        TimeUnit::Microsecond => 2,
        TimeUnit::Nanosecond => 3,
    }
}

/// The fields of a struct are known by their names.
fn fields_widen(from: &Fields, to: &Fields) -> bool {
    let names = |fields: &Fields| {
        fields
            .iter()
            .map(|field| field.name().clone())
            .collect::<Vec<_>>()
    };
    names(from) == names(to) && items_widen(from, to)
}

fn items_widen(from: &Fields, to: &Fields) -> bool {
    from.len() == to.len() && from.iter().zip(to).all(|(from, to)| item_widens(from, to))
}

/// The items of a list have no names that mean anything.
fn item_widens(from: &Field, to: &Field) -> bool {
    widens(from.data_type(), to.data_type())
}

#[cfg(test)]
mod tests;
