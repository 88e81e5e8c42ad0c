//! The definition of a computed column, as it is stored in the table's metadata.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::format::Stored;
use crate::ids::{FieldId, GenerationId};

mod accepted;
mod bound;
pub mod home;

pub use accepted::{Earlier, OnChange};
pub use bound::{BoundColumn, Detached, Older, bind, outputs_of};

/// Field metadata key that carries the binding.
pub const BINDING_KEY: &str = "backfill.binding";
/// Field metadata key that says, in a group of columns, which output of the definition a field is.
pub const OUTPUT_KEY: &str = "backfill.output";
/// Prefix of the table metadata keys that carry definitions.
pub const DEFINITION_PREFIX: &str = "backfill.column.";
/// Table metadata key of the table's [home](home::Home).
pub const HOME_KEY: &str = "backfill.home";

/// What keeps one computed column up to date.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// Format of this JSON.
    pub version: u32,
    /// Columns that one call fills, by their names at declaration.
    pub outputs: Vec<String>,
    /// Their types, in the same order.
    pub output_types: Vec<String>,
    /// Type of the struct that a packaged function returns, of which several outputs are fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub returns: Option<String>,
    /// What computes the value.
    pub function: Function,
    /// Columns that the function reads.
    pub inputs: Vec<Input>,
    /// Rows to compute, SQL; all rows without.
    pub filter: Option<String>,
    /// Columns that the filter reads.
    pub filter_inputs: Vec<Input>,
    /// Whether unattended work is done on it.
    pub auto: bool,
    /// Workers that compute it.
    pub pool: Pool,
    /// What one call needs.
    pub resources: Resources,
    /// Names of secrets that the function needs.
    pub secrets: Vec<String>,
    /// What happens with rows that cannot be computed.
    pub error_policy: ErrorPolicy,
    /// Generations beside the present one whose values count as current, and what each of them reads.
    pub accepted_generations: BTreeMap<GenerationId, Vec<Input>>,
    /// What records of earlier definitions are kept under, newest first.
    pub earlier: Vec<Earlier>,
    /// What becomes of values whose origin is lost.
    pub on_unknown: OnUnknown,
    /// Rows above which unattended work waits for approval; -1 = no limit, `None` = the default of the kind.
    pub approve_above_rows: Option<i64>,
    /// Highest fragment id when the column was declared: what stood there before was supplied.
    pub declared_max_fragment: Option<u64>,
    /// How the function is called.
    pub call: Call,
}

impl Stored for Definition {
    const WHAT: &'static str = "the definition of a computed column";
    const VERSION: u32 = 1;
}

/// What computes a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Function {
    /// A SQL expression over the inputs.
    Sql {
        /// As the user wrote it.
        expression: String,
        /// The same with everything folded that does not change its meaning.
        canonical: String,
    },
    /// A packaged Python function.
    Python {
        /// `module:name`.
        entrypoint: String,
        /// Digest of the code.
        artifact: String,
        /// Digest of what it runs in.
        environment: String,
        /// The author's own version, in place of the code's digest.
        version: Option<String>,
    },
}

/// A column that is read, by id and by the name it had at declaration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Field id.
    pub id: FieldId,
    /// Name at declaration; expressions use it for ever.
    pub name: String,
}

/// Which workers compute a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pool {
    /// Serverless or in-process CPU workers.
    Cpu,
    /// The persistent GPU worker group.
    Gpu,
    /// CPU workers of the Ray cluster.
    RayCpu,
}

/// What one call needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resources {
    /// Cores.
    pub cpus: f64,
    /// Devices.
    pub gpus: f64,
    /// Kind of GPU workers; without, the only one there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_class: Option<String>,
    /// Most memory that one host may take, in MiB; none is watched for without.
    pub memory_mib: Option<u64>,
}

/// What happens with rows that cannot be computed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErrorPolicy {
    /// Skip the row or stop the job.
    pub on_error: OnError,
    /// Failed rows that are tolerated.
    pub max_failed_rows: Option<u64>,
    /// Failed share of computed rows that is tolerated, looked at after 100 rows.
    pub max_failed_fraction: Option<f64>,
    /// Attempts before a transient error counts.
    pub max_attempts: u32,
    /// Longest time for one row.
    pub row_timeout_s: Option<f64>,
}

