//! Declaring, editing and dropping computed columns.

use std::collections::{BTreeMap, BTreeSet};

use arrow_schema::{DataType, SchemaRef};
use lance_backfill_core::definition::{
    BINDING_KEY, BoundColumn, DEFINITION_PREFIX, Definition, ErrorPolicy, HOME_KEY, Input,
};
use lance_backfill_core::depend::{Node, order};
use lance_backfill_core::format::encode;
use lance_backfill_core::ids::BindingId;
use lance_backfill_core::snapshot::{CoverageSnapshot, Head};
use lance_backfill_core::table::{FieldView, TableView};
use lance_backfill_ports::table::{Edit, EditOutcome, Table};
use lance_backfill_ports::{Error, ErrorKind, Result};
use lance_backfill_udf::types::parse_type;
use lance_backfill_udf::{SqlFilter, SqlFunction};

use crate::catalog::{Catalog, Declared, node};
use crate::engine::Engine;

/// What a user asks for.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Column to compute.
    pub column: String,
    /// Expression.
    pub sql: String,
    /// Filter; all rows without.
    pub filter: Option<String>,
    /// Output type; that of the expression without.
    pub output_type: Option<String>,
    /// Whether an existing column may be taken over.
    pub adopt: bool,
    /// What happens with rows that cannot be computed.
    pub error_policy: ErrorPolicy,
    /// Rows in need above which unattended work waits for approval; -1 = no limit, `None` = that of the kind.
    pub approve_above_rows: Option<i64>,
}

impl Engine {
    /// Declares a computed column; nothing is computed and, on an error, nothing is written.
    pub async fn declare(&self, request: &Request) -> Result<Declared> {
        let version = self.latest().await?;
        let table = version.view();
        let catalog = Catalog::read(table)?;
        let place = place_for(request, table, &catalog)?;
        let checked = check(
            request,
            table,
            &version.schema(),
            place.existing_type(&version.schema()),
        )?;
        refuse_cycle(request, &checked, &catalog, place.field())?;
        let binding: BindingId = match &place {
            Place::Abandoned(_, binding) => binding.clone(),
            Place::New | Place::Adopted(_) => new_binding()?,
        };
        match &place {
            Place::New => {
                self.refuse_while_paused().await?;
                let metadata = BTreeMap::from([(BINDING_KEY.to_owned(), binding.to_string())]);
                let edit = Edit::AddColumn {
                    name: request.column.clone(),
                    data_type: checked.output_type.clone(),
                    metadata,
                };
                self.edit_or_fail(&edit).await?;
            }
            Place::Adopted(_) => {
                let entries = BTreeMap::from([(BINDING_KEY.to_owned(), Some(binding.to_string()))]);
                self.edit_or_fail(&Edit::FieldMetadata {
                    name: request.column.clone(),
                    entries,
                })
                .await?;
            }
            Place::Abandoned(..) => {}
        }
        let version = self.latest().await?;
        let definition =
            checked.definition(request, version.view(), matches!(place, Place::Adopted(_)))?;
        self.store_definition(&binding, &definition, version.view())
            .await?;
        let version = self.latest().await?;
        self.start_history(&binding, &definition, version.view())
            .await?;
        let catalog = Catalog::read(version.view())?;
        let declared = catalog
            .declared
            .into_iter()
            .find(|declared| declared.binding == binding);
        declared.ok_or_else(|| {
            Error::new(
                ErrorKind::Unavailable,
                "the definition was removed while it was written: try again",
            )
        })
    }

    /// Notes where the column's history begins: values that come in later are somebody's own.
    async fn start_history(
        &self,
        binding: &BindingId,
        definition: &Definition,
        table: &TableView,
    ) -> Result<()> {
        let store = self.store(binding);
        let base = store.snapshot().await?;
        let head = Head {
            table_version: table.version,
            max_fragment: table.fragments.last().map(|fragment| fragment.id),
            generation: Some(definition.generation()),
            rate: None,
        };
        store
            .extend_snapshot(
                &base,
                CoverageSnapshot {
                    head,
                    entries: BTreeMap::new(),
                },
            )
            .await
    }

