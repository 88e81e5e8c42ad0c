//! Where the code of Python functions comes from, and who decides what may run.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use lance_backfill_core::checkpoint::{Fault, FaultKind};
use lance_backfill_core::definition::Definition;
use lance_backfill_core::deployment::{DEPLOYMENT_PATH, Deployment, Needs};
use lance_backfill_core::format::{Stored, decode, encode};
use lance_backfill_core::permit::{Permit, Program, Refusal};
use lance_backfill_ports::compute::{Answer, Call, Compute};
use lance_backfill_ports::state_store::{Created, StateStore};
use lance_backfill_ports::{Error, Result};
use lance_backfill_udf::python::Artifacts;

use crate::engine::Engine;

/// Where an engine takes the code and the environments of Python functions from.
#[derive(Debug, Clone, Default)]
pub enum ArtifactSource {
    /// The table's own state store, and those of tables that it was copied from: who can write the
    /// table decides what runs.
    #[default]
    Table,
    /// The store of a deployed service: who can write there decides, and nobody else.
    Service(Arc<ServiceFunctions>),
}

/// The functions that are registered with a service, and what its deployment can run.
pub struct ServiceFunctions {
    store: Arc<dyn StateStore>,
    known: Mutex<Known>,
}

/// What was found; what was not there is looked for again, since it may come.
#[derive(Default)]
struct Known {
    permits: BTreeMap<Program, Arc<Permit>>,
    deployment: Option<Arc<Deployment>>,
}

impl fmt::Debug for ServiceFunctions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ServiceFunctions")
            .finish_non_exhaustive()
    }
}

impl ServiceFunctions {
    /// Those in the service's own store.
    pub fn new(store: Arc<dyn StateStore>) -> Self {
        Self {
            store,
            known: Mutex::default(),
        }
    }

    /// Why the service does not run the function of a definition, in one line; nothing where it does.
    ///
    /// Costs a request for each program, once, and one more while it is refused.
    pub async fn refusal(&self, definition: &Definition) -> Result<Option<String>> {
        let Some(program) = Program::of(definition) else {
            return Ok(None);
        };
        let Some(permit) = self.permit(&program).await? else {
            return Ok(Some(Refusal::NotRegistered(program).to_string()));
        };
        if let Err(refusal) = permit.allows(definition) {
            return Ok(Some(refusal.to_string()));
        }
        self.lacks(definition).await
    }

    /// The service's own store.
    pub(crate) const fn store(&self) -> &Arc<dyn StateStore> {
        &self.store
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn permit(&self, program: &Program) -> Result<Option<Arc<Permit>>> {
        let known = self.known().permits.get(program).cloned();
        if known.is_some() {
            return Ok(known);
        }
        let path = program.permit_path();
        let Some(bytes) = self.store.get(&path).await? else {
            return Ok(None);
        };
        let permit: Permit = decode(&bytes)
            .map_err(|error| Error::from(error).with_source(format!("'{path}' of the service")))?;
        let permit = Arc::new(permit);
        (self.known().permits).insert(program.clone(), permit.clone());
        Ok(Some(permit))
    }

    /// What the deployment lacks to run a function, as far as it says what it has.
    async fn lacks(&self, definition: &Definition) -> Result<Option<String>> {
        let lacks = |deployment: &Deployment| {
            let missing = deployment.check(&Needs::of(definition)).err();
            missing.map(|missing| missing.to_string())
        };
        let known = self.known().deployment.clone();
        if let Some(known) = known
            && lacks(&known).is_none()
        {
            return Ok(None);
        }
        // It may have been deployed anew since.
        let Some(bytes) = self.store.get(DEPLOYMENT_PATH).await? else {
            return Ok(None);
        };
        let deployment: Deployment = decode(&bytes).map_err(|error| {
            Error::from(error).with_source(format!("'{DEPLOYMENT_PATH}' of the service"))
        })?;
        let deployment = Arc::new(deployment);
        self.known().deployment = Some(deployment.clone());
        Ok(lacks(&deployment))
    }

    /// Writes a permit: create-if-absent, and of several that agree the first stands.
    pub(crate) async fn write_permit(store: &dyn StateStore, permit: &Permit) -> Result<()> {
        let path = permit.program.permit_path();
        match store.create(&path, Bytes::from(encode(permit)?)).await? {
            Created::New => return Ok(()),
            Created::AlreadyThere => {}
        }
        let found = store.get(&path).await?.unwrap_or_default();
        let found: Permit = decode(&found).map_err(Error::from)?;
        // The record may be of an older program that wrote less into it.
        let agrees = Permit {
            function: permit.function.clone(),
            version: Permit::VERSION,
            ..found
        } == *permit;
        match agrees {
            true => Ok(()),
            false => Err(Error::invalid(format!(
                "{} was registered with other secrets or variables, and the same code: they must not depend on when it is imported",
                permit.program.entrypoint
            ))),
        }
    }
}

impl Engine {
    /// Where packed functions are that this engine may run.
    pub(crate) fn artifacts(&self) -> Artifacts {
        match &self.options.artifacts {
            ArtifactSource::Table => self.household.artifacts(),
            ArtifactSource::Service(functions) => Artifacts::new(vec![functions.store.clone()]),
        }
    }

    /// Why this engine does not run the function of a definition, in one line; nothing where it does.
    pub async fn refusal(&self, definition: &Definition) -> Result<Option<String>> {
        match &self.options.artifacts {
            ArtifactSource::Table => Ok(self.options.python.lacks(definition.resources.gpus)),
            ArtifactSource::Service(functions) => functions.refusal(definition).await,
        }
    }

    /// A function that is asked about before each call, where not everything may run.
    pub(crate) fn guarded(
        &self,
        definition: &Definition,
        function: Arc<dyn Compute>,
    ) -> Arc<dyn Compute> {
        match &self.options.artifacts {
            ArtifactSource::Table => function,
            ArtifactSource::Service(functions) => Arc::new(Guarded {
                function,
                functions: functions.clone(),
                definition: definition.clone(),
            }),
        }
    }
}

/// A function of a service: no way to it leads past its permit.
struct Guarded {
    function: Arc<dyn Compute>,
    functions: Arc<ServiceFunctions>,
    definition: Definition,
}

impl Guarded {
    async fn ask(&self) -> std::result::Result<(), Fault> {
        let refusal = match self.functions.refusal(&self.definition).await {
            Ok(None) => return Ok(()),
            Ok(Some(refusal)) => refusal,
            Err(error) => error.one_line(),
        };
        Err(Fault {
            kind: FaultKind::Environment,
            message: refusal,
            traceback: None,
        })
    }
}

#[async_trait]
impl Compute for Guarded {
    async fn prepare(&self, rows: u64) -> std::result::Result<(), Fault> {
        self.ask().await?;
        self.function.prepare(rows).await
    }

    fn lanes(&self) -> usize {
        self.function.lanes()
    }

    fn max_attempts(&self) -> u32 {
        self.function.max_attempts()
    }

    async fn rows_per_call(&self, waiting: usize) -> std::result::Result<usize, Fault> {
        self.ask().await?;
        self.function.rows_per_call(waiting).await
    }

    async fn call(&self, call: Call<'_>) -> std::result::Result<Answer, Fault> {
        self.ask().await?;
        self.function.call(call).await
    }
}
