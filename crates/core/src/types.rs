//! Names of column types, as definitions store them.

use arrow_schema::DataType;

/// The stored name of a type.
pub fn type_name(data_type: &DataType) -> String {
    data_type.to_string()
}
