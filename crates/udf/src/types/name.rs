//! The one name of each type, which [`super::parse_type`] reads back to exactly the type.

use arrow_schema::DataType;
use lance_backfill_core::types;

use super::TypeError;

pub(super) use types::{ITEM, MAP_FIELDS, unit_name};

/// The canonical name of a type. It is stable: it may be stored and compared.
///
/// Types that no column can have (views, dictionaries, unions, intervals and others), and nested
/// fields that carry metadata, have no name.
pub fn type_name(data_type: &DataType) -> Result<String, TypeError> {
    types::type_name(data_type)
        .map_err(|types::NoName { found, reason }| TypeError::NoName { found, reason })
}
