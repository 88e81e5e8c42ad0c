//! What a survey leaves out: work that nobody wants any more, and results that are gone.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, TryStreamExt, stream};
use lance_backfill_core::batch::{FoldPart, Slice, Work};
use lance_backfill_core::checkpoint::StagedColumnFile;
use lance_backfill_core::commit::Finished;
use lance_backfill_core::journey::{Journey, Site};
use lance_backfill_core::rows::RowSet;
use lance_backfill_ports::table::TableVersion;
use lance_backfill_ports::{Error, Result};

use super::{Survey, Unsettled};

/// Staged files looked for at once.
const FILES_AT_ONCE: usize = 32;

impl Survey {
    /// Forgets open work of which no row is wanted any more, such as batches that were done twice.
    pub(super) fn drop_useless(&mut self, journeys: &BTreeMap<Site, Vec<Journey>>) {
        let unsettled = &self.unsettled;
        let wanted_at = |site: Site, rows: &RowSet| {
            unsettled.get(&site.fragment).is_some_and(|now| {
                now.present.identities.in_id == site.in_id && !now.wanted().is_disjoint(rows)
            })
        };
        let wanted = |slice: &Slice| {
            let site = slice.site();
            match journeys.get(&site) {
                None => wanted_at(site, &slice.rows),
                Some(journeys) => (journeys.iter())
                    .any(|journey| wanted_at(journey.to, &journey.rows(&slice.rows))),
            }
        };
        self.open_work.retain(|open| match &open.work {
            Work::Compute(spec) => spec.slices.iter().any(wanted),
            Work::Fold(spec) => unsettled.get(&spec.fragment).is_some_and(|now| {
                let present = &now.present.identities;
                present.stands(spec.in_id)
                    && present.out == spec.out
                    && spec.rows.is_subset(&now.part_rows)
            }),
        });
    }

    /// Forgets staged files that are gone: their rows are ready again.
    ///
    /// Lance's commit checks neither existence nor size, and would leave an unreadable column.
    pub(super) async fn drop_missing(&mut self, version: &dyn TableVersion) -> Result<()> {
        let in_parts = |unsettled: &Unsettled| {
            let files = unsettled
                .staged_parts
                .iter()
                .map(|(_, file, _)| file.clone());
            files.collect::<Vec<_>>()
        };
        let finished = |unsettled: &Unsettled| {
            let files = unsettled
                .finished
                .iter()
                .map(|finished| finished.file.clone());
            files.flatten().collect::<Vec<_>>()
        };
        let staged: Vec<StagedColumnFile> = (self.unsettled.values())
            .flat_map(|unsettled| in_parts(unsettled).into_iter().chain(finished(unsettled)))
            .collect();
        let missing: BTreeSet<String> = stream::iter(staged)
            .map(|file| async move {
                let there = version.staged_exists(&file).await?;
                Ok::<_, Error>((!there).then_some(file.name))
            })
            .buffer_unordered(FILES_AT_ONCE)
            .try_filter_map(|missing| async { Ok(missing) })
            .try_collect()
            .await?;
        if missing.is_empty() {
            return Ok(());
        }
        for unsettled in self.unsettled.values_mut() {
            let is_missing = |finished: &Finished| {
                finished
                    .file
                    .as_ref()
                    .is_some_and(|file| missing.contains(&file.name))
            };
            let (gone, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut unsettled.finished)
                .into_iter()
                .partition(is_missing);
            unsettled.finished = kept;
            let lost: Vec<(FoldPart, RowSet)> = (unsettled.staged_parts.iter())
                .filter(|(_, file, _)| missing.contains(&file.name))
                .map(|(part, _, rows)| (part.clone(), rows.clone()))
                .collect();
            for (lost, rows) in lost {
                unsettled.parts.retain(|part| *part != lost);
                unsettled.part_rows.remove(&rows);
                unsettled.done.remove(&rows);
                unsettled.fold_open = false;
            }
            for finished in gone {
                unsettled.fold_open = false;
                // The values of a fold's parts are still there; those of a straight slice are not.
                if unsettled.parts.is_empty() {
                    for contribution in &finished.contributions {
                        unsettled.done.remove(&contribution.result.done());
                    }
                }
            }
        }
        Ok(())
    }
}