    async fn store_definition(
        &self,
        binding: &BindingId,
        definition: &Definition,
        table: &TableView,
    ) -> Result<()> {
        let key = format!("{DEFINITION_PREFIX}{binding}");
        let json = String::from_utf8(encode(definition)?)
            .map_err(|error| Error::internal("a definition is not text").with_source(error))?;
        let mut entries = BTreeMap::from([(key.clone(), Some(json))]);
        let mut expected = BTreeMap::from([(key, None)]);
        if !table.metadata.contains_key(HOME_KEY) {
            let home = serde_json::json!({"version": 1, "table": self.uri(), "state": "_backfill"})
                .to_string();
            entries.insert(HOME_KEY.to_owned(), Some(home));
            expected.insert(HOME_KEY.to_owned(), None);
        }
        match self
            .table
            .edit(&Edit::TableMetadata {
                entries: entries.clone(),
                expected: expected.clone(),
            })
            .await?
        {
            EditOutcome::Done { .. } => Ok(()),
            // Another first declaration set the home meanwhile: ours only adds its column then.
            EditOutcome::Conflict { .. } => {
                entries.remove(HOME_KEY);
                expected.remove(HOME_KEY);
                self.edit_or_fail(&Edit::TableMetadata { entries, expected })
                    .await
            }
        }
    }

    async fn edit_or_fail(&self, edit: &Edit) -> Result<()> {
        match self.table.edit(edit).await? {
            EditOutcome::Done { .. } => Ok(()),
            EditOutcome::Conflict { reason } => {
                Err(Error::invalid(format!("{reason}: nothing was changed")))
            }
        }
    }

    /// Stores an edited definition if nobody edited it since it was read.
    pub async fn redefine(
        &self,
        declared: &Declared,
        edited: &Definition,
        table: &TableView,
    ) -> Result<()> {
        let key = format!("{DEFINITION_PREFIX}{}", declared.binding);
        let json = String::from_utf8(encode(edited)?)
            .map_err(|error| Error::internal("a definition is not text").with_source(error))?;
        let expected = BTreeMap::from([(key.clone(), table.metadata.get(&key).cloned())]);
        self.edit_or_fail(&Edit::TableMetadata {
            entries: BTreeMap::from([(key, Some(json))]),
            expected,
        })
        .await
    }

    /// Removes a definition; with `values` the column goes too.
    pub async fn undeclare(
        &self,
        declared: &Declared,
        table: &TableView,
        values: bool,
    ) -> Result<()> {
        if values {
            self.refuse_while_paused().await?;
        }
        let key = format!("{DEFINITION_PREFIX}{}", declared.binding);
        let expected = BTreeMap::from([(key.clone(), table.metadata.get(&key).cloned())]);
        self.edit_or_fail(&Edit::TableMetadata {
            entries: BTreeMap::from([(key, None)]),
            expected,
        })
        .await?;
        let Ok(bound) = &declared.bound else {
            return Ok(());
        };
        let name = bound.output.name.clone();
        let edit = match values {
            true => Edit::DropColumn { name },
            false => Edit::FieldMetadata {
                name,
                entries: BTreeMap::from([(BINDING_KEY.to_owned(), None)]),
            },
        };
        self.edit_or_fail(&edit).await
    }

    /// Checks an edited expression or filter against the table; returns the edited definition.
    pub fn check_edit(
        &self,
        bound: &BoundColumn,
        sql: Option<&str>,
        filter: Option<Option<&str>>,
        catalog: &Catalog,
        table: &TableView,
        schema: &SchemaRef,
    ) -> Result<Definition> {
        let mut edited = bound.definition.clone();
        if let Some(sql) = sql {
            let output = schema
                .field_with_name(&bound.output.name)
                .map_err(|error| Error::internal("the column has no type").with_source(error))?;
            let function =
                SqlFunction::compile(sql, schema, Some(output.data_type())).map_err(refused)?;
            edited.inputs = inputs(function.inputs(), table)?;
            edited.function = lance_backfill_core::definition::Function::Sql {
                expression: sql.to_owned(),
                canonical: function.canonical().to_owned(),
            };
        }
        if let Some(filter) = filter {
            edited.filter = filter.map(str::to_owned);
            edited.filter_inputs = match filter {
                Some(filter) => inputs(
                    SqlFilter::compile(filter, schema)
                        .map_err(refused)?
                        .inputs(),
                    table,
                )?,
                None => vec![],
            };
        }
        let reads = edited
            .inputs
            .iter()
            .chain(&edited.filter_inputs)
            .map(|input| input.id)
            .collect();
        refuse_reading(&bound.output.name, bound.output.id, reads, catalog)?;
        Ok(edited)
    }
}

/// Where a declaration goes.
enum Place {
    /// A new column.
    New,
    /// An existing column, on request.
    Adopted(FieldView),
    /// A column whose declaration died half-way.
    Abandoned(FieldView, BindingId),
}

impl Place {
    fn field(&self) -> Option<&FieldView> {
        match self {
            Self::New => None,
            Self::Adopted(field) | Self::Abandoned(field, _) => Some(field),
        }
    }

    fn existing_type(&self, schema: &SchemaRef) -> Option<DataType> {
        let field = schema.field_with_name(&self.field()?.name).ok()?;
        Some(field.data_type().clone())
    }
}

