//! What a function says of itself.

use std::collections::BTreeMap;

use lance_backfill_core::definition::Pool;
use serde::{Deserialize, Serialize};

/// A function as its host describes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Described {
    /// Its name.
    pub name: String,
    /// First line of its documentation.
    pub doc: Option<String>,
    /// How it is called.
    pub kind: Kind,
    /// Whether it is a class, instantiated once a host.
    pub stateful: bool,
    /// Names of its inputs, in order.
    pub inputs: Vec<String>,
    /// What its author declared.
    pub options: Options,
}

/// How a function is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Row by row.
    Scalar,
    /// With arrays.
    Array,
    /// With a record batch.
    RecordBatch,
}

/// What an author may declare; `None` where nothing was said.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
    /// Rows per call.
    pub batch_size: Option<u32>,
    /// Cores of one host.
    pub num_cpus: Option<f64>,
    /// Devices of one host.
    pub num_gpus: Option<f64>,
    /// Most memory of one host.
    pub memory_mib: Option<u64>,
    /// Longest time for one row.
    pub row_timeout_s: Option<f64>,
    /// Longest time to get ready.
    pub init_timeout_s: Option<f64>,
    /// `skip` or `fail`.
    pub on_error: Option<String>,
    /// Attempts before a transient error counts.
    pub max_attempts: Option<u32>,
    /// Names of transient exception types.
    pub retry_on: Option<Vec<String>>,
    /// The author's own version.
    pub version: Option<String>,
    /// Names of secrets.
    pub secrets: Option<Vec<String>>,
    /// Environment, names and plain values.
    pub env: Option<BTreeMap<String, String>>,
    /// `cpu`, `gpu` or `ray-cpu`.
    // Records without these have the digests that they had before there were any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Kind of GPU workers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu_class: Option<String>,
    /// Most bytes of the inputs of one call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_bytes: Option<u64>,
}

impl Options {
    /// Workers that it asks for.
    pub fn pool(&self) -> Pool {
        match self.pool.as_deref() {
            Some("ray-cpu") => Pool::RayCpu,
            _ if self.gpus() > 0.0 => Pool::Gpu,
            _ => Pool::Cpu,
        }
    }

    /// Devices of one host: those that were asked for, or one for the workers that have them.
    pub fn gpus(&self) -> f64 {
        let of_pool = match self.pool.as_deref() {
            Some("gpu") => 1.0,
            _ => 0.0,
        };
        self.num_gpus.unwrap_or(of_pool)
    }
}
