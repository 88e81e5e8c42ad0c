//! Plan: hands ready rows out as one page of the ledger.

use std::collections::BTreeMap;

use lance_backfill_core::batch::Lane;
use lance_backfill_core::format::Stored;
use lance_backfill_core::ids::JobId;
use lance_backfill_core::invariant;
use lance_backfill_core::ledger::{EntryBody, LedgerEntry, Page};
use lance_backfill_core::plan::{Limits, PlannedPage, cut};
use lance_backfill_ports::state_store::Created;
use lance_backfill_ports::world::World;
use lance_backfill_ports::{Error, Result};

use crate::column::Column;
use crate::survey::Survey;

/// What became of a plan.
#[must_use]
pub enum PlanOutcome {
    /// The entry is in the ledger: its work may be sent.
    Dispatched(Box<LedgerEntry>),
    /// There is nothing to hand out.
    Nothing,
    /// Another planner took the place in the ledger: survey again.
    LostRace,
}

/// Whose work is handed out, and how.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// Rows of this job; without, all rows in need.
    pub job: Option<&'a JobId>,
    /// Lane to send it through.
    pub lane: Lane,
    /// Embedded process that hands it out.
    pub session: Option<&'a str>,
    /// Rows that a person's approval covers, before this page.
    pub approved: u64,
}

/// What would be handed out; writes nothing.
pub fn preview(
    survey: &Survey,
    limits: &Limits,
    job: Option<&JobId>,
    now_ms: u64,
) -> Result<PlannedPage> {
    let needs = survey.needs(job, now_ms);
    let page = cut(&needs, limits);
    let by_fragment: BTreeMap<_, _> = needs.iter().map(|need| (need.fragment, need)).collect();
    let ready = |fragment| {
        by_fragment
            .get(&fragment)
            .map(|need| (need.ready.clone(), need.in_id))
    };
    invariant::one_owner(&page, ready)
        .map_err(|violation| Error::internal(violation.to_string()))?;
    Ok(page)
}

/// Hands out one page of work.
///
/// Create-if-absent on the dense ledger number: of two planners that saw the same state one wins,
/// and the other surveys again, so no row is in two open batches.
pub async fn dispatch(
    survey: &Survey,
    column: &Column,
    limits: &Limits,
    order: Order<'_>,
    world: &dyn World,
) -> Result<PlanOutcome> {
    let page = preview(survey, limits, order.job, world.now_ms())?;
    if page.is_empty() {
        return Ok(PlanOutcome::Nothing);
    }
    let body = EntryBody::Page(Page {
        generation: column.bound.generation.clone(),
        job: order.job.cloned(),
        lane: order.lane,
        // What a person asked for is not unattended.
        approved_left: match order.job {
            Some(_) => order.approved,
            None => order.approved.saturating_sub(page.rows()),
        },
        batches: page.batches,
        folds: page.folds,
    });
    write_down(survey, column, body, order.session, world).await
}

/// Makes an entry the next of the ledger; `Dispatched` tells that it is there.
///
/// Create-if-absent, like a page: nothing that the survey did not see comes before it.
pub async fn write_down(
    survey: &Survey,
    column: &Column,
    body: EntryBody,
    session: Option<&str>,
    world: &dyn World,
) -> Result<PlanOutcome> {
    let entry = LedgerEntry {
        version: LedgerEntry::VERSION,
        binding: column.bound.binding.clone(),
        seq: survey.next_seq(),
        token: world.token(),
        after: (survey.ledger.last()).map(|newest| newest.entry.token.clone()),
        table_version: survey.version,
        session: session.map(str::to_owned),
        body,
    };
    match column.store.create_entry(&entry).await? {
        Created::New => Ok(PlanOutcome::Dispatched(Box::new(entry))),
        Created::AlreadyThere => Ok(PlanOutcome::LostRace),
    }
}
