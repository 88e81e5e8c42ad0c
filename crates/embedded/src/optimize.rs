//! Compaction of a table that leaves alone what is in flight.

use std::collections::BTreeSet;

use lance_backfill_core::batch::Work;
use lance_backfill_core::ids::FragmentId;
use lance_backfill_lance::{CompactOutcome, Compaction};
use lance_backfill_ports::{Error, ErrorKind, Result};
use lance_backfill_stages::survey::{Survey, Unsettled};

use crate::catalog::Catalog;
use crate::engine::Engine;

/// Compactions lost to other writers before we give up: each costs its rewritten bytes.
const MOST_ATTEMPTS: usize = 5;

/// What optimizing a table did.
#[derive(Debug, Clone)]
pub struct Optimized {
    /// What was rewritten.
    pub compaction: Compaction,
    /// Fragments that were left alone because work on them is in flight.
    pub in_flight: BTreeSet<FragmentId>,
}

impl Engine {
    /// What `optimize` would rewrite now; writes nothing but what a survey learns.
    pub async fn plan_optimize(&self, target_rows: Option<u64>) -> Result<Optimized> {
        let in_flight = self.in_flight().await?;
        let compaction = self.table.plan_compaction(target_rows, &in_flight).await?;
        Ok(Optimized {
            compaction,
            in_flight,
        })
    }

    /// Compacts the table around what is in flight, and carries the state of all columns over.
    ///
    /// The state follows while the versions before and after are there: a cleanup that comes later
    /// finds nothing left to lose.
    pub async fn optimize(&self, target_rows: Option<u64>) -> Result<Optimized> {
        self.settle().await?;
        let mut last = String::new();
        for _ in 0..MOST_ATTEMPTS {
            self.refuse_while_paused().await?;
            let in_flight = self.in_flight().await?;
            match self.table.compact(target_rows, &in_flight).await? {
                CompactOutcome::Done(compaction) => {
                    self.in_flight().await?;
                    return Ok(Optimized {
                        compaction,
                        in_flight,
                    });
                }
                CompactOutcome::Conflict { reason } => last = reason,
            }
        }
        let given_up = "cannot compact the table: other writers keep changing the same fragments";
        Err(Error::new(ErrorKind::Unavailable, given_up).with_source(last))
    }

    /// Surveys all columns; fragments on which work of any of them is handed out or unpublished.
    async fn in_flight(&self) -> Result<BTreeSet<FragmentId>> {
        let version = self.latest().await?;
        let catalog = Catalog::read(version.view())?;
        let surveyed = self.survey(&version, &catalog, &|_| true).await?;
        Ok(surveyed
            .iter()
            .flat_map(|(_, survey)| busy(survey))
            .collect())
    }
}

fn busy(survey: &Survey) -> BTreeSet<FragmentId> {
    let mut busy: BTreeSet<FragmentId> = (survey.unsettled.iter())
        .filter(|(_, unsettled)| is_busy(unsettled))
        .map(|(fragment, _)| *fragment)
        .collect();
    for open in &survey.open_work {
        match &open.work {
            Work::Compute(batch) => busy.extend(batch.slices.iter().map(|slice| slice.fragment)),
            Work::Fold(fold) => {
                busy.insert(fold.fragment);
            }
        }
    }
    busy
}

fn is_busy(unsettled: &Unsettled) -> bool {
    unsettled.fold_open
        || !unsettled.open.is_empty()
        || !unsettled.done.is_empty()
        || !unsettled.parts.is_empty()
        || !unsettled.finished.is_empty()
}
