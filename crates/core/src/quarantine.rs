//! Quarantine: batches whose messages were received in vain until their queue gave them up.
//!
//! A batch that stops its worker each time is found out by nobody else: it has no checkpoint manifest,
//! and its rows would stay open. It gets one here, in which either its rows failed, which a person may
//! order again, or, where many batches fare alike, nothing is said of any row.

use crate::batch::{BatchMessage, BatchSpec};
use crate::checkpoint::{CheckpointManifest, Fault, FaultKind, SliceOutput, SliceResult};
use crate::coverage::RowErrors;
use crate::format::Stored;
use crate::ids::{GenerationId, LedgerSeq};
use crate::rows::RowSet;

/// Kind of the error of rows whose batch never came to an end.
pub const QUARANTINED: &str = "BatchQuarantined";
/// Batches in a row that were given up, and whose rows are to blame; more of them tell an outage, of
/// storage say, which must not fail a million rows.
const MOST_IN_A_ROW: usize = 2;

/// What is to become of batches that were given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// Their rows failed.
    RowsFailed,
    /// A fault hit them, and no row is to blame: the breaker opens.
    Outage,
}

/// Judges the batches of a column that were given up and are still open, together.
///
/// `given_up` is how many they are; `breaker_stands` tells that they were probes or came before one.
pub fn judge<'a>(
    given_up: usize,
    breaker_stands: bool,
    generation: &GenerationId,
    checkpoints: impl Iterator<Item = &'a CheckpointManifest> + Clone,
) -> Verdict {
    let own = checkpoints.filter(|done| done.generation == *generation);
    let succeeded: Option<LedgerSeq> = (own.clone())
        .filter(|done| done.shows_success())
        .map(|done| done.batch.seq)
        .max();
    // Within a page nobody knows which came first.
    let since = own.filter(|done| Some(done.batch.seq) >= succeeded && is_quarantined(done));
    match breaker_stands || since.count() + given_up > MOST_IN_A_ROW {
        true => Verdict::Outage,
        false => Verdict::RowsFailed,
    }
}

/// Whether a batch was given up, and its rows with it.
fn is_quarantined(done: &CheckpointManifest) -> bool {
    let mut failed = done.slices.iter().flat_map(|slice| &slice.failed);
    done.calls == 0 && failed.any(|errors| errors.kind == QUARANTINED)
}

/// What a batch that was given up leaves.
pub fn manifest(
    message: &BatchMessage,
    spec: &BatchSpec,
    verdict: Verdict,
    attempt: Attempt,
) -> CheckpointManifest {
    let Attempt {
        token,
        read_version,
        receives,
        now_ms,
    } = attempt;
    let failed = |rows: &RowSet| {
        RowErrors {
        rows: rows.clone(),
        kind: QUARANTINED.to_owned(),
        message: "its batch was received as often as the queue allows, and no worker finished it; the log of the workers says why, and 'retry' computes the row again".to_owned(),
        traceback: None,
        attempts: receives.max(1),
    }
    };
    let slices = spec.slices.iter().map(|slice| SliceResult {
        fragment: slice.fragment,
        in_id: slice.in_id,
        values: RowSet::new(),
        nulls: RowSet::new(),
        failed: match verdict {
            Verdict::RowsFailed => vec![failed(&slice.rows)],
            Verdict::Outage => vec![],
        },
        output: SliceOutput::Nothing,
    });
    CheckpointManifest {
        version: CheckpointManifest::VERSION,
        batch: message.batch.clone(),
        binding: message.binding.clone(),
        generation: message.generation.clone(),
        job: message.job.clone(),
        attempt: token,
        read_version,
        slices: slices.collect(),
        fault: (verdict == Verdict::Outage).then(|| Fault {
            kind: FaultKind::Storage,
            message: "no worker finished the batches that it received, however often it did; the log of the workers says why".to_owned(),
            traceback: None,
        }),
        calls: 0,
        elapsed_ms: 0,
        finished_ms: now_ms,
        bytes_written: 0,
    }
}

/// Who gives a batch up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Random: tells our own write from another's after a lost answer.
    pub token: String,
    /// Version of the table that was looked at.
    pub read_version: u64,
    /// How often its message was received, as far as the queue tells.
    pub receives: u32,
    /// When that is, in milliseconds since the epoch.
    pub now_ms: u64,
}

#[cfg(test)]
mod tests;
