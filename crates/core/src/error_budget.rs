//! The error budget of a column: how many rows may fail before somebody must look.

use std::collections::BTreeMap;

use crate::batch::Work;
use crate::checkpoint::{CheckpointManifest, FaultKind};
use crate::definition::{ErrorPolicy, OnError};
use crate::ids::{BatchId, GenerationId, JobId};
use crate::ledger::{EntryBody, LedgerEntry, forgives_failures};

/// Below this many rows a share of failed rows says little.
const FEWEST_ROWS: u64 = 100;

/// Rows that were evaluated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    /// Rows with a value or NULL.
    pub computed: u64,
    /// Rows that failed.
    pub failed: u64,
}

impl Counted {
    /// Why these rows exceed a policy, if they do.
    pub fn exceeds(&self, policy: &ErrorPolicy) -> Option<String> {
        let Self { computed, failed } = *self;
        let most = match policy.on_error {
            OnError::Fail => Some(0),
            OnError::Skip => policy.max_failed_rows,
        };
        match most.filter(|most| failed > *most) {
            Some(0) => return Some(format!("{failed} rows failed, none is tolerated")),
            Some(most) => return Some(format!("{failed} rows failed, {most} are tolerated")),
            None if policy.on_error == OnError::Fail => return None,
            None => {}
        }
        let all = failed.saturating_add(computed);
        let most = policy.max_failed_fraction?;
        (all >= FEWEST_ROWS && failed as f64 > most * all as f64)
            .then(|| format!("{failed} of {all} rows failed, a share of {most} is tolerated"))
    }

    fn add(&mut self, manifest: &CheckpointManifest) {
        self.computed += manifest.rows_computed();
        self.failed += manifest.rows_failed();
    }
}

/// Where a column and its jobs are over their budgets, with the reasons.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct Overdrawn {
    /// What was handed out unattended since somebody resumed the column.
    pub column: Option<String>,
    /// What jobs ordered.
    pub jobs: BTreeMap<JobId, String>,
}

/// Judges the batches of a service by what they left.
///
/// Counted are those of the column's generation that called the function; what embedded processes
/// handed out they judge themselves, since they know whether a person looks on.
pub fn overdrawn<'a>(
    entries: &[LedgerEntry],
    checkpoint: &dyn Fn(&BatchId) -> Option<&'a CheckpointManifest>,
    generation: &GenerationId,
    policy: &ErrorPolicy,
) -> Overdrawn {
    let mut sums: BTreeMap<Option<JobId>, (Counted, Option<String>)> = BTreeMap::new();
    for entry in entries {
        if forgives_failures(&entry.body) {
            sums.remove(&None);
        }
        let EntryBody::Page(page) = &entry.body else {
            continue;
        };
        if entry.session.is_some() {
            continue;
        }
        for (batch, work) in entry.work() {
            let done = checkpoint(&batch).filter(|done| done.generation == *generation);
            let (Work::Compute(_), Some(done)) = (work, done) else {
                continue;
            };
            if done.calls > 0 {
                let (sum, stopped) = sums.entry(page.job.clone()).or_default();
                sum.add(done);
                // A batch that went over the budget by itself stopped, and each further one would.
                let by_itself = (done.fault.as_ref()).filter(|it| it.kind == FaultKind::Budget);
                *stopped = stopped.take().or_else(|| Some(by_itself?.message.clone()));
            }
        }
    }
    let mut found = Overdrawn::default();
    for (job, (sum, stopped)) in sums {
        let Some(reason) = sum.exceeds(policy).or(stopped) else {
            continue;
        };
        match job {
            Some(job) => {
                found.jobs.insert(job, reason);
            }
            None => found.column = Some(reason),
        }
    }
    found
}

#[cfg(test)]
mod tests;
