//! The supervisor: one job on the cluster that keeps the workers up, of one revision of the pool.

use lance_backfill_ports::{Error, Result};
use serde::Serialize;
use serde_json::json;

use crate::jobs::{Job, Jobs, Submission};
use crate::pool::Pool;
use crate::readiness::Cause;

/// `exec`, so that the signal to stop reaches it and not a shell.
const ENTRYPOINT: &str = "exec python -m lance_backfill.ray.supervisor";
/// What a supervisor may take to stop beside the longest grace of its workers.
const BESIDE_GRACE_S: u64 = 30;
/// The first pause before a supervisor that failed is started again; each is twice the one before.
const FIRST_PAUSE_MS: u64 = 10_000;
const LONGEST_PAUSE_MS: u64 = 300_000;

/// What the supervisor is told, as the variable `LANCE_BACKFILL_POOL`.
#[derive(Serialize)]
struct Orders<'a> {
    version: u32,
    pool: &'a str,
    service: &'a str,
    revision: &'a str,
    groups: Vec<GroupOrders<'a>>,
}

#[derive(Serialize)]
struct GroupOrders<'a> {
    name: &'a str,
    class: &'a str,
    gpus: u32,
    workers_per_gpu: u32,
    cpus: f64,
    at_once: u32,
    grace_s: u64,
}

/// How the supervisor is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Supervisor {
    /// Name of its job.
    pub job: String,
    /// Revision of the workers that it keeps up.
    pub revision: String,
    /// As Ray says it, or `ABSENT`.
    pub state: String,
    /// What Ray says of it.
    pub message: Option<String>,
}

/// Starts of a supervisor that came to nothing, so that one that cannot start is not started all the time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Starts {
    failed: u32,
    last_ms: u64,
}

/// Name of the supervisor's job.
pub fn job_name(pool: &Pool, revision: &str) -> String {
    format!("lance-backfill-{}-{revision}", pool.name)
}

/// The job of a pool; without groups its workers drain.
pub fn submission(pool: &Pool, revision: &str, drains: bool) -> Result<Submission> {
    let groups = pool
        .groups
        .iter()
        .filter(|_| !drains)
        .map(|group| GroupOrders {
            name: &group.name,
            class: &group.class,
            gpus: group.gpus,
            workers_per_gpu: group.workers_per_gpu,
            cpus: group.cpus,
            at_once: group.at_once,
            grace_s: group.grace.as_secs(),
        });
    let orders = Orders {
        version: 1,
        pool: &pool.name,
        service: &pool.service,
        revision,
        groups: groups.collect(),
    };
    let orders = serde_json::to_string(&orders).map_err(|error| {
        Error::internal("the supervisor's orders are no JSON").with_source(error)
    })?;
    let grace = pool
        .groups
        .iter()
        .map(|group| group.grace.as_secs())
        .max()
        .unwrap_or_default();
    let stop_wait = (grace + BESIDE_GRACE_S).to_string();
    let metadata = [
        ("pool", pool.name.as_str()),
        ("revision", revision),
        ("service", &pool.service),
    ];
    Ok(Submission {
        submission_id: match drains {
            true => format!("{}-drain", job_name(pool, revision)),
            false => job_name(pool, revision),
        },
        entrypoint: ENTRYPOINT.to_owned(),
        runtime_env: json!({"env_vars": {
            "LANCE_BACKFILL_POOL": orders,
            // Ray kills a job that is stopped after three seconds without.
            "RAY_JOB_STOP_WAIT_TIME_S": stop_wait,
        }}),
        metadata: metadata
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
    })
}

impl Starts {
    fn may_start(&self, now_ms: u64) -> bool {
        let pause = FIRST_PAUSE_MS.saturating_mul(1 << self.failed.saturating_sub(1).min(10));
        self.failed == 0 || now_ms.saturating_sub(self.last_ms) >= pause.min(LONGEST_PAUSE_MS)
    }
}

