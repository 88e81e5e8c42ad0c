//! What became of a batch, in one line of the log.

use lance_backfill_core::batch::BatchMessage;
use lance_backfill_ports::{ErrorKind, Result};

use crate::Worked;

/// Logs what became of a batch; whether its message need not come again.
pub fn tell(message: &BatchMessage, worked: &Result<Worked>) -> bool {
    let BatchMessage { table, batch, .. } = message;
    let batch = batch.to_string();
    match worked {
        Ok(Worked::Done {
            column,
            rows_computed,
            rows_failed,
            calls,
            fault,
        }) => {
            tracing::info!(
                table,
                column,
                batch,
                job = message.job.as_ref().map(ToString::to_string),
                lane = message.lane.name(),
                generation = message.generation.as_str(),
                rows_computed,
                rows_failed,
                calls,
                fault,
                "did a batch"
            );
            true
        }
        Ok(Worked::Refused { column, reason }) => {
            tracing::warn!(table, column, batch, reason, "the function is not run here");
            true
        }
        Ok(Worked::Obsolete { reason }) => {
            tracing::info!(table, batch, reason, "nobody wants the batch any more");
            true
        }
        Err(error) if error.kind == ErrorKind::Invalid => {
            let error = error.one_line();
            tracing::error!(table, batch, error, "the batch can never be done");
            true
        }
        Err(error) => {
            let error = error.one_line();
            tracing::error!(table, batch, error, "the batch failed, and is tried again");
            false
        }
    }
}
