//! Declaring, editing and dropping computed columns.

use std::collections::BTreeMap;

use arrow_schema::DataType;
use lance_backfill_core::definition::home::Home;
use lance_backfill_core::definition::{
    BINDING_KEY, DEFINITION_PREFIX, Definition, HOME_KEY, OUTPUT_KEY, OnUnknown,
};
use lance_backfill_core::format::encode;
use lance_backfill_core::ids::BindingId;
use lance_backfill_core::snapshot::{CoverageSnapshot, Head};
use lance_backfill_core::table::TableView;
use lance_backfill_ports::state_store::Created;
use lance_backfill_ports::table::{Edit, EditOutcome, NewColumn, Table};
use lance_backfill_ports::{Error, ErrorKind, Result};

use crate::catalog::{Catalog, Declared};
use crate::engine::Engine;
use crate::home::{home_json, new_home_id};

mod check;
mod edit;
mod function;
pub(crate) mod group;
mod place;
mod policy;

pub use edit::Change;
pub use function::{FunctionRecord, FunctionRequest, PythonRequest, Registered};
pub use policy::Policy;

use check::{check, refuse_cycle};
use place::{Place, place_for};

/// What a user asks for.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Column to compute; several are fields of the struct that the function returns, by name.
    pub columns: Vec<String>,
    /// What computes it.
    pub function: FunctionRequest,
    /// Filter; all rows without.
    pub filter: Option<String>,
    /// Output type; that of the expression without.
    pub output_type: Option<String>,
    /// Whether an existing column may be taken over.
    pub adopt: bool,
    /// What happens with rows that cannot be computed, where it was said.
    pub policy: Policy,
    /// Rows in need above which unattended work waits for approval; -1 = no limit, `None` = that of the kind.
    pub approve_above_rows: Option<i64>,
    /// What becomes of values whose origin is lost.
    pub on_unknown: OnUnknown,
}

impl Engine {
    /// Declares a computed column; nothing is computed and, on an error, nothing is written.
    pub async fn declare(&self, request: &Request) -> Result<Declared> {
        self.settle().await?;
        let version = self.latest().await?;
        let table = version.view();
        let catalog = Catalog::read(table)?;
        request.function.check_place(&self.options)?;
        let place = place_for(request, table, &catalog)?;
        let checked = check(
            request,
            table,
            &version.schema(),
            &place.existing_types(&version.schema()),
        )?;
        refuse_cycle(request, &checked, &catalog, place.fields())?;
        if let FunctionRequest::Python(python) = &request.function {
            // Before anything names it.
            self.register_function(&python.registered).await?;
        }
        let binding: BindingId = match &place {
            Place::Abandoned(_, binding) => binding.clone(),
            Place::New | Place::Adopted(_) => new_binding()?,
        };
        match &place {
            Place::New => {
                self.refuse_while_paused().await?;
                let columns = new_columns(request, &checked.output_types, &binding);
                self.edit_or_fail(&Edit::AddColumns { columns }).await?;
            }
            Place::Adopted(field) => {
                let mut entries =
                    BTreeMap::from([(BINDING_KEY.to_owned(), Some(binding.to_string()))]);
                if field.metadata.contains_key(OUTPUT_KEY) {
                    entries.insert(OUTPUT_KEY.to_owned(), None);
                }
                let names = request.columns.clone();
                self.edit_or_fail(&Edit::FieldMetadata { names, entries })
                    .await?;
            }
            Place::Abandoned(..) => {}
        }
        let version = self.latest().await?;
        let definition =
            checked.definition(request, version.view(), !matches!(place, Place::New))?;
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
        let entries = BTreeMap::new();
        match store
            .extend_snapshot(&base, CoverageSnapshot { head, entries })
            .await?
        {
            Created::New | Created::AlreadyThere => Ok(()),
        }
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
            let home = Home::first(new_home_id()?, self.household.here.clone());
            let home = home_json(&home)?;
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
}

/// The columns of a declaration, in a group each with what it is of it.
fn new_columns(request: &Request, types: &[DataType], binding: &BindingId) -> Vec<NewColumn> {
    let is_group = request.columns.len() > 1;
    let column = |(name, data_type): (&String, &DataType)| {
        let mut metadata = BTreeMap::from([(BINDING_KEY.to_owned(), binding.to_string())]);
        if is_group {
            metadata.insert(OUTPUT_KEY.to_owned(), name.clone());
        }
        NewColumn {
            name: name.clone(),
            data_type: data_type.clone(),
            metadata,
        }
    };
    request.columns.iter().zip(types).map(column).collect()
}

fn new_binding() -> Result<BindingId> {
    uuid::Uuid::new_v4()
        .to_string()
        .parse()
        .map_err(|error| Error::internal("a fresh id is not one").with_source(error))
}
