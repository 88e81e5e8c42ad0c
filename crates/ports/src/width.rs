//! How many bytes rows take, so that batches can be bounded by them.

use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;

/// Bytes of one value of a type whose values all take the same; `None` where only the values tell.
pub fn fixed_width(data_type: &DataType) -> Option<u64> {
    match data_type {
        DataType::Null => Some(0),
        DataType::Boolean => Some(1),
        DataType::FixedSizeBinary(bytes) => u64::try_from(*bytes).ok(),
        DataType::FixedSizeList(item, length) => {
            let length = u64::try_from(*length).ok()?;
            Some(fixed_width(item.data_type())?.saturating_mul(length))
        }
        DataType::Struct(fields) => fields
            .iter()
            .map(|field| fixed_width(field.data_type()))
            .try_fold(0_u64, |sum, width| Some(sum.saturating_add(width?))),
        other => other.primitive_width().map(|bytes| bytes as u64),
    }
}

/// Bytes of the rows of a batch, which may share its memory with others.
pub fn bytes_of(batch: &RecordBatch) -> usize {
    (batch.columns().iter())
        .map(|values| bytes_of_values(values.as_ref()))
        .sum()
}

/// Bytes of the values of an array, which may share its memory with others.
pub fn bytes_of_values(values: &dyn Array) -> usize {
    let data = values.to_data();
    // Types that cannot be told apart by rows count with all that they hold on to.
    (data.get_slice_memory_size()).unwrap_or_else(|_| values.get_array_memory_size())
}

/// Rows that fit into so many bytes, at least one.
pub const fn rows_within(bytes: u64, row_bytes: u64) -> u32 {
    let rows = match row_bytes {
        0 => bytes,
        _ => bytes / row_bytes,
    };
    match rows {
        0 => 1,
        1..=0xffff_ffff => rows as u32,
        _ => u32::MAX,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_schema::Field;

    use super::*;

    #[test]
    fn widths_of_fixed_types_add_up_and_one_variable_child_makes_a_type_variable() {
        let list = |item: DataType, length| {
            DataType::FixedSizeList(Arc::new(Field::new("item", item, true)), length)
        };
        let of = |fields: &[DataType]| {
            let fields = fields.iter().map(|it| Field::new("f", it.clone(), true));
            DataType::Struct(fields.collect())
        };
        let vector = list(DataType::Float32, 1_536);
        assert_eq!(fixed_width(&vector), Some(6_144));
        let pair = of(&[vector, DataType::Boolean]);
        assert_eq!(fixed_width(&pair), Some(6_145));
        assert_eq!(fixed_width(&list(DataType::Utf8, 2)), None);
        assert_eq!(fixed_width(&of(&[DataType::Int8, DataType::Utf8])), None);
    }

    #[test]
    fn rows_are_at_least_one() {
        assert_eq!(rows_within(100, 8), 12);
        assert_eq!(rows_within(100, 1_000), 1);
        assert_eq!(rows_within(u64::MAX, 0), u32::MAX);
    }
}