fn place_for(request: &Request, table: &TableView, catalog: &Catalog) -> Result<Place> {
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
        if !named {
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

struct Checked {
    canonical: String,
    inputs: Vec<Input>,
    filter_inputs: Vec<Input>,
    output_type: DataType,
}

fn check(
    request: &Request,
    table: &TableView,
    schema: &SchemaRef,
    existing: Option<DataType>,
) -> Result<Checked> {
    let wanted = match &request.output_type {
        Some(text) => Some(
            parse_type(text)
                .map_err(|error| Error::invalid(format!("--type '{text}': {error}")))?,
        ),
        None => None,
    };
    if let (Some(wanted), Some(existing)) = (&wanted, &existing)
        && wanted != existing
    {
        return Err(Error::invalid(format!(
            "column '{}' has type {existing}, not {wanted}: leave --type out to keep it",
            request.column
        )));
    }
    let wanted = wanted.or(existing);
    let function = SqlFunction::compile(&request.sql, schema, wanted.as_ref()).map_err(refused)?;
    let filter_inputs = match &request.filter {
        Some(filter) => inputs(
            SqlFilter::compile(filter, schema)
                .map_err(refused)?
                .inputs(),
            table,
        )?,
        None => vec![],
    };
    Ok(Checked {
        canonical: function.canonical().to_owned(),
        inputs: inputs(function.inputs(), table)?,
        filter_inputs,
        output_type: function.output_type().clone(),
    })
}

impl Checked {
    fn definition(
        &self,
        request: &Request,
        table: &TableView,
        adopted: bool,
    ) -> Result<Definition> {
        let field = table.field(&request.column).ok_or_else(|| {
            Error::new(
                ErrorKind::Unavailable,
                format!("column '{}' vanished while it was declared", request.column),
            )
        })?;
        let mut definition = Definition::sql(
            &request.column,
            &field.data_type,
            &request.sql,
            &self.canonical,
            self.inputs.clone(),
        );
        definition.filter = request.filter.clone();
        definition.filter_inputs = self.filter_inputs.clone();
        definition.error_policy = request.error_policy.clone();
        definition.approve_above_rows = request.approve_above_rows;
        definition.declared_max_fragment = table
            .fragments
            .last()
            .map(|fragment| fragment.id)
            .filter(|_| adopted);
        Ok(definition)
    }
}

fn inputs(names: &[String], table: &TableView) -> Result<Vec<Input>> {
    names
        .iter()
        .map(|name| {
            let field = table
                .field(name)
                .ok_or_else(|| Error::internal(format!("input '{name}' has no field")))?;
            if is_blob(field) {
                return Err(Error::invalid(format!(
                    "column '{name}' holds blobs, which expressions cannot read yet"
                )));
            }
            Ok(Input {
                id: field.id,
                name: name.clone(),
            })
        })
        .collect()
}

/// Whether a column is stored as blobs: a scan gives their descriptors, not their bytes.
fn is_blob(field: &FieldView) -> bool {
    let has = |key: &str| field.metadata.get(key).map(String::as_str);
    has("lance-encoding:blob").is_some() || has("ARROW:extension:name") == Some("lance.blob.v2")
}

fn refused(error: impl std::fmt::Display) -> Error {
    Error::invalid(error.to_string())
}

fn refuse_cycle(
    request: &Request,
    checked: &Checked,
    catalog: &Catalog,
    field: Option<&FieldView>,
) -> Result<()> {
    let reads: BTreeSet<i32> = checked
        .inputs
        .iter()
        .chain(&checked.filter_inputs)
        .map(|input| input.id)
        .collect();
    // A column that does not exist yet cannot be read by any other.
    let Some(field) = field else { return Ok(()) };
    refuse_reading(&request.column, field.id, reads, catalog)
}

fn refuse_reading(
    column: &str,
    output: i32,
    reads: BTreeSet<i32>,
    catalog: &Catalog,
) -> Result<()> {
    let mut nodes: Vec<Node> = catalog
        .declared
        .iter()
        .filter_map(|declared| declared.bound.as_ref().ok())
        .filter(|bound| bound.output.id != output)
        .map(node)
        .collect();
    nodes.push(Node { output, reads });
    if order(&nodes).cyclic.contains(&output) {
        return Err(Error::invalid(format!(
            "column '{column}' would depend on itself, through its inputs or its filter: nobody could compute it"
        )));
    }
    Ok(())
}

fn new_binding() -> Result<BindingId> {
    uuid::Uuid::new_v4()
        .to_string()
        .parse()
        .map_err(|error| Error::internal("a fresh id is not one").with_source(error))
}
