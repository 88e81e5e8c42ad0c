//! The function of a column: an expression, or a packed Python function.

use std::sync::Arc;

use arrow_schema::{DataType, SchemaRef};
use bytes::Bytes;
use lance_backfill_core::definition::{
    Call, Definition, ErrorPolicy, Function, Input, OnError, Resources,
};
use lance_backfill_core::format::Stored;
use lance_backfill_core::permit::{Permit, Program};
use lance_backfill_core::table::TableView;
use lance_backfill_core::types::column_type_name;
use lance_backfill_ports::state_store::StateStore;
use lance_backfill_ports::{Error, Result};
use lance_backfill_udf::python::{
    Artifacts, Described, EnvironmentLock, Options, PackRequest, Packed, describe, digest_of, pack,
};
use lance_backfill_udf::types::{check_storable, normalise};
use serde::{Deserialize, Serialize};

use super::check::inputs;
use crate::artifacts::{ArtifactSource, ServiceFunctions};
use crate::engine::{Engine, EngineOptions};

/// What computes a column, as a user asks for it.
#[derive(Debug, Clone)]
pub enum FunctionRequest {
    /// A SQL expression.
    Sql(String),
    /// A Python function that was packed or registered.
    Python(Box<PythonRequest>),
}

impl Default for FunctionRequest {
    fn default() -> Self {
        Self::Sql(String::new())
    }
}

/// A Python function for a column.
#[derive(Debug, Clone)]
pub struct PythonRequest {
    /// The function.
    pub registered: Registered,
    /// Columns for its inputs, in order; those of the inputs' names without.
    pub inputs: Option<Vec<String>>,
}

/// A Python function whose code and environment are in the state store, or are about to be.
#[derive(Debug, Clone)]
pub struct Registered {
    /// Digest of the record.
    pub digest: String,
    /// What it says.
    pub record: FunctionRecord,
    /// What its environment is.
    pub lock: EnvironmentLock,
    /// Not in the state store yet.
    packed: Option<Arc<Packed>>,
}

/// The stored form of a registered function.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FunctionRecord {
    /// Format.
    pub version: u32,
    /// `module:name`.
    pub entrypoint: String,
    /// Digest of the code.
    pub artifact: String,
    /// Digest of the environment.
    pub environment: String,
    /// What it says of itself.
    pub function: Described,
    /// Type of its results.
    pub output_type: String,
}

const RECORD_VERSION: u32 = 1;

fn record_path(digest: &str) -> String {
    format!("functions/{digest}.json")
}

impl Registered {
    /// Where its files are: packed ones beside those of a store.
    pub(crate) fn artifacts(&self, stored: Artifacts) -> Artifacts {
        match &self.packed {
            Some(packed) => packed.artifacts(stored),
            None => stored,
        }
    }

    /// Lines worth telling, and bytes that packing made.
    pub fn packed(&self) -> Option<(&[String], u64)> {
        let packed = self.packed.as_deref()?;
        Some((packed.notes.as_slice(), packed.bytes()))
    }
}

impl Engine {
    /// Packs a function and asks it what it is; nothing is stored.
    pub async fn pack(&self, request: &PackRequest) -> Result<Registered> {
        let python = self.options.python.python();
        let packed = pack(request, python).await?;
        let (function, output) = describe(&packed, python).await?;
        let output = normalise(&output);
        check_storable(&output)
            .map_err(|error| Error::invalid(format!("{}: {error}", request.entrypoint)))?;
        let record = FunctionRecord {
            version: RECORD_VERSION,
            entrypoint: packed.entrypoint.clone(),
            artifact: packed.artifact.clone(),
            environment: packed.environment.clone(),
            function,
            output_type: column_type_name(&output),
        };
        Ok(Registered {
            digest: digest_of(&encoded(&record)?),
            lock: packed.lock.clone(),
            record,
            packed: Some(Arc::new(packed)),
        })
    }

