//! The engine: one table, its state store, and what this process may use.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow_schema::SchemaRef;
use lance_backfill_core::coverage::CoverageRecord;
use lance_backfill_core::definition::BoundColumn;
use lance_backfill_core::ids::{BindingId, FieldId, LedgerSeq};
use lance_backfill_core::plan::{Limits, PlannedPage};
use lance_backfill_core::rate::Estimate;
use lance_backfill_lance::{LanceTable, OpenOptions};
use lance_backfill_ports::Result;
use lance_backfill_ports::compute::{Compute, RowFilter};
use lance_backfill_ports::table::{Table, TableVersion};
use lance_backfill_ports::world::World;
use lance_backfill_stages::column::Column;
use lance_backfill_stages::column_store::ColumnStore;
use lance_backfill_stages::execute::Workers;
use lance_backfill_stages::plan::preview;
use lance_backfill_stages::survey::{Scope, Survey, Unsettled, survey, survey_for};
use tokio::sync::OnceCell;
use tracing::Instrument;

use crate::artifacts::ArtifactSource;
use crate::catalog::{Catalog, node};
use crate::functions;
use crate::home::Household;
use crate::python::PythonFunctions;
use crate::session::Session;
use crate::system::System;

/// Coverage records that a column at rest remembers: dependents read those of failed rows again.
const MOST_RECORDS_AT_REST: usize = 256;

/// What an engine may use.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// How to reach the table.
    pub open: OpenOptions,
    /// Slices at work at once.
    pub workers: usize,
    /// Most rows of one batch, whatever the speed.
    pub most_rows_per_batch: Option<u64>,
    /// Folder for locks of this machine's sessions.
    pub cache: PathBuf,
    /// Python functions, shared by all engines of this process.
    pub python: Arc<PythonFunctions>,
    /// Where their code comes from.
    pub artifacts: ArtifactSource,
}

/// One table with the stages around it.
pub struct Engine {
    pub(crate) table: Arc<LanceTable>,
    pub(crate) options: EngineOptions,
    pub(crate) world: Arc<dyn World>,
    pub(crate) workers: Workers,
    pub(crate) household: Household,
    /// Whether this process wrote the home of a table that was moved.
    pub(crate) followed: OnceCell<bool>,
    stores: Mutex<BTreeMap<BindingId, Arc<ColumnStore>>>,
    compiled: Mutex<BTreeMap<BindingId, Compiled>>,
    session: Mutex<Option<Arc<Session>>>,
}

/// A column's function and filter, and what they were compiled from.
#[derive(Clone)]
struct Compiled {
    bound: BoundColumn,
    schema: SchemaRef,
    function: Arc<dyn Compute>,
    filter: Option<Arc<dyn RowFilter>>,
}

impl Engine {
    /// Opens a table that exists.
    pub async fn open(uri: &str, options: EngineOptions) -> Result<Self> {
        let workers = Workers::new(options.workers);
        Self::open_beside(uri, options, workers).await
    }

    /// Opens a table that shares its workers with other tables of this process.
    pub(crate) async fn open_beside(
        uri: &str,
        options: EngineOptions,
        workers: Workers,
    ) -> Result<Self> {
        let table = Arc::new(LanceTable::open(uri, &options.open).await?);
        let household = Household::of(&table).await?;
        Ok(Self {
            table,
            options,
            world: Arc::new(System),
            workers,
            household,
            followed: OnceCell::new(),
            stores: Mutex::default(),
            compiled: Mutex::default(),
            session: Mutex::default(),
        })
    }

