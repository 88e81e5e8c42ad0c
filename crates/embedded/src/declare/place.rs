//! Where a declaration goes, and whether it may.

use arrow_schema::{DataType, SchemaRef};
use lance_backfill_core::definition::BINDING_KEY;
use lance_backfill_core::identity::place_of;
use lance_backfill_core::ids::BindingId;
use lance_backfill_core::table::{FieldView, TableView};
use lance_backfill_ports::{Error, Result};

use super::Request;
use super::check::is_blob;
use crate::catalog::Catalog;

/// Where a declaration goes.
pub(super) enum Place {
    /// A new column.
    New,
    /// An existing column, on request.
    Adopted(FieldView),
    /// A column whose declaration died half-way.
    Abandoned(FieldView, BindingId),
}

impl Place {
    pub(super) fn field(&self) -> Option<&FieldView> {
        match self {
            Self::New => None,
            Self::Adopted(field) | Self::Abandoned(field, _) => Some(field),
        }
    }

    pub(super) fn existing_type(&self, schema: &SchemaRef) -> Option<DataType> {
        let field = schema.field_with_name(&self.field()?.name).ok()?;
        Some(field.data_type().clone())
    }
}

/// Finds the place of a declaration in a table.
pub(super) fn place_for(request: &Request, table: &TableView, catalog: &Catalog) -> Result<Place> {
    let column = &request.column;
    if column.is_empty() || column.contains('.') || column.starts_with('_') {
        return Err(Error::invalid(format!(
            "'{column}' cannot be a column name: it must not be empty, contain a dot or begin with an underscore"
        )));
    }
    let Some(field) = table.field(column) else {
        if request.adopt {
            return Err(Error::invalid(format!(
                "there is no column '{column}' to adopt: leave --adopt out to create it"
            )));
        }
        return Ok(Place::New);
    };
    if catalog
        .declared
        .iter()
        .any(|declared| declared.bound.is_ok() && declared.name() == column)
    {
        return Err(Error::invalid(format!(
            "'{column}' is a computed column already: change it with 'column alter', or drop it first"
        )));
    }
    if is_blob(field) {
        return Err(Error::invalid(format!(
            "column '{column}' holds blobs, which cannot be computed yet: take a binary column"
        )));
    }
    if !field.nullable {
        return Err(Error::invalid(format!(
            "column '{column}' does not allow NULL: rows that wait for a value need it"
        )));
    }
    if let Some(binding) = field
        .metadata
        .get(BINDING_KEY)
        .and_then(|text| text.parse::<BindingId>().ok())
    {
        let named = catalog
            .declared
            .iter()
            .any(|declared| declared.binding == binding);
        // Values may have come in meanwhile, or a 'column drop' died half-way: these are adopted only
        // on request, like those of any other column.
        if !named && (request.adopt || !has_values(field, table)) {
            return Ok(Place::Abandoned(field.clone(), binding));
        }
    }
    if request.adopt {
        return Ok(Place::Adopted(field.clone()));
    }
    Err(Error::invalid(format!(
        "column '{column}' exists already: choose another name, or give --adopt to keep its values and compute the missing ones"
    )))
}

/// Whether some file may hold values of a column.
fn has_values(field: &FieldView, table: &TableView) -> bool {
    table
        .fragments
        .iter()
        .any(|fragment| place_of(fragment, &[field]).is_some())
}
