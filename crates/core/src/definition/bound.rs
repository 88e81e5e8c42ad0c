//! Definitions and the fields of a table version.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{BINDING_KEY, Definition, Input, OUTPUT_KEY};
use crate::identity::{self, Place};
use crate::ids::{BindingId, FieldId, GenerationId};
use crate::state::{Identities, OlderInputs};
use crate::table::{FieldView, FragmentView, TableView};

/// A definition found in a table, bound to the fields of one version.
#[derive(Debug, Clone, PartialEq)]
pub struct BoundColumn {
    /// Ties definition and field.
    pub binding: BindingId,
    /// What was declared.
    pub definition: Definition,
    /// Digest of what decides a value.
    pub generation: GenerationId,
    /// What it is called: the present names of its outputs, joined by commas.
    pub name: String,
    /// The output fields in this version, in the definition's order; several form a group.
    pub outputs: Vec<FieldView>,
    /// The input fields in this version, in the definition's order.
    pub inputs: Vec<FieldView>,
    /// The filter's fields in this version, in the definition's order.
    pub filter_inputs: Vec<FieldView>,
    /// Accepted generations that read other columns.
    pub older: BTreeMap<GenerationId, Older>,
    /// The fields that all accepted generations read together.
    pub watched: Vec<FieldView>,
    /// The fields of what records were kept under earlier: watched ones, and those of the filter.
    pub earlier: Vec<(Vec<FieldView>, Vec<FieldView>)>,
}

/// What an accepted generation reads in one version of the table.
#[derive(Debug, Clone, PartialEq)]
pub struct Older {
    /// Its fields; one that is gone is there by its id alone, as its files may still be.
    pub inputs: Vec<FieldView>,
    /// Whether all of them are the columns that they were when it was the present generation.
    pub certain: bool,
}

impl BoundColumn {
    /// The first output: it stands for all of them where one field is enough.
    pub fn key(&self) -> FieldId {
        self.outputs.first().map_or(-1, |field| field.id)
    }

    /// Whether it fills this field.
    pub fn fills(&self, field: FieldId) -> bool {
        self.outputs.iter().any(|output| output.id == field)
    }

    /// Whether a user may mean it by this name: that of an output, or of all of them together.
    pub fn is_named(&self, name: &str) -> bool {
        self.name == name || self.outputs.iter().any(|output| output.name == name)
    }

    /// Identities of a fragment, and where the outputs stand in it.
    pub fn identify(&self, fragment: &FragmentView) -> (Identities, Option<Place>) {
        let outputs: Vec<&FieldView> = self.outputs.iter().collect();
        let place = identity::place_of(fragment, &outputs);
        let in_id = identity::of_fields(fragment, &self.inputs);
        let older = |older: &Older| OlderInputs {
            in_id: identity::of_fields(fragment, &older.inputs),
            certain: older.certain,
        };
        let filter = self.definition.filter.as_deref();
        let earlier = (self.earlier.iter()).zip(&self.definition.earlier);
        let identities = Identities {
            in_id,
            watched: match self.older.is_empty() {
                true => in_id,
                false => identity::of_fields(fragment, &self.watched),
            },
            older: (self.older.iter())
                .map(|(generation, it)| (generation.clone(), older(it)))
                .collect(),
            earlier: earlier
                .map(|((watched, filter_inputs), before)| {
                    let filter = before.filter.as_deref();
                    let elig_id = identity::of_filter(fragment, filter, filter_inputs);
                    (identity::of_fields(fragment, watched), elig_id)
                })
                .collect(),
            elig_id: identity::of_filter(fragment, filter, &self.filter_inputs),
            out: place.as_ref().map(|place| place.identity),
        };
        (identities, place)
    }

    /// Whether a value of this generation counts as current.
    pub fn accepts(&self, generation: &GenerationId) -> bool {
        self.definition.accepts(&self.generation, generation)
    }

