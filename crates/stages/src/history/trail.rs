//! Where rows are now whose fragment was rewritten before their results were published.
//!
//! Only compactions are followed: each step must begin where the rows still have the inputs that
//! their values were made from. What an update moved may have other values and is computed again.

use std::collections::BTreeMap;

use lance_backfill_core::history::ChangeKind;
use lance_backfill_core::ids::FragmentId;
use lance_backfill_core::journey::{Journey, Site};
use lance_backfill_core::table::FragmentView;
use lance_backfill_ports::Result;

use super::{Historian, Step};

/// Where rows of a site were at some version.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Trail {
    /// Version up to which it was followed.
    upto: u64,
    /// Where they went; `None` while their fragment was not rewritten.
    journeys: Option<Vec<Journey>>,
}

impl Trail {
    /// Whether a later version rewrote fragments in which it ends.
    fn leads_to(&self, site: &Site, version: u64, old: &[FragmentId]) -> bool {
        self.upto < version
            && match &self.journeys {
                None => old.contains(&site.fragment),
                Some(journeys) => {
                    (journeys.iter()).any(|journey| old.contains(&journey.to.fragment))
                }
            }
    }
}

impl Historian<'_> {
    /// Follows the rows of sites whose fragments are gone, each known to have been there at a version.
    pub(crate) async fn journeys(
        &self,
        sites: BTreeMap<Site, u64>,
    ) -> Result<BTreeMap<Site, Vec<Journey>>> {
        let now = self.latest.view().version;
        let mut trails = BTreeMap::new();
        for (site, seen) in sites {
            let begun = Trail {
                upto: seen,
                journeys: None,
            };
            let known = self.column.store.trail(&site);
            trails.insert(
                site,
                known.filter(|known| known.upto <= now).unwrap_or(begun),
            );
        }
        let after = trails.values().map(|trail| trail.upto).min();
        if let Some(after) = after.filter(|after| *after < now) {
            for change in self.table.changes(after, now).await? {
                let ChangeKind::Rewrite { groups } = &change.kind else {
                    continue;
                };
                let version = change.version;
                let leads_on = |old: &[FragmentId]| {
                    (trails.iter()).any(|(site, trail)| trail.leads_to(site, version, old))
                };
                if groups.iter().any(|(old, _)| leads_on(old)) {
                    let step = self.step(version).await?;
                    for (old, new) in groups {
                        self.lead(&mut trails, version, step.as_ref(), old, new)
                            .await?;
                    }
                }
            }
        }
        for trail in trails.values_mut() {
            trail.upto = trail.upto.max(now);
        }
        let journeys = |trail: &Trail| trail.journeys.clone().unwrap_or_default();
        let found = (trails.iter())
            .map(|(site, trail)| (*site, journeys(trail)))
            .collect();
        self.column.store.remember_trails(trails);
        Ok(found)
    }

    /// Takes the trails that lead to the rewritten fragments one step on.
    async fn lead(
        &self,
        trails: &mut BTreeMap<Site, Trail>,
        version: u64,
        step: Option<&Step>,
        old: &[FragmentId],
        new: &[FragmentId],
    ) -> Result<()> {
        let leads_here = |(site, trail): (&Site, &Trail)| trail.leads_to(site, version, old);
        if !trails.iter().any(leads_here) {
            return Ok(());
        }
        let steps = match step {
            Some(step) => self.rewrite_steps(step, old, new).await?,
            None => vec![],
        };
        for (site, trail) in trails.iter_mut() {
            if !trail.leads_to(site, version, old) {
                continue;
            }
            let next = match trail.journeys.take() {
                None => (steps.iter().filter(|step| step.from == *site).cloned()).collect(),
                Some(journeys) => (journeys.into_iter())
                    .flat_map(|journey| match old.contains(&journey.to.fragment) {
                        true => steps.iter().filter_map(|step| journey.then(step)).collect(),
                        false => vec![journey],
                    })
                    .collect(),
            };
            trail.journeys = Some(next);
        }
        Ok(())
    }

    /// A fragment's site for each set of columns that a generation reads, in the same order for all.
    fn sites(&self, fragment: &FragmentView) -> impl Iterator<Item = Site> + use<> {
        let identities = self.column.identify(fragment).0;
        let older: Vec<_> = (identities.older.values())
            .map(|older| older.in_id)
            .collect();
        let fragment = fragment.id;
        (std::iter::once(identities.in_id).chain(older)).map(move |in_id| Site { fragment, in_id })
    }

    /// Which way the rows of each old fragment went; none where nobody can tell.
    async fn rewrite_steps(
        &self,
        step: &Step,
        old: &[FragmentId],
        new: &[FragmentId],
    ) -> Result<Vec<Journey>> {
        let Some(moves) = self.rewrite_moves(step, old, new).await? else {
            return Ok(vec![]);
        };
        let mut steps = vec![];
        for ((old, new), moves) in &moves {
            let views = (step.before.view().fragment(*old)).zip(step.after.view().fragment(*new));
            let Some((before, after)) = views else {
                continue;
            };
            let sites = self.sites(before).zip(self.sites(after));
            let one_each: BTreeMap<Site, Site> = sites.collect();
            let journeys = one_each
                .into_iter()
                .filter_map(|(from, to)| Journey::of(from, to, moves));
            steps.extend(journeys);
        }
        Ok(steps)
    }
}