impl Supervisor {
    fn of(name: &str, revision: &str, job: Option<&Job>) -> Self {
        Self {
            job: name.to_owned(),
            revision: revision.to_owned(),
            state: job.map_or("ABSENT", |job| job.status.as_str()).to_owned(),
            message: job.and_then(|job| job.message.clone()),
        }
    }

    /// Whether it is there.
    pub fn is_up(&self) -> bool {
        matches!(self.state.as_str(), "PENDING" | "RUNNING")
    }

    /// How the supervisor of a revision is.
    pub async fn look(jobs: &Jobs, pool: &Pool, revision: &str) -> Result<Self> {
        let name = job_name(pool, revision);
        let job = jobs.job(&name).await?;
        Ok(Self::of(&name, revision, job.as_ref()))
    }

    /// Starts it unless it is there. A later one of the same pool makes the ones before it drain and end.
    pub async fn ensure(
        jobs: &Jobs,
        pool: &Pool,
        revision: &str,
        starts: &mut Starts,
        now_ms: u64,
    ) -> Result<(Self, bool)> {
        let submission = submission(pool, revision, false)?;
        let name = submission.submission_id.as_str();
        let job = jobs.job(name).await?;
        if let Some(job) = job.as_ref().filter(|job| !job.has_ended()) {
            if job.status == "RUNNING" && starts.may_start(now_ms) {
                *starts = Starts::default();
            }
            return Ok((Self::of(name, revision, Some(job)), false));
        }
        if job.is_some() {
            if starts.failed == 0 {
                *starts = Starts {
                    failed: 1,
                    last_ms: now_ms,
                };
            }
            if !starts.may_start(now_ms) {
                return Ok((Self::of(name, revision, job.as_ref()), false));
            }
            // A name is given once.
            jobs.delete(name).await?;
            *starts = Starts {
                failed: starts.failed.saturating_add(1),
                last_ms: now_ms,
            };
        }
        jobs.submit(&submission).await?;
        let job = jobs.job(name).await?;
        Ok((Self::of(name, revision, job.as_ref()), true))
    }

    /// Has all supervisors of a pool and their workers end: those that run are stopped, and one without
    /// groups drains what they left.
    pub async fn drain(jobs: &Jobs, pool: &Pool, revision: &str) -> Result<Self> {
        let submission = submission(pool, revision, true)?;
        let name = submission.submission_id.as_str();
        match jobs.job(name).await? {
            Some(job) if !job.has_ended() => {}
            Some(_) => {
                jobs.delete(name).await?;
                jobs.submit(&submission).await?;
            }
            None => jobs.submit(&submission).await?,
        }
        let of_pool = |job: &Job| {
            job.metadata
                .as_ref()
                .and_then(|metadata| metadata.get("pool"))
                == Some(&pool.name)
        };
        let all = jobs.jobs().await?;
        for job in all.iter().filter(|job| !job.has_ended() && of_pool(job)) {
            match job.submission_id.as_deref() {
                Some(id) if id != name => jobs.stop(id).await?,
                _ => {}
            }
        }
        let job = jobs.job(name).await?;
        Ok(Self::of(name, revision, job.as_ref()))
    }

    /// Why it does not work, if it does not.
    pub fn cause(&self) -> Option<Cause> {
        match self.state.as_str() {
            "RUNNING" => None,
            "PENDING" => Some(Cause::waiting(
                "supervisor",
                "SupervisorStarts",
                "the supervisor is starting",
            )),
            "ABSENT" => Some(Cause::waiting(
                "supervisor",
                "NoSupervisor",
                "the supervisor is not started yet",
            )),
            state => {
                let said = self
                    .message
                    .as_deref()
                    .unwrap_or("Ray says nothing of it")
                    .trim();
                let last = said.lines().last().unwrap_or_default();
                Some(Cause::error(
                    "supervisor",
                    "SupervisorEnded",
                    format!(
                        "the supervisor's job '{}' is {state}: {last}; it is started again after a while",
                        self.job
                    ),
                ))
            }
        }
    }
}
