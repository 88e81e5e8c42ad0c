//! Where a declaration goes, and whether it may.

use arrow_schema::{DataType, SchemaRef};
use lance_backfill_core::definition::{BINDING_KEY, OUTPUT_KEY};
use lance_backfill_core::identity::place_of;
use lance_backfill_core::ids::BindingId;
use lance_backfill_core::table::{FieldView, TableView};
use lance_backfill_ports::{Error, Result};

use super::Request;
use super::check::is_blob;
use crate::catalog::Catalog;

/// Where a declaration goes.
pub(super) enum Place {
    /// New columns.
    New,
    /// An existing column, on request.
    Adopted(FieldView),
    /// Columns whose declaration died half-way.
    Abandoned(Vec<FieldView>, BindingId),
}

impl Place {
    /// The columns that exist: all of them, or none.
    pub(super) fn fields(&self) -> &[FieldView] {
        match self {
            Self::New => &[],
            Self::Adopted(field) => std::slice::from_ref(field),
            Self::Abandoned(fields, _) => fields,
        }
    }

    /// Their types, in order.
    pub(super) fn existing_types(&self, schema: &SchemaRef) -> Vec<DataType> {
        let found = |field: &FieldView| schema.field_with_name(&field.name).ok();
        (self.fields().iter())
            .filter_map(found)
            .map(|field| field.data_type().clone())
            .collect()
    }
}

/// Finds the place of a declaration in a table.
pub(super) fn place_for(request: &Request, table: &TableView, catalog: &Catalog) -> Result<Place> {
    let [column] = request.columns.as_slice() else {
        return place_for_group(request, table, catalog);
    };
    check_name(column)?;
    let Some(field) = table.field(column) else {
        if request.adopt {
            return Err(Error::invalid(format!(
                "there is no column '{column}' to adopt: leave --adopt out to create it"
            )));
        }
        return Ok(Place::New);
    };
    refuse_computed(column, catalog)?;
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
    // One of a group would need the others: whoever wants it alone adopts it.
    if let (Some(binding), None) = (nameless(field, catalog), field.metadata.get(OUTPUT_KEY)) {
        // Values may have come in meanwhile, or a 'column drop' died half-way: these are adopted only
        // on request, like those of any other column.
        if request.adopt || !has_values(field, table) {
            return Ok(Place::Abandoned(vec![field.clone()], binding));
        }
    }
    if request.adopt {
        return Ok(Place::Adopted(field.clone()));
    }
    Err(Error::invalid(format!(
        "column '{column}' exists already: choose another name, or give --adopt to keep its values and compute the missing ones"
    )))
}

/// Several columns are all new, or all left of the same declaration that died.
fn place_for_group(request: &Request, table: &TableView, catalog: &Catalog) -> Result<Place> {
    let Request { columns, adopt, .. } = request;
    if columns.is_empty() {
        return Err(Error::invalid("no column is named"));
    }
    for (place, column) in columns.iter().enumerate() {
        check_name(column)?;
        if columns.iter().take(place).any(|before| before == column) {
            return Err(Error::invalid(format!("column '{column}' is named twice")));
        }
        refuse_computed(column, catalog)?;
    }
    if *adopt {
        return Err(Error::invalid(
            "--adopt takes over one column: several columns that one call fills must be new",
        ));
    }
    let fields: Vec<&FieldView> = columns
        .iter()
        .filter_map(|name| table.field(name))
        .collect();
    let Some(first) = fields.first() else {
        return Ok(Place::New);
    };
    let binding = nameless(first, catalog);
    let is_left_over = |(field, column): (&&FieldView, &String)| {
        nameless(field, catalog) == binding
            && field.metadata.get(OUTPUT_KEY) == Some(column)
            && !has_values(field, table)
    };
    match binding {
        Some(binding)
            if fields.len() == columns.len() && fields.iter().zip(columns).all(is_left_over) =>
        {
            Ok(Place::Abandoned(
                fields.into_iter().cloned().collect(),
                binding,
            ))
        }
        _ => Err(Error::invalid(format!(
            "column '{}' exists already: several columns that one call fills must be new, choose other names",
            first.name
        ))),
    }
}

fn check_name(column: &str) -> Result<()> {
    if column.is_empty() || column.contains('.') || column.starts_with('_') {
        return Err(Error::invalid(format!(
            "'{column}' cannot be a column name: it must not be empty, contain a dot or begin with an underscore"
        )));
    }
    Ok(())
}

fn refuse_computed(column: &str, catalog: &Catalog) -> Result<()> {
    match catalog
        .declared
        .iter()
        .any(|declared| declared.bound.is_ok() && declared.is_named(column))
    {
        true => Err(Error::invalid(format!(
            "'{column}' is a computed column already: change it with 'column alter', or drop it first"
        ))),
        false => Ok(()),
    }
}

/// The binding of a field that no definition names.
fn nameless(field: &FieldView, catalog: &Catalog) -> Option<BindingId> {
    let binding: BindingId = field.metadata.get(BINDING_KEY)?.parse().ok()?;
    let mut declared = catalog.declared.iter();
    let named = declared.any(|declared| declared.binding == binding);
    (!named).then_some(binding)
}

/// Whether some file may hold values of a column.
fn has_values(field: &FieldView, table: &TableView) -> bool {
    table
        .fragments
        .iter()
        .any(|fragment| place_of(fragment, &[field]).is_some())
}