    /// A function that was registered in this table's state store, by the beginning of its digest.
    pub async fn registered(&self, digest: &str) -> Result<Registered> {
        let wanted = digest.strip_prefix("sha256:").unwrap_or(digest);
        let artifacts = self.artifacts();
        let known = artifacts.names("functions").await?;
        let mut found = known.iter().filter_map(|path| {
            let name = path.strip_prefix("functions/")?.strip_suffix(".json")?;
            // Permits lie in a folder of their own.
            (!name.contains('/') && !wanted.is_empty() && name.starts_with(wanted)).then_some(name)
        });
        let (Some(name), None) = (found.next(), found.next()) else {
            return Err(Error::invalid(format!(
                "there is no function '{digest}' in the table's state store, or more than one begins like that: 'register' prints its digest"
            )));
        };
        let bytes = artifacts.get(&record_path(name)).await?.unwrap_or_default();
        if digest_of(&bytes) != name {
            return Err(Error::invalid(format!(
                "the record of function {name} was changed: register it again"
            )));
        }
        let record: FunctionRecord = serde_json::from_slice(&bytes).map_err(|error| {
            Error::invalid(format!("the record of function {name} cannot be read"))
                .with_source(error)
        })?;
        if record.version > RECORD_VERSION {
            return Err(Error::invalid(format!(
                "function {name} was registered by a newer version of lance-backfill: upgrade this one"
            )));
        }
        let lock = artifacts.lock(&record.environment).await;
        Ok(Registered {
            digest: name.to_owned(),
            lock: lock.map_err(|fault| Error::invalid(fault.message))?,
            record,
            packed: None,
        })
    }

    /// Stores a packed function where this engine's workers find it: beside the table, or in the store
    /// of the service that the engine stands for, with the permit to run it.
    ///
    /// Idempotent: everything has its digest for a name.
    pub async fn register_function(&self, registered: &Registered) -> Result<()> {
        match &self.options.artifacts {
            ArtifactSource::Table => registered.store(&self.artifacts()).await,
            ArtifactSource::Service(functions) => registered.register_with(functions.store()).await,
        }
    }
}

impl FunctionRequest {
    /// Refuses what nobody who works on the table could run, before anything is written: this machine,
    /// unless a service does.
    pub(super) fn check_place(&self, options: &EngineOptions) -> Result<()> {
        let (Self::Python(python), ArtifactSource::Table) = (self, &options.artifacts) else {
            return Ok(());
        };
        let record = &python.registered.record;
        match options.python.lacks(record.function.options.gpus()) {
            Some(lacks) => Err(Error::invalid(format!(
                "{} cannot run on this machine: {lacks}; run it on a service that has GPU workers (--service), or leave num_gpus and pool out to run it on this machine's cores",
                record.entrypoint
            ))),
            None => Ok(()),
        }
    }
}

impl Registered {
    async fn store(&self, artifacts: &Artifacts) -> Result<()> {
        let Some(packed) = &self.packed else {
            return Ok(());
        };
        packed.store(artifacts).await?;
        let record = encoded(&self.record)?;
        artifacts
            .put(&record_path(&self.digest), Bytes::from(record))
            .await
    }

    /// Stores a packed function with a service, and the permit to run it there.
    ///
    /// Idempotent: each object is create-if-absent, and has the digest of what it holds or allows for
    /// its name. The permit comes last, when all that it allows is there.
    /// A function that was registered before has its permit: it is not given anew from here.
    pub async fn register_with(&self, store: &Arc<dyn StateStore>) -> Result<()> {
        if self.packed.is_none() {
            return Ok(());
        }
        self.store(&Artifacts::new(vec![store.clone()])).await?;
        ServiceFunctions::write_permit(store.as_ref(), &self.permit()).await
    }

    fn permit(&self) -> Permit {
        let FunctionRecord {
            entrypoint,
            artifact,
            environment,
            function,
            ..
        } = self.record.clone();
        Permit {
            version: Permit::VERSION,
            function: self.digest.clone(),
            program: Program {
                entrypoint,
                artifact,
                environment,
            },
            secrets: (function.options.secrets)
                .unwrap_or_default()
                .into_iter()
                .collect(),
            env: function.options.env.unwrap_or_default(),
        }
    }
}

