//! The one name of each column type, as definitions store it.

use arrow_schema::{DataType, Field, TimeUnit};

/// The name of the items of a list, unless the list says otherwise.
pub const ITEM: &str = "item";
/// The names of the entries, keys and values of a map.
pub const MAP_FIELDS: [&str; 3] = ["entries", "key", "value"];

/// Why a type has no name that could be read back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the type {found} has no name: {reason}")]
pub struct NoName {
    /// The type.
    pub found: String,
    /// What cannot be named.
    pub reason: String,
}

/// The name of a column's type; of one that no computed column can have, what Arrow calls it.
pub fn column_type_name(data_type: &DataType) -> String {
    type_name(data_type).unwrap_or_else(|_| data_type.to_string())
}

/// The canonical name of a type. It is stable: it may be stored and compared.
///
/// Types that no column can have (views, dictionaries, unions, intervals and others), and nested
/// fields that carry metadata, have no name.
pub fn type_name(data_type: &DataType) -> Result<String, NoName> {
    let name = match data_type {
        DataType::Null => "null".to_owned(),
        DataType::Boolean => "bool".to_owned(),
        DataType::Int8 => "int8".to_owned(),
        DataType::Int16 => "int16".to_owned(),
        DataType::Int32 => "int32".to_owned(),
        DataType::Int64 => "int64".to_owned(),
        DataType::UInt8 => "uint8".to_owned(),
        DataType::UInt16 => "uint16".to_owned(),
        DataType::UInt32 => "uint32".to_owned(),
        DataType::UInt64 => "uint64".to_owned(),
        DataType::Float16 => "float16".to_owned(),
        DataType::Float32 => "float32".to_owned(),
        DataType::Float64 => "float64".to_owned(),
        DataType::Utf8 => "string".to_owned(),
        DataType::LargeUtf8 => "large_string".to_owned(),
        DataType::Binary => "binary".to_owned(),
        DataType::LargeBinary => "large_binary".to_owned(),
        DataType::FixedSizeBinary(width) => format!("fixed_size_binary({width})"),
        DataType::Date32 => "date32".to_owned(),
        DataType::Date64 => "date64".to_owned(),
        DataType::Time32(unit) => format!("time32({})", unit_name(unit)),
        DataType::Time64(unit) => format!("time64({})", unit_name(unit)),
        DataType::Duration(unit) => format!("duration({})", unit_name(unit)),
        DataType::Timestamp(unit, None) => format!("timestamp({})", unit_name(unit)),
        DataType::Timestamp(unit, Some(zone)) => {
            format!("timestamp({}, {})", unit_name(unit), quoted(zone))
        }
        DataType::Decimal128(precision, scale) => format!("decimal128({precision}, {scale})"),
        DataType::Decimal256(precision, scale) => format!("decimal256({precision}, {scale})"),
        DataType::List(item) => format!("list<{}>", item_name(item)?),
        DataType::LargeList(item) => format!("large_list<{}>", item_name(item)?),
        DataType::FixedSizeList(item, size) => {
            format!("fixed_size_list<{}, {size}>", item_name(item)?)
        }
        DataType::Struct(fields) => {
            let fields = fields
                .iter()
                .map(|field| field_name(field))
                .collect::<Result<Vec<_>, _>>()?;
            format!("struct<{}>", fields.join(", "))
        }
        DataType::Map(entries, false) => match map_fields(entries) {
            Some((key, value)) => {
                format!("map<{}, {}>", nullable_name(key)?, nullable_name(value)?)
            }
            None => return Err(no_name(data_type, "its fields have other names than usual")),
        },
        _ => return Err(no_name(data_type, "no column can have it")),
    };
    Ok(name)
}

/// The short name of a unit of time.
pub fn unit_name(unit: &TimeUnit) -> &'static str {
    match unit {
        TimeUnit::Second => "s",
        TimeUnit::Millisecond => "ms",
        TimeUnit::Microsecond => "us",
        TimeUnit::Nanosecond => "ns",
    }
}

/// The key and value of a map whose fields have the usual names and nullability.
fn map_fields(entries: &Field) -> Option<(&Field, &Field)> {
    let DataType::Struct(fields) = entries.data_type() else {
        return None;
    };
    let [key, value] = fields.as_ref() else {
        return None;
    };
    let names = [entries.name(), key.name(), value.name()];
    (names == MAP_FIELDS && !entries.is_nullable() && entries.metadata().is_empty())
        .then_some((key.as_ref(), value.as_ref()))
}

/// `type`, with the field's name in front if it is not the usual one.
fn item_name(item: &Field) -> Result<String, NoName> {
    if item.name() == ITEM {
        nullable_name(item)
    } else {
        field_name(item)
    }
}

/// `name: type`.
fn field_name(field: &Field) -> Result<String, NoName> {
    let name = field.name();
    let plain = !name.is_empty()
        && name
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || character == '_');
    let name = if plain { name.clone() } else { quoted(name) };
    Ok(format!("{name}: {}", nullable_name(field)?))
}

/// `type` or `type not null`.
fn nullable_name(field: &Field) -> Result<String, NoName> {
    if !field.metadata().is_empty() {
        let reason = format!("its field `{}` carries metadata", field.name());
        return Err(no_name(field.data_type(), &reason));
    }
    let name = type_name(field.data_type())?;
    Ok(if field.is_nullable() {
        name
    } else {
        format!("{name} not null")
    })
}

/// A name in double quotes, with those inside doubled.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn no_name(found: &DataType, reason: &str) -> NoName {
    NoName {
        found: found.to_string(),
        reason: reason.to_owned(),
    }
}
