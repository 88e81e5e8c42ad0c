//! What keeps rows from being handed out: too many that failed, and a breaker that is open.

use std::time::Duration;

use lance_backfill_core::breaker::Breaker;
use lance_backfill_core::error_budget::overdrawn;
use lance_backfill_core::job::JobOutcome;
use lance_backfill_core::ledger::{EntryBody, HoldReason, standing_hold};
use lance_backfill_core::message::{PlanMessage, Wake};
use lance_backfill_embedded::breaker::breaker_line;
use lance_backfill_ports::Result;

use super::{Handed, Planning};

/// A queue keeps no message back for longer; the schedule finds what is due after that.
const LONGEST_DELAY: Duration = Duration::from_secs(900);

/// What the breaker asked for.
pub(super) enum Asked {
    /// Something was written down, and that is all for this survey.
    WroteDown(Handed),
    /// No row is handed out.
    Wait,
    /// One batch is.
    Probe,
    /// All are.
    HandOut,
}

impl Planning<'_> {
    /// Ends jobs that are over, and holds the column where too many of its rows failed.
    ///
    /// `Done` says that the survey still holds.
    pub(super) async fn judge(&mut self) -> Result<Handed> {
        let bound = &self.column.bound;
        let entries = self.survey.entries();
        let policy = &bound.definition.error_policy;
        let checkpoint = |batch: &_| self.survey.checkpoint(batch);
        let over = overdrawn(&entries, &checkpoint, &bound.generation, policy);
        let mut handed = Handed::Done;
        for request in &self.survey.requests {
            if over.jobs.contains_key(&request.job) {
                let end = request.end(&bound.binding, JobOutcome::OverBudget);
                self.column.store.end_job(end).await?;
                handed = Handed::More;
            }
        }
        for request in self.survey.finished_requests() {
            if !over.jobs.contains_key(&request.job) {
                let end = request.end(&bound.binding, JobOutcome::Done);
                self.column.store.end_job(end).await?;
            }
        }
        let is_held =
            matches!(standing_hold(&entries), Some((reason, _)) if reason == HoldReason::Budget);
        match over.column.filter(|_| !is_held) {
            Some(message) => {
                let reason = HoldReason::Budget;
                self.note(EntryBody::Hold { reason, message }).await
            }
            None => Ok(handed),
        }
    }

    /// Asks the breaker, and writes down what it says.
    pub(super) async fn ask_breaker(&mut self) -> Result<Asked> {
        let generation = &self.column.bound.generation;
        let first_wait = self.service.options.outages.first_probe_after;
        let first_wait_ms = u64::try_from(first_wait.as_millis()).unwrap_or(u64::MAX);
        let now_ms = self.engine.now_ms();
        match self.survey.breaker(generation, Some(first_wait_ms), now_ms) {
            Breaker::Closed => Ok(Asked::HandOut),
            Breaker::ToOpen(open) => {
                let (wait_ms, faults) = (open.wait_ms, open.faults);
                tracing::warn!(
                    table = self.table,
                    column = self.column.name(),
                    faults,
                    wait_ms,
                    reason = open.message,
                    "a fault hit a whole batch: the breaker is open"
                );
                let handed = self.note(EntryBody::Breaker(open)).await?;
                if handed == Handed::More {
                    self.wake_at_probe(wait_ms).await?;
                }
                Ok(Asked::WroteDown(handed))
            }
            Breaker::ToClose(closing) => {
                tracing::info!(
                    table = self.table,
                    column = self.column.name(),
                    reason = ?closing,
                    "the breaker is closed"
                );
                let handed = self.note(EntryBody::BreakerClosed {}).await?;
                Ok(Asked::WroteDown(handed))
            }
            Breaker::Open { .. } | Breaker::Probing => {
                let standing = self.survey.standing_breaker(generation);
                self.sent.held = standing.map(|standing| breaker_line(&standing, now_ms));
                Ok(Asked::Wait)
            }
            Breaker::Probe => Ok(Asked::Probe),
        }
    }

    /// Wakes a planner when the wait is over: whoever opened the breaker does, so that no two chains
    /// of messages come of one fault.
    async fn wake_at_probe(&self, wait_ms: u64) -> Result<()> {
        // The store's clock may be behind the queue's.
        let delay = Duration::from_millis(wait_ms.saturating_add(wait_ms / 50));
        if delay > LONGEST_DELAY {
            return Ok(());
        }
        // Also of a column that is not kept up to date by itself, of which a person ordered rows.
        let plan = PlanMessage::new(self.table.to_owned(), Wake::Requested);
        self.service.queues.send_plan_after(&plan, delay).await
    }
}
