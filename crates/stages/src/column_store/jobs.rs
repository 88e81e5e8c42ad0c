//! Ends of jobs, and what need not be asked twice: matches of their filters, and where rows went.

use std::collections::BTreeMap;
use std::sync::Arc;

use lance_backfill_core::identity::Identity;
use lance_backfill_core::ids::{FragmentId, JobId};
use lance_backfill_core::job::JobEnd;
use lance_backfill_core::journey::Site;
use lance_backfill_core::rows::RowSet;
use lance_backfill_ports::state_store::Created;
use lance_backfill_ports::{Error, ErrorKind, Result};

use super::ColumnStore;
use crate::history::Trail;

/// Answers of filters remembered.
const MOST_REMEMBERED_MATCHES: usize = 50_000;

impl ColumnStore {
    /// How a job ended, if it is over.
    pub async fn job_end(&self, job: &JobId) -> Result<Option<Arc<JobEnd>>> {
        if let Some(known) = self.cache().ended.get(job) {
            return Ok(Some(known.clone()));
        }
        let Some(end) = self.read::<JobEnd>(&job_path(job)).await? else {
            return Ok(None);
        };
        let end = Arc::new(end);
        self.cache().ended.insert(job.clone(), end.clone());
        Ok(Some(end))
    }

    /// Says that a job is over; create-if-absent, whoever says it first is right.
    pub async fn end_job(&self, end: JobEnd) -> Result<Arc<JobEnd>> {
        let path = job_path(&end.job);
        match self.write(&path, &end).await? {
            Created::New => Ok(Arc::new(end)),
            Created::AlreadyThere => self.job_end(&end.job).await?.ok_or_else(|| {
                Error::new(
                    ErrorKind::Unavailable,
                    format!("'{path}' vanished while it was read"),
                )
            }),
        }
    }

    /// Jobs that are over and not forgotten yet, oldest first.
    pub async fn ended_jobs(&self) -> Result<Vec<Arc<JobEnd>>> {
        let mut ends = vec![];
        for object in self.list("jobs").await? {
            if let Some(job) = job_of(&object.path) {
                ends.extend(self.job_end(&job).await?);
            }
        }
        ends.sort_by(|left, right| left.job.cmp(&right.job));
        Ok(ends)
    }

    /// Where the rows of a site went, as far as they were followed.
    pub(crate) fn trail(&self, site: &Site) -> Option<Trail> {
        self.cache().trails.get(site).cloned()
    }

    /// Remembers these trails and no others: the rest was not asked for again.
    pub(crate) fn remember_trails(&self, trails: BTreeMap<Site, Trail>) {
        self.cache().trails = trails;
    }

    /// Rows that a filter selected in a fragment, by identity of the filter and its columns.
    pub(crate) fn known_matches(&self, fragment: FragmentId, key: Identity) -> Option<RowSet> {
        self.cache().matches.get(&(fragment, key)).cloned()
    }

    pub(crate) fn remember_matches(&self, fragment: FragmentId, key: Identity, rows: &RowSet) {
        let mut cache = self.cache();
        if cache.matches.len() >= MOST_REMEMBERED_MATCHES {
            cache.matches.clear();
        }
        cache.matches.insert((fragment, key), rows.clone());
    }
}

fn job_path(job: &JobId) -> String {
    format!("jobs/{job}.json")
}

/// The job that an object's path names.
pub(crate) fn job_of(path: &str) -> Option<JobId> {
    path.strip_prefix("jobs/")?
        .strip_suffix(".json")?
        .parse()
        .ok()
}