    /// Whether a version, perhaps another one, has all of its outputs as the same fields.
    pub fn is_carried_by(&self, table: &TableView) -> bool {
        self.outputs.iter().all(|output| {
            (table.field_by_id(output.id)).is_some_and(|field| carries(field, &self.binding))
        })
    }

    /// Whether an earlier definition watched all columns that an accepted generation reads now.
    ///
    /// Not so where the same expression reads a column that took the name of another one since.
    pub fn was_watched(&self, earlier: usize, generation: &GenerationId) -> bool {
        let definition = &self.definition;
        let reads = match *generation == self.generation {
            true => Some(&definition.inputs),
            false => definition.accepted_generations.get(generation),
        };
        let (Some(reads), Some(earlier)) = (reads, definition.earlier.get(earlier)) else {
            return false;
        };
        let watched = |input: &Input| earlier.watched.iter().any(|it| it.id == input.id);
        reads.iter().all(watched)
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
    /// One field of a group does not carry its binding any more, others do.
    PartGone {
        /// Its name at declaration.
        column: String,
    },
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
            Self::PartGone { column } => {
                write!(
                    formatter,
                    "its column '{column}' was dropped, cast or overwritten"
                )
            }
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

/// The fields that carry a definition's binding, in the definition's order.
///
/// In a group each field says which output it is: names may change.
pub fn outputs_of<'a>(
    binding: &BindingId,
    definition: &Definition,
    table: &'a TableView,
) -> Result<Vec<&'a FieldView>, Detached> {
    let part = |field: &'a FieldView| field.metadata.get(OUTPUT_KEY);
    let carry = || (table.fields.iter()).filter(|field| carries(field, binding));
    if let [_] = definition.outputs.as_slice() {
        let found = carry().find(|field| part(field).is_none());
        return found.map(|field| vec![field]).ok_or(Detached::OutputGone);
    }
    let find = |name: &String| {
        let found = carry().find(|field| part(field) == Some(name));
        found.ok_or_else(|| Detached::PartGone {
            column: name.clone(),
        })
    };
    match carry().next() {
        None => Err(Detached::OutputGone),
        Some(_) => definition.outputs.iter().map(find).collect(),
    }
}

/// Ties a stored definition to the fields of a table version.
pub fn bind(
    binding: &BindingId,
    definition: Definition,
    table: &TableView,
) -> Result<BoundColumn, Detached> {
    let outputs = outputs_of(binding, &definition, table)?;
    let mut types = definition.output_types.iter();
    for output in &outputs {
        let declared = types.next().cloned().unwrap_or_default();
        if output.data_type != declared {
            return Err(Detached::OutputType {
                declared,
                found: output.data_type.clone(),
            });
        }
    }
    let names: Vec<&str> = outputs.iter().map(|field| field.name.as_str()).collect();
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
    let lenient = |inputs: &[Input]| -> Vec<FieldView> {
        let found = |input: &Input| match table.field_by_id(input.id) {
            Some(field) => field.clone(),
            None => FieldView::gone(input.id, &input.name),
        };
        inputs.iter().map(found).collect()
    };
    let older = |(generation, inputs): (&GenerationId, &Vec<Input>)| {
        let fields = lenient(inputs);
        let certain = (fields.iter().zip(inputs))
            .all(|(field, input)| field.name == input.name && !field.is_gone());
        let older = Older {
            inputs: fields,
            certain,
        };
        (generation.clone(), older)
    };
    Ok(BoundColumn {
        binding: binding.clone(),
        generation: definition.generation(),
        name: names.join(","),
        outputs: outputs.into_iter().cloned().collect(),
        inputs: find(&definition.inputs)?,
        filter_inputs: find(&definition.filter_inputs)?,
        older: definition.older().map(older).collect(),
        watched: lenient(&definition.watched()),
        earlier: (definition.earlier.iter())
            .map(|before| (lenient(&before.watched), lenient(&before.filter_inputs)))
            .collect(),
        definition,
    })
}

#[cfg(test)]
mod tests;
