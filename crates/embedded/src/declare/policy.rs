//! What somebody said of failing rows and of the workers; the rest stays as it is.

use lance_backfill_core::definition::{Definition, OnError, Pool};

/// Policies that were asked for.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// Skip the row or stop the job.
    pub on_error: Option<OnError>,
    /// Failed rows that are tolerated.
    pub max_failed_rows: Option<u64>,
    /// Failed share of computed rows that is tolerated.
    pub max_failed_fraction: Option<f64>,
    /// Attempts before a transient error counts.
    pub max_attempts: Option<u32>,
    /// Longest time for one row.
    pub row_timeout_s: Option<f64>,
    /// Rows of one call.
    pub batch_size: Option<u32>,
    /// Workers that compute it.
    pub pool: Option<Pool>,
    /// Kind of GPU workers.
    pub gpu_class: Option<String>,
}

impl Policy {
    /// Writes what was said into a definition.
    pub fn apply(&self, definition: &mut Definition) {
        let Self {
            on_error,
            max_failed_rows,
            max_failed_fraction,
            max_attempts,
            row_timeout_s,
            batch_size,
            pool,
            gpu_class,
        } = self;
        let policy = &mut definition.error_policy;
        policy.on_error = on_error.unwrap_or(policy.on_error);
        policy.max_failed_rows = max_failed_rows.or(policy.max_failed_rows);
        policy.max_failed_fraction = max_failed_fraction.or(policy.max_failed_fraction);
        policy.max_attempts = max_attempts.unwrap_or(policy.max_attempts);
        policy.row_timeout_s = row_timeout_s.or(policy.row_timeout_s);
        definition.pool = pool.unwrap_or(definition.pool);
        let resources = &mut definition.resources;
        resources.gpu_class = gpu_class.clone().or(resources.gpu_class.take());
        if *pool == Some(Pool::Gpu) && resources.gpus <= 0.0 {
            resources.gpus = 1.0;
        }
        definition.call.batch_size = batch_size.or(definition.call.batch_size);
    }
}
