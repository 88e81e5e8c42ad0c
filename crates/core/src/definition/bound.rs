//! Definitions and the fields of a table version.

use serde::Serialize;

use super::{BINDING_KEY, Definition, Input};
use crate::ids::{BindingId, GenerationId};
use crate::table::{FieldView, TableView};

/// A definition found in a table, bound to the fields of one version.
#[derive(Debug, Clone, PartialEq)]
pub struct BoundColumn {
    /// Ties definition and field.
    pub binding: BindingId,
    /// What was declared.
    pub definition: Definition,
    /// Digest of what decides a value.
    pub generation: GenerationId,
    /// The output's field in this version.
    pub output: FieldView,
    /// The input fields in this version, in the definition's order.
    pub inputs: Vec<FieldView>,
    /// The filter's fields in this version, in the definition's order.
    pub filter_inputs: Vec<FieldView>,
}

impl BoundColumn {
    /// Whether a field, perhaps of another version, is this column.
    pub fn is_carried_by(&self, field: &FieldView) -> bool {
        carries(field, &self.binding)
    }

    /// A column that it reads and that has another name than at declaration, with both names.
    ///
    /// Field ids are reused, so it may be a renamed column or quite another one.
    pub fn renamed_input(&self) -> Option<(&str, &str)> {
        let inputs = self.inputs.iter().zip(&self.definition.inputs);
        let filter_inputs = (self.filter_inputs.iter()).zip(&self.definition.filter_inputs);
        inputs
            .chain(filter_inputs)
            .find(|(field, input)| field.name != input.name)
            .map(|(field, input)| (input.name.as_str(), field.name.as_str()))
    }
}

/// Why a definition does not act.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Detached {
    /// No field carries its binding: dropped, cast or overwritten.
    OutputGone,
    /// The field's type is not the declared one.
    OutputType {
        /// What was declared.
        declared: String,
        /// What the field has.
        found: String,
    },
    /// A column that it reads is gone or became another one.
    InputGone {
        /// Name at declaration.
        column: String,
    },
}

impl std::fmt::Display for Detached {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::OutputGone => formatter.write_str("its column was dropped, cast or overwritten"),
            Self::OutputType { declared, found } => {
                write!(
                    formatter,
                    "its column has type {found}, declared was {declared}"
                )
            }
            Self::InputGone { column } => {
                write!(
                    formatter,
                    "column '{column}' that it reads was dropped, cast or replaced; give the expression and the filter again with 'column alter'"
                )
            }
        }
    }
}

fn carries(field: &FieldView, binding: &BindingId) -> bool {
    field.metadata.get(BINDING_KEY).map(String::as_str) == Some(binding.as_str())
}

/// The field that carries a binding.
pub fn output_of<'a>(binding: &BindingId, table: &'a TableView) -> Option<&'a FieldView> {
    table.fields.iter().find(|field| carries(field, binding))
}

/// Ties a stored definition to the fields of a table version.
pub fn bind(
    binding: &BindingId,
    definition: Definition,
    table: &TableView,
) -> Result<BoundColumn, Detached> {
    let output = output_of(binding, table).ok_or(Detached::OutputGone)?;
    let declared = definition.output_types.first().cloned().unwrap_or_default();
    if output.data_type != declared {
        return Err(Detached::OutputType {
            declared,
            found: output.data_type.clone(),
        });
    }
    let find = |inputs: &[Input]| -> Result<Vec<FieldView>, Detached> {
        inputs
            .iter()
            .map(|input| {
                table
                    .field_by_id(input.id)
                    .cloned()
                    .ok_or_else(|| Detached::InputGone {
                        column: input.name.clone(),
                    })
            })
            .collect()
    };
    Ok(BoundColumn {
        binding: binding.clone(),
        generation: definition.generation(),
        output: output.clone(),
        inputs: find(&definition.inputs)?,
        filter_inputs: find(&definition.filter_inputs)?,
        definition,
    })
}