fn encoded(record: &FunctionRecord) -> Result<Vec<u8>> {
    serde_json::to_vec(record)
        .map_err(|error| Error::internal("a function record is not JSON").with_source(error))
}

impl PythonRequest {
    /// The columns that it reads.
    pub(super) fn input_columns(
        &self,
        table: &TableView,
        schema: &SchemaRef,
    ) -> Result<Vec<Input>> {
        let record = &self.registered.record;
        let wanted = &record.function.inputs;
        let names = self.inputs.as_ref().unwrap_or(wanted);
        if names.len() != wanted.len() {
            return Err(Error::invalid(format!(
                "{} has {} inputs ({}), and --inputs names {} columns",
                record.entrypoint,
                wanted.len(),
                wanted.join(", "),
                names.len()
            )));
        }
        for (name, input) in names.iter().zip(wanted) {
            if table.field(name).is_none() {
                let hint = match self.inputs {
                    Some(_) => String::new(),
                    None => format!(
                        ": its parameters name the columns that it reads; --inputs names others, such as --inputs {}",
                        wanted
                            .iter()
                            .map(|_| "COLUMN")
                            .collect::<Vec<_>>()
                            .join(",")
                    ),
                };
                return Err(Error::invalid(format!(
                    "there is no column '{name}' for the input '{input}' of {}{hint}",
                    record.entrypoint
                )));
            }
        }
        inputs(names, table, schema)
    }

    /// Type of its results.
    pub(super) fn own_type(&self) -> Result<DataType> {
        let record = &self.registered.record;
        lance_backfill_udf::types::parse_type(&record.output_type)
            .map_err(|error| Error::invalid(format!("{}: {error}", record.entrypoint)))
    }

    /// Type of its results; with a column, that column's type.
    pub(super) fn output_type(
        &self,
        column: &str,
        existing: Option<&DataType>,
    ) -> Result<DataType> {
        let record = &self.registered.record;
        let own = self.own_type()?;
        match existing {
            None => Ok(own),
            Some(existing) => {
                let name = column_type_name(existing);
                match name == record.output_type {
                    true => Ok(existing.clone()),
                    false => Err(Error::invalid(format!(
                        "{} gives {}, and column '{column}' has type {name}: declare the function with data_type='{name}'",
                        record.entrypoint, record.output_type
                    ))),
                }
            }
        }
    }

    pub(super) fn function(&self) -> Function {
        let record = &self.registered.record;
        Function::Python {
            entrypoint: record.entrypoint.clone(),
            artifact: record.artifact.clone(),
            environment: record.environment.clone(),
            version: record.function.options.version.clone(),
        }
    }

    /// Writes what the function's author declared into a definition.
    pub(super) fn apply_options(&self, definition: &mut Definition) {
        let record = &self.registered.record;
        let Options {
            batch_size,
            num_cpus,
            num_gpus: _,
            memory_mib,
            row_timeout_s,
            init_timeout_s,
            on_error,
            max_attempts,
            retry_on,
            version: _,
            secrets,
            env,
            pool: _,
            gpu_class,
            batch_bytes,
        } = record.function.options.clone();
        definition.pool = record.function.options.pool();
        definition.resources = Resources {
            cpus: num_cpus.unwrap_or(1.0),
            gpus: record.function.options.gpus(),
            memory_mib,
            gpu_class,
        };
        definition.secrets = secrets.unwrap_or_default();
        definition.call = Call {
            // What neither the author nor an option says stays as it is.
            batch_size: batch_size.or(definition.call.batch_size),
            init_timeout_s,
            retry_on: retry_on.unwrap_or_default(),
            env: env.unwrap_or_default(),
            batch_bytes,
        };
        let policy = &mut definition.error_policy;
        *policy = ErrorPolicy {
            on_error: match on_error.as_deref() {
                Some("fail") => OnError::Fail,
                Some(_) => OnError::Skip,
                None => policy.on_error,
            },
            max_attempts: max_attempts.unwrap_or(policy.max_attempts),
            row_timeout_s: row_timeout_s.or(policy.row_timeout_s),
            ..policy.clone()
        };
    }
}