    /// The same; a batch whose calls would have to wait for longer ends with what it has.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self {
            workers: self.workers.with_patience(patience),
            ..self
        }
    }

    /// The newest version of the table.
    pub async fn latest(&self) -> Result<Arc<dyn TableVersion>> {
        self.table.latest().await
    }

    /// Where the table is, as the user named it.
    pub fn uri(&self) -> &str {
        self.table.uri()
    }

    /// State of a column; caches live as long as the engine.
    pub(crate) fn store(&self, binding: &BindingId) -> Arc<ColumnStore> {
        let mut stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        stores
            .entry(binding.clone())
            .or_insert_with(|| Arc::new(self.household.column(binding)))
            .clone()
    }

    /// This process's session, started at its first use.
    pub(crate) fn session(&self) -> Result<Arc<Session>> {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = &*session {
            return Ok(session.clone());
        }
        let started = Arc::new(Session::start(
            &self.world.token(),
            &self.world.token(),
            self.options.cache.join("sessions"),
        )?);
        *session = Some(started.clone());
        Ok(started)
    }

    /// Whether an earlier call of this session handed the entry's work out, for one that publishes it.
    pub(crate) fn has_planned(&self, survey: &Survey, seq: LedgerSeq) -> bool {
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(session) = &*session else {
            return false;
        };
        survey.ledger.iter().any(|stored| {
            stored.entry.seq == seq && stored.entry.session.as_ref() == Some(&session.id)
        })
    }

    /// Says that no batch of this process is open any more.
    pub(crate) fn forget_session(&self) {
        if let Some(session) = self
            .session
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        {
            session.forget();
        }
    }

    /// Function and filter of a column, compiled once while definition and schema stay the same.
    fn compiled(&self, bound: &BoundColumn, schema: &SchemaRef) -> Result<Compiled> {
        let known = || self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |known: &&Compiled| known.bound == *bound && known.schema == *schema;
        if let Some(known) = known().get(&bound.binding).filter(same) {
            return Ok(known.clone());
        }
        let compiled = Compiled {
            bound: bound.clone(),
            schema: schema.clone(),
            function: self.function(bound, schema)?,
            filter: functions::filter(bound, schema)?,
        };
        known().insert(bound.binding.clone(), compiled.clone());
        Ok(compiled)
    }

    /// A column with all that the stages need.
    pub fn column(
        &self,
        bound: &BoundColumn,
        catalog: &Catalog,
        version: &dyn TableVersion,
    ) -> Result<Column> {
        let schema = version.schema();
        let compiled = self.compiled(bound, &schema)?;
        let has_dependents = catalog
            .acting()
            .any(|other| is_read_by(bound, &node(other).reads));
        Ok(Column {
            store: self.store(&bound.binding),
            function: compiled.function,
            filter: compiled.filter,
            filters: functions::filters(&schema),
            has_dependents,
            bound: bound.clone(),
        })
    }

    /// Surveys the given columns and all that they read, at one version, dependencies first.
    pub async fn survey(
        &self,
        version: &Arc<dyn TableVersion>,
        catalog: &Catalog,
        wanted: &(dyn Fn(&BoundColumn) -> bool + Sync),
    ) -> Result<Vec<(Column, Survey)>> {
        self.survey_for(version, catalog, wanted, Scope::Whole)
            .await
    }

    /// The same of a part of each wanted column, or with what somebody might ask for.
    pub(crate) async fn survey_for(
        &self,
        version: &Arc<dyn TableVersion>,
        catalog: &Catalog,
        wanted: &(dyn Fn(&BoundColumn) -> bool + Sync),
        scope: Scope<'_>,
    ) -> Result<Vec<(Column, Survey)>> {
        let mut needed: BTreeSet<FieldId> = catalog
            .acting()
            .filter(|bound| wanted(bound))
            .map(BoundColumn::key)
            .collect();
        // Dependencies come first in the catalog, so one pass from the back finds all of them.
        let acting: Vec<&BoundColumn> = catalog.acting().collect();
        for bound in acting.iter().rev() {
            if is_read_by(bound, &needed) {
                needed.extend(node(bound).reads);
            }
        }
        let mut surveyed: Vec<(Column, Survey)> = vec![];
        for bound in acting
            .into_iter()
            .filter(|bound| is_read_by(bound, &needed))
        {
            let column = self.column(bound, catalog, version.as_ref())?;
            let reads = node(bound).reads;
            let upstream: Vec<(&Column, &Survey)> = surveyed
                .iter()
                .filter(|(other, _)| is_read_by(&other.bound, &reads))
                .map(|(column, survey)| (column, survey))
                .collect();
            let scope = match wanted(bound) {
                true => scope,
                false => Scope::Whole,
            };
            let table = self.table.as_ref();
            let span = tracing::info_span!("survey", column = column.name());
            let found = Box::pin(survey_for(table, version, &column, &upstream, scope));
            let found = found.instrument(span).await?;
            surveyed.push((column, found));
        }
        Ok(surveyed)
    }

    /// What would be handed out for a column; calls no function.
    pub fn preview(&self, survey: &Survey, limits: &Limits) -> Result<PlannedPage> {
        preview(survey, limits, None, self.world.now_ms())
    }

    /// How long so many rows take, if the column's speed was measured, with the workers of these limits.
    pub fn estimate(
        &self,
        column: &Column,
        survey: &Survey,
        rows: u64,
        limits: &Limits,
    ) -> Option<Estimate> {
        let rate = self.measured(column, survey)?;
        let workers = usize::try_from(limits.workers).unwrap_or(usize::MAX);
        Some(rate.estimate(rows, workers))
    }

    /// The live records of a column that have failed rows.
    pub async fn failed_records(
        &self,
        version: &Arc<dyn TableVersion>,
        catalog: &Catalog,
        column: &str,
    ) -> Result<Vec<CoverageRecord>> {
        let Some(bound) = catalog.acting().find(|bound| bound.is_named(column)) else {
            return Ok(vec![]);
        };
        // A column that is asked about behaves like one that others read: failed rows stay visible.
        let mut column = self.column(bound, catalog, version.as_ref())?;
        column.has_dependents = true;
        let found = Box::pin(survey(self.table.as_ref(), version, &column, &[])).await?;
        let failed = |unsettled: &Unsettled| {
            let record = unsettled.present.record.clone()?;
            let live_errors = record
                .errors
                .into_iter()
                .map(|mut errors| {
                    errors.rows = errors.rows.intersection(&unsettled.state.failed);
                    errors
                })
                .filter(|errors| !errors.rows.is_empty())
                .collect::<Vec<_>>();
            (!live_errors.is_empty()).then_some(CoverageRecord {
                errors: live_errors,
                ..record
            })
        };
        Ok(found.unsettled.values().filter_map(failed).collect())
    }

    /// Rows of a version that are not deleted.
    pub async fn live_rows(&self, version: &dyn TableVersion) -> Result<u64> {
        let mut rows = 0;
        for fragment in &version.view().fragments {
            rows += u64::from(fragment.physical_rows);
            if fragment.deletion.is_some() {
                rows -= version.deleted_rows(fragment.id).await?.len();
            }
        }
        Ok(rows)
    }

    /// Gives back what only work in progress needs to remember.
    pub(crate) fn slim(&self) {
        let stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        stores
            .values()
            .for_each(|store| store.forget_records(MOST_RECORDS_AT_REST));
    }

    /// Says that this process has no open batches any more.
    pub fn rest(&self) {
        self.forget_session();
    }
}

/// Whether some output of a column is among these fields.
fn is_read_by(bound: &BoundColumn, reads: &BTreeSet<FieldId>) -> bool {
    reads.iter().any(|field| bound.fills(*field))
}
