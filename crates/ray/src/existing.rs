//! A pool on a Ray cluster that somebody else runs: the supervisor is kept up there, and nobody is scaled.

use std::future::Future;
use std::sync::Arc;

use lance_backfill_ports::Result;

use crate::controller::{Done, Health, Turn, pause};
use crate::jobs::Jobs;
use crate::metrics::Metrics;
use crate::plan::Drained;
use crate::pool::{Existing, Pool};
use crate::readiness::Cause;
use crate::report::{GroupReport, Report};
use crate::revision::revision_of;
use crate::supervisor::{Starts, Supervisor};
use crate::work::{Seen, Work};

/// A pool on such a cluster.
pub struct ExistingPool {
    pool: Pool,
    jobs: Jobs,
    work: Arc<dyn Work>,
    starts: Starts,
}

impl ExistingPool {
    /// The pool at this place.
    pub fn new(pool: Pool, place: &Existing, work: Arc<dyn Work>) -> Result<Self> {
        Ok(Self {
            jobs: Jobs::existing(place)?,
            pool,
            work,
            starts: Starts::default(),
        })
    }

    /// How it is; nothing is changed.
    pub async fn look(&self, now_ms: u64) -> Result<Report> {
        let seen = self.work.look(now_ms).await?;
        let looked = async {
            self.jobs.expect_version(&self.pool.ray_version).await?;
            Supervisor::look(&self.jobs, &self.pool, &revision_of(&self.pool)).await
        };
        let looked = looked.await.map(|supervisor| (supervisor, false));
        Ok(self.report(&seen, looked).await.0)
    }

    /// Looks, and starts the supervisor unless it is up; whether it was started.
    pub async fn turn(&mut self, now_ms: u64) -> Result<(Report, bool)> {
        let seen = self.work.look(now_ms).await?;
        let mut starts = self.starts;
        let ensured = async {
            self.jobs.expect_version(&self.pool.ray_version).await?;
            let revision = revision_of(&self.pool);
            Supervisor::ensure(&self.jobs, &self.pool, &revision, &mut starts, now_ms).await
        };
        let ensured = ensured.await;
        self.starts = starts;
        Ok(self.report(&seen, ensured).await)
    }

    /// Starts the supervisor, or says why that is not possible.
    pub async fn apply(&mut self, now_ms: u64) -> Result<(Supervisor, bool)> {
        self.jobs.expect_version(&self.pool.ray_version).await?;
        let revision = revision_of(&self.pool);
        Supervisor::ensure(&self.jobs, &self.pool, &revision, &mut self.starts, now_ms).await
    }

    /// Has its workers finish and end.
    pub async fn drain(&self) -> Result<Supervisor> {
        self.jobs.expect_version(&self.pool.ray_version).await?;
        Supervisor::drain(&self.jobs, &self.pool, &revision_of(&self.pool)).await
    }

    async fn report(&self, seen: &Seen, supervisor: Result<(Supervisor, bool)>) -> (Report, bool) {
        let mut causes = seen.causes(&self.pool);
        let (supervisor, is_new) = match supervisor {
            Ok((supervisor, is_new)) => {
                causes.extend(supervisor.cause());
                causes.extend(self.too_large().await);
                (Some(supervisor), is_new)
            }
            Err(error) => {
                causes.push(Cause::error("cluster", "HeadUnreached", error.one_line()));
                (None, false)
            }
        };
        let groups = self
            .pool
            .groups
            .iter()
            .map(|group| GroupReport::of(group, None, seen, None));
        let report = Report {
            pool: self.pool.name.clone(),
            revision: revision_of(&self.pool),
            exists: supervisor.is_some(),
            head: supervisor.is_some(),
            drained: Drained::default(),
            groups: groups.collect(),
            supervisor,
            causes,
        };
        (report, is_new)
    }

    /// Groups that no node of the cluster is large enough for: their workers would wait for ever.
    async fn too_large(&self) -> Vec<Cause> {
        let most = match self.jobs.most_gpus().await {
            Ok(most) => most,
            // It is said elsewhere when the head does not answer.
            Err(_) => return vec![],
        };
        let too_large = self
            .pool
            .groups
            .iter()
            .filter(|group| f64::from(group.gpus) > most);
        let cause = |group: &crate::pool::Group| {
            Cause::error(
                format!("group {}", group.name),
                "GpuTooLarge",
                format!(
                    "a worker node needs {} GPUs, and the largest node of the Ray cluster has {most}: ask for fewer 'gpus', or add such a node",
                    group.gpus
                ),
            )
        };
        too_large.map(cause).collect()
    }
}

/// Keeps the supervisor up until told to stop; how many turns there were.
pub async fn run(
    mut pool: ExistingPool,
    now: impl Fn() -> u64,
    metrics: &Metrics,
    health: &Health,
    stop: impl Future<Output = ()>,
) -> u64 {
    let mut turns = 0;
    let mut told = vec![];
    tokio::pin!(stop);
    loop {
        let turn = tokio::select! {
            () = &mut stop => return turns,
            turn = pool.turn(now()) => turn,
        };
        turns += 1;
        health.turned(now());
        match turn {
            Ok((report, is_new)) => {
                for cause in report.causes.iter().filter(|cause| !told.contains(*cause)) {
                    tracing::warn!(
                        pool = report.pool,
                        reason = cause.reason,
                        "{}: {}",
                        cause.about,
                        cause.text
                    );
                }
                told.clone_from(&report.causes);
                let started =
                    is_new.then(|| Done::new("SupervisorStarted", "submitted the supervisor"));
                if let Some(done) = &started {
                    tracing::info!(pool = report.pool, reason = done.reason, "{}", done.text);
                }
                metrics.turned(&Turn {
                    report,
                    done: started.into_iter().collect(),
                    live: None,
                });
            }
            Err(error) => {
                metrics.failed();
                tracing::error!(
                    error = error.one_line(),
                    "a turn failed; the next one tries again"
                );
            }
        }
        tokio::select! {
            () = &mut stop => return turns,
            () = pause() => {}
        }
    }
}
