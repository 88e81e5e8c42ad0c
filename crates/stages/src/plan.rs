//! Plan: hands ready rows out as one page of the ledger.

use std::collections::BTreeMap;

use lance_backfill_core::batch::Lane;
use lance_backfill_core::format::Stored;
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
    /// The page is in the ledger: its work may be sent.
    Dispatched(LedgerEntry),
    /// There is nothing to hand out.
    Nothing,
    /// Another planner took the place in the ledger: survey again.
    LostRace,
}

/// What would be handed out; writes nothing.
pub fn preview(survey: &Survey, limits: &Limits, now_ms: u64) -> Result<PlannedPage> {
    let needs = survey.needs(now_ms);
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
    lane: Lane,
    session: Option<&str>,
    world: &dyn World,
) -> Result<PlanOutcome> {
    let page = preview(survey, limits, world.now_ms())?;
    if page.is_empty() {
        return Ok(PlanOutcome::Nothing);
    }
    let entry = LedgerEntry {
        version: LedgerEntry::VERSION,
        binding: column.bound.binding.clone(),
        seq: survey.next_seq(),
        token: world.token(),
        table_version: survey.version,
        session: session.map(str::to_owned),
        body: EntryBody::Page(Page {
            generation: column.bound.generation.clone(),
            job: None,
            lane,
            batches: page.batches,
            folds: page.folds,
            approved_left: 0,
        }),
    };
    match column.store.create_entry(&entry).await? {
        Created::New => Ok(PlanOutcome::Dispatched(entry)),
        Created::AlreadyThere => Ok(PlanOutcome::LostRace),
    }
}
