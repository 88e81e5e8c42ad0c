//! Publishing what is finished, at a pace that leaves room for others.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use lance_backfill_core::coverage::Outcome;
use lance_backfill_core::ids::FragmentId;
use lance_backfill_ports::Result;
use lance_backfill_ports::table::TableVersion;
use lance_backfill_stages::column::Column;
use lance_backfill_stages::commit::commit;
use lance_backfill_stages::survey::Survey;

use super::run::{OwnWork, Run, Step};
use super::{MOST_FRUITLESS_ROUNDS, Stopped};
use crate::catalog::Catalog;

/// At least this long between two commits in bulk: each rewrites the table's manifest.
const COMMIT_INTERVAL: Duration = Duration::from_secs(2);
/// Commits take at most a fiftieth of the time.
const COMMIT_SHARE: u32 = 50;

impl Run<'_> {
    /// Adds rows that this call computed and another process published: any process may commit.
    pub(super) async fn count_published_by_others(
        &mut self,
        version: &Arc<dyn TableVersion>,
        column: &Column,
    ) -> Result<()> {
        let missing = |own: &&mut OwnWork| own.computed > own.published;
        let wanted: BTreeSet<FragmentId> = (self.own.values_mut())
            .filter(missing)
            .flat_map(|own| own.fragments.iter().copied())
            .collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let keys: Vec<_> = (version.view().fragments.iter())
            .filter(|fragment| wanted.contains(&fragment.id))
            .map(|fragment| {
                let (identities, place) = column.identify(fragment);
                (fragment.id, identities, place)
            })
            .collect();
        let records = column.store.records(&keys).await?;
        for (seq, own) in &mut self.own {
            let published: u64 = (own.fragments.iter())
                .filter_map(|fragment| records.get(fragment))
                .flat_map(|record| &record.runs)
                .filter(|run| run.ledger == *seq)
                .filter(|run| matches!(run.outcome, Outcome::Value | Outcome::Null))
                .map(|run| run.rows.len())
                .sum();
            let more = published.min(own.computed).saturating_sub(own.published);
            own.published += more;
            self.converged.rows_assigned += more;
        }
        Ok(())
    }

    pub(super) fn commit_is_due(&self, started_ms: u64) -> bool {
        let (since_ms, took_ms) = self.last_commit.unwrap_or((started_ms, 0));
        let interval = COMMIT_INTERVAL
            .as_millis()
            .max(u128::from(took_ms) * u128::from(COMMIT_SHARE));
        u128::from(self.engine.world.now_ms().saturating_sub(since_ms)) >= interval
    }

    /// Publishes what is finished now, on the newest version.
    pub(super) async fn publish(&mut self) -> Result<()> {
        for _ in 0..MOST_FRUITLESS_ROUNDS {
            let version = self.engine.latest().await?;
            let catalog = Catalog::read(version.view())?;
            let (column, survey) = self.survey(&version, &catalog).await?;
            if !survey.has_finished() {
                return Ok(());
            }
            // A commit that was not disturbed may have left folds or conflicts to a later one.
            match self.commit(&version, &column, &survey).await? {
                Step::Progress | Step::Stop(_) => return Ok(()),
                Step::Again | Step::Done => {}
            }
        }
        Ok(())
    }

    pub(super) async fn commit(
        &mut self,
        version: &Arc<dyn TableVersion>,
        column: &Column,
        survey: &Survey,
    ) -> Result<Step> {
        if let Some(for_ms) = self.engine.paused_for_ms().await? {
            return Ok(Step::Stop(Stopped::Paused(for_ms)));
        }
        let started_ms = self.engine.world.now_ms();
        let report = commit(version, column, survey).await?;
        let now_ms = self.engine.world.now_ms();
        self.last_commit = Some((now_ms, now_ms.saturating_sub(started_ms)));
        for (seq, rows) in &report.assigned {
            let ours = self.engine.has_planned(survey, *seq);
            if !ours && !self.own.contains_key(seq) {
                continue;
            }
            let own = self.own.entry(*seq).or_default();
            // Of a page that was taken over, another process may have done a part.
            let more = match ours {
                true => *rows,
                false => (*rows).min(own.computed.saturating_sub(own.published)),
            };
            own.published += more;
            self.converged.rows_assigned += more;
        }
        if report.published_version.is_some() {
            self.converged.published_version = report.published_version;
        }
        if let Some(reason) = &report.conflict {
            tracing::debug!(
                column = column.name(),
                reason,
                "a commit met another writer"
            );
            return Ok(Step::Again);
        }
        let did = report.files + report.records > 0;
        Ok(if did { Step::Progress } else { Step::Again })
    }
}
