//! What one host may take.

use std::time::Duration;

use lance_backfill_core::definition::Definition;

/// A host that does not get ready in this time is hung, unless its author allows longer.
const INIT_TIMEOUT: Duration = Duration::from_secs(600);

/// Limits of one host.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Cores.
    pub cpus: f64,
    /// Devices.
    pub gpus: f64,
    /// Longest time for one row, or for one call of a batched function.
    pub row_timeout: Option<Duration>,
    /// Longest time to get ready.
    pub init_timeout: Duration,
    /// Most resident memory.
    pub memory_bytes: Option<u64>,
    /// Rows per call.
    pub batch_size: Option<usize>,
    /// Most bytes of the inputs of one call.
    pub batch_bytes: Option<u64>,
    /// Attempts before a transient error counts.
    pub max_attempts: u32,
}

impl Limits {
    /// As a definition has them.
    pub fn of(definition: &Definition) -> Self {
        let Definition {
            resources,
            call,
            error_policy,
            ..
        } = definition;
        let seconds = |seconds: Option<f64>| Duration::try_from_secs_f64(seconds?).ok();
        Self {
            cpus: resources.cpus,
            gpus: resources.gpus,
            row_timeout: seconds(error_policy.row_timeout_s),
            init_timeout: seconds(call.init_timeout_s).unwrap_or(INIT_TIMEOUT),
            memory_bytes: resources.memory_mib.map(|mib| mib.saturating_mul(1 << 20)),
            batch_size: call.batch_size.map(|rows| rows.max(1) as usize),
            batch_bytes: call.batch_bytes.map(|bytes| bytes.max(1)),
            max_attempts: error_policy.max_attempts.max(1),
        }
    }
}