/// What one failed row means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// Record it and go on, within the budget.
    Skip,
    /// Stop the job.
    Fail,
}

/// What becomes of non-null values whose origin is lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnUnknown {
    /// They stand.
    #[default]
    Trust,
    /// They are computed again.
    Recompute,
}

/// How the function is called.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// Rows per call.
    pub batch_size: Option<u32>,
    /// Longest time to get ready.
    pub init_timeout_s: Option<f64>,
    /// Error types that are transient.
    pub retry_on: Vec<String>,
    /// Environment, names and plain values.
    pub env: BTreeMap<String, String>,
    /// Most bytes of the inputs of one call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_bytes: Option<u64>,
}

impl Definition {
    /// A SQL column with default policy.
    pub fn sql(
        output: &str,
        output_type: &str,
        expression: &str,
        canonical: &str,
        inputs: Vec<Input>,
    ) -> Self {
        let function = Function::Sql {
            expression: expression.to_owned(),
            canonical: canonical.to_owned(),
        };
        Self::new(output, output_type, function, inputs)
    }

    /// A column with default policy.
    pub fn new(output: &str, output_type: &str, function: Function, inputs: Vec<Input>) -> Self {
        Self {
            version: Self::VERSION,
            outputs: vec![output.to_owned()],
            output_types: vec![output_type.to_owned()],
            returns: None,
            function,
            inputs,
            filter: None,
            filter_inputs: vec![],
            auto: true,
            pool: Pool::Cpu,
            resources: Resources {
                cpus: 1.0,
                gpus: 0.0,
                gpu_class: None,
                memory_mib: None,
            },
            secrets: vec![],
            error_policy: ErrorPolicy::default(),
            accepted_generations: BTreeMap::new(),
            earlier: vec![],
            on_unknown: OnUnknown::Trust,
            approve_above_rows: None,
            declared_max_fragment: None,
            call: Call::default(),
        }
    }

    /// What it was declared for: the names of its outputs, joined by commas.
    pub fn name(&self) -> String {
        self.outputs.join(",")
    }

    /// Digest of what decides a value; the filter, policies and resources are not part of it.
    pub fn generation(&self) -> GenerationId {
        let body: Vec<&str> = match &self.function {
            Function::Sql { canonical, .. } => vec!["sql", canonical],
            Function::Python {
                entrypoint,
                version: Some(version),
                ..
            } => vec!["python-version", entrypoint, version],
            Function::Python {
                entrypoint,
                artifact,
                version: None,
                ..
            } => vec!["python", entrypoint, artifact],
        };
        let inputs: Vec<&str> = self
            .inputs
            .iter()
            .map(|input| input.name.as_str())
            .collect();
        let mut digest = Sha256::new();
        for part in [
            &body,
            &inputs,
            &self.output_types.iter().map(String::as_str).collect(),
        ] {
            for text in part {
                digest.update((text.len() as u64).to_le_bytes());
                digest.update(text.as_bytes());
            }
            digest.update(u64::MAX.to_le_bytes());
        }
        let bytes = digest.finalize();
        let text: String = bytes
            .iter()
            .take(16)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        match text.parse() {
            Ok(generation) => generation,
            Err(_) => unreachable!("32 hexadecimal digits are a generation"),
        }
    }

    /// Rows above which unattended work waits for a person, or `None` for no limit.
    pub fn approval_limit(&self) -> Option<u64> {
        match (self.approve_above_rows, &self.function) {
            (Some(limit), _) => u64::try_from(limit).ok(),
            (None, Function::Sql { .. }) => None,
            (None, Function::Python { .. }) => Some(1_000_000),
        }
    }
}

impl Default for ErrorPolicy {
    fn default() -> Self {
        Self {
            on_error: OnError::Skip,
            max_failed_rows: None,
            max_failed_fraction: Some(0.05),
            max_attempts: 3,
            row_timeout_s: None,
        }
    }
}

#[cfg(test)]
mod tests;
