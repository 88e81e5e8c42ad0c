//! A breaker that somebody opened: unattended work keeps to it, and whoever succeeds closes it.

use lance_backfill_core::breaker::Breaker;
use lance_backfill_core::ledger::EntryBody;
use lance_backfill_ports::Result;
use lance_backfill_stages::column::Column;
use lance_backfill_stages::survey::{StandingBreaker, Survey};

use super::Attention;
use super::run::{Run, Step};

/// What the breaker asked for.
pub(super) enum Asked {
    /// Something was written down: survey again.
    WroteDown(Step),
    /// No row is computed now.
    Wait(StandingBreaker),
    /// One batch is.
    Probe,
    /// All are.
    HandOut,
}

impl Run<'_> {
    /// Asks the breaker, and writes down what it says.
    ///
    /// What a person asks for is done at once. A fault here opens no breaker: the function may be
    /// missing on this machine only, and `serve` waits longer and longer by itself.
    pub(super) async fn ask_breaker(&self, column: &Column, survey: &Survey) -> Result<Asked> {
        let generation = &column.bound.generation;
        let breaker = survey.breaker(generation, None, self.engine.world.now_ms());
        let standing = survey.standing_breaker(generation);
        match (breaker, standing, self.task.attention) {
            (Breaker::ToClose(_), ..) => {
                let body = EntryBody::BreakerClosed {};
                let step = self.write_down(survey, column, body).await?;
                Ok(Asked::WroteDown(step))
            }
            (_, None, _) | (_, _, Attention::Attended) => Ok(Asked::HandOut),
            (Breaker::ToOpen(open), Some(_), Attention::Unattended) => {
                let body = EntryBody::Breaker(open);
                let step = self.write_down(survey, column, body).await?;
                Ok(Asked::WroteDown(step))
            }
            (Breaker::Probing, Some(standing), _) => match self.sort_open(survey)?.0.is_empty() {
                true => Ok(Asked::Wait(standing)),
                // Its process died with it.
                false => Ok(Asked::Probe),
            },
            (Breaker::Open { .. }, Some(standing), _) => Ok(Asked::Wait(standing)),
            (Breaker::Probe | Breaker::Closed, Some(_), _) => Ok(Asked::Probe),
        }
    }
}
