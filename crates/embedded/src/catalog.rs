//! The computed columns that a table declares.

use std::collections::BTreeSet;

use lance_backfill_core::definition::{
    BoundColumn, DEFINITION_PREFIX, Definition, Detached, bind, outputs_of,
};
use lance_backfill_core::depend::{Node, order};
use lance_backfill_core::format::decode;
use lance_backfill_core::ids::{BindingId, FieldId};
use lance_backfill_core::table::{FieldView, TableView};
use lance_backfill_ports::{Error, Result};

mod cycle;

pub use cycle::Cycle;

/// A definition in a table, acting or not.
#[derive(Debug, Clone)]
pub struct Declared {
    /// The outputs' present names, or those at declaration, joined by commas.
    name: String,
    /// Ties definition and field.
    pub binding: BindingId,
    /// As stored.
    pub definition: Definition,
    /// The fields it acts on, or why it does not act.
    pub bound: std::result::Result<BoundColumn, Detached>,
}

/// All definitions of a table version.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    /// Every definition, acting ones in dependency order first.
    pub declared: Vec<Declared>,
    /// First output fields of columns in a cycle or behind one.
    pub cyclic: BTreeSet<FieldId>,
}

impl Declared {
    /// The output's present name, or the one at declaration; of several all, joined by commas.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether a user may mean it by this name: that of an output, or of all of them together.
    pub fn is_named(&self, name: &str) -> bool {
        match &self.bound {
            Ok(bound) => bound.is_named(name),
            Err(_) => {
                self.name == name || self.definition.outputs.iter().any(|output| output == name)
            }
        }
    }

    /// The fields that carry the binding; none where one of them is gone or was cast.
    pub fn outputs<'a>(&'a self, table: &'a TableView) -> Option<Vec<&'a FieldView>> {
        match &self.bound {
            Ok(bound) => Some(bound.outputs.iter().collect()),
            Err(Detached::InputGone { .. }) => {
                outputs_of(&self.binding, &self.definition, table).ok()
            }
            Err(Detached::OutputGone | Detached::PartGone { .. } | Detached::OutputType { .. }) => {
                None
            }
        }
    }
}

impl Catalog {
    /// Reads the definitions of a table version.
    pub fn read(table: &TableView) -> Result<Self> {
        let mut declared = vec![];
        for (key, json) in &table.metadata {
            let Some(binding) = key.strip_prefix(DEFINITION_PREFIX) else {
                continue;
            };
            let binding: BindingId = binding.parse().map_err(|error| {
                Error::invalid(format!("table metadata '{key}' is not ours")).with_source(error)
            })?;
            let definition: Definition = decode(json.as_bytes()).map_err(|error| {
                Error::from(error).with_source(format!("table metadata '{key}'"))
            })?;
            let bound = bind(&binding, definition.clone(), table);
            declared.push(Declared {
                name: match &bound {
                    Ok(bound) => bound.name.clone(),
                    Err(_) => definition.name(),
                },
                binding,
                definition,
                bound,
            });
        }
        Ok(Self::sorted(declared))
    }

    fn sorted(declared: Vec<Declared>) -> Self {
        let acting = || declared.iter().filter_map(|it| it.bound.as_ref().ok());
        let nodes: Vec<Node> = acting().map(node).collect();
        let mut sorted = order(&nodes);
        // Better after the columns that older values were made from; they are no reason for a cycle.
        let with_older: Vec<Node> = acting().map(node_with_older).collect();
        if with_older != nodes {
            let preferred = order(&with_older);
            if preferred.cyclic == sorted.cyclic {
                sorted = preferred;
            }
        }
        let place = |column: &Declared| match &column.bound {
            Ok(bound) => sorted
                .ready
                .iter()
                .position(|output| *output == bound.key())
                .unwrap_or(usize::MAX - 1),
            Err(_) => usize::MAX,
        };
        let mut declared = declared;
        declared.sort_by_key(place);
        Self {
            declared,
            cyclic: sorted.cyclic.into_iter().collect(),
        }
    }

    /// Acting columns, dependencies first, cycles left out.
    pub fn acting(&self) -> impl Iterator<Item = &BoundColumn> {
        self.declared
            .iter()
            .filter_map(|column| column.bound.as_ref().ok())
            .filter(|bound| !self.cyclic.contains(&bound.key()))
    }

    /// The definition of a column, by its present name.
    pub fn find(&self, column: &str) -> Option<&Declared> {
        self.declared
            .iter()
            .find(|declared| declared.bound.is_ok() && declared.is_named(column))
            .or_else(|| {
                self.declared
                    .iter()
                    .find(|declared| declared.is_named(column))
            })
    }

    /// A column that acts, or an error that says why it does not.
    pub fn expect_acting(&self, column: &str) -> Result<&BoundColumn> {
        let declared = self.expect(column)?;
        match &declared.bound {
            Err(detached) => Err(Error::invalid(format!(
                "column '{column}' is detached: {detached}"
            ))),
            Ok(bound) => match self.cycle(bound) {
                Some(cycle) => Err(Error::invalid(format!(
                    "column '{column}' cannot be computed: {cycle}; change one of them with 'column alter'"
                ))),
                None => Ok(bound),
            },
        }
    }

    /// The definition of a column, or an error that says what to do.
    pub fn expect(&self, column: &str) -> Result<&Declared> {
        self.find(column).ok_or_else(|| {
            let known: Vec<&str> = self.declared.iter().map(Declared::name).collect();
            let known = match known.as_slice() {
                [] => "the table has none: declare one with 'column add'".to_owned(),
                known => format!("computed columns are: {}", known.join(", ")),
            };
            Error::invalid(format!("'{column}' is not a computed column; {known}"))
        })
    }
}

/// A column and the fields that it or an older value of it reads.
fn node_with_older(bound: &BoundColumn) -> Node {
    let mut node = node(bound);
    node.reads
        .extend(bound.watched.iter().map(|field| field.id));
    node.reads.retain(|read| !bound.fills(*read));
    node
}

/// A column and the fields that it reads.
pub(crate) fn node(bound: &BoundColumn) -> Node {
    Node {
        outputs: bound.outputs.iter().map(|field| field.id).collect(),
        reads: bound
            .inputs
            .iter()
            .chain(&bound.filter_inputs)
            .map(|field| field.id)
            .collect(),
    }
}
