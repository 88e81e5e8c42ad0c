//! Which types Lance stores.

use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef};

use super::TypeError;

/// The type that Lance stores in place of `data_type`: views become what they view, at every level.
/// Everything else stays.
pub fn normalise(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::List(item) | DataType::ListView(item) => DataType::List(normalised(item)),
        DataType::LargeList(item) | DataType::LargeListView(item) => {
            DataType::LargeList(normalised(item))
        }
        DataType::FixedSizeList(item, size) => DataType::FixedSizeList(normalised(item), *size),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(normalised).collect()),
        DataType::Map(entries, sorted) => DataType::Map(normalised(entries), *sorted),
        other => other.clone(),
    }
}

fn normalised(field: &FieldRef) -> FieldRef {
    let data_type = normalise(field.data_type());
    if data_type == *field.data_type() {
        Arc::clone(field)
    } else {
        Arc::new(Field::clone(field).with_data_type(data_type))
    }
}

/// Refuses a type, already [`normalise`]d, that a column of a Lance table cannot have.
pub fn check_storable(data_type: &DataType) -> Result<(), TypeError> {
    let refused = |advice: &str| {
        Err(TypeError::NotStorable {
            found: data_type.to_string(),
            advice: advice.to_owned(),
        })
    };
    match data_type {
        DataType::Null => Err(TypeError::NoType),
        DataType::Dictionary(_, value) => {
            refused(&format!("cast to the type of its values, {value}"))
        }
        DataType::RunEndEncoded(_, values) => refused(&format!(
            "cast to the type of its values, {}",
            values.data_type()
        )),
        DataType::Union(..) => refused("cast to one of its types, or make a struct of them"),
        DataType::Interval(_) => {
            refused("add it to a date or timestamp, or compute a number such as its days")
        }
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            refused(&format!("cast to decimal128({precision}, {scale})"))
        }
        DataType::Utf8View
        | DataType::BinaryView
        | DataType::ListView(_)
        | DataType::LargeListView(_) => refused("cast to the type that it is a view of"),
        DataType::Struct(fields) if fields.is_empty() => {
            refused("give the struct at least one field")
        }
        DataType::Struct(fields) => fields
            .iter()
            .try_for_each(|field| check_storable(field.data_type())),
        DataType::List(item) | DataType::LargeList(item) => check_storable(item.data_type()),
        DataType::FixedSizeList(_, size) if *size <= 0 => {
            refused("give the list at least one item")
        }
        DataType::FixedSizeList(item, _) if !fixed_size_item(item.data_type(), false) => {
            refused("make the outer list a variable-size list")
        }
        DataType::FixedSizeList(item, _) => check_storable(item.data_type()),
        DataType::Map(_, true) => refused("use a map whose keys are not sorted"),
        DataType::Map(entries, false) => check_storable(entries.data_type()),
        _ => Ok(()),
    }
}

/// Whether Lance stores a fixed-size list of such items; its own rule.
fn fixed_size_item(item: &DataType, nested: bool) -> bool {
    match item {
        DataType::Struct(_) => !nested,
        DataType::List(_) | DataType::LargeList(_) | DataType::Map(..) => false,
        DataType::FixedSizeList(item, _) => fixed_size_item(item.data_type(), true),
        _ => true,
    }
}
