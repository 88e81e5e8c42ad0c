//! The loop that keeps a pool as its file says and as large as its work: one turn after the other, each of
//! which looks at everything anew. What it remembers is only about waiting, and safe to lose.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use lance_backfill_ports::Result;

use crate::cluster::{Applied, Change, Cluster, Live};
use crate::jobs::{Jobs, Reach, connect};
use crate::observe::{group_seen, template};
use crate::plan::Drained;
use crate::pool::{Group, Kubernetes, Pool};
use crate::ray_cluster::RayCluster;
use crate::readiness::{Cause, Readiness, readiness};
use crate::report::{GroupReport, Report};
use crate::revision::revision_of;
use crate::scale::{Decision, History, decide};
use crate::supervisor::{Starts, Supervisor};
use crate::work::{Seen, Work};

mod lifetime;
mod run;

pub use lifetime::{Step, step};
pub(crate) use run::pause;
pub use run::{Health, run};

/// A pool on Kubernetes, and whoever it has to ask.
pub struct Controller {
    pool: Pool,
    place: Kubernetes,
    cluster: Cluster,
    work: Arc<dyn Work>,
    reach: Reach,
    memory: Memory,
}

/// What is only about waiting.
#[derive(Default)]
struct Memory {
    groups: BTreeMap<String, History>,
    starts: Starts,
    idle_since_ms: Option<u64>,
    /// The way to the head that worked last.
    jobs: Option<Jobs>,
}

/// Something that was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// One word, for events.
    pub reason: &'static str,
    /// For a person.
    pub text: String,
}

/// What a turn found and did.
#[derive(Debug, Clone, Default)]
pub struct Turn {
    /// How the pool is.
    pub report: Report,
    /// What was done.
    pub done: Vec<Done>,
    /// The cluster as it was found, which events are about.
    pub live: Option<Box<RayCluster>>,
}

/// Everything that was seen in one look.
struct Sight {
    live: Live,
    pods: Vec<Pod>,
    seen: Seen,
    readiness: Readiness,
}

impl Controller {
    /// A controller that has done nothing yet.
    pub fn new(
        pool: Pool,
        place: Kubernetes,
        cluster: Cluster,
        work: Arc<dyn Work>,
        reach: Reach,
    ) -> Self {
        Self {
            pool,
            place,
            cluster,
            work,
            reach,
            memory: Memory::default(),
        }
    }

    /// How the pool is; nothing is changed.
    pub async fn look(&mut self, now_ms: u64) -> Result<Report> {
        let sight = self.sight(now_ms).await?;
        let mut causes = vec![];
        let supervisor = match sight.live.here().filter(|_| sight.readiness.head) {
            Some(live) => match self.look_at_supervisor(live).await {
                Ok(supervisor) => Some(supervisor),
                Err(error) => {
                    causes.push(Cause::error(
                        "supervisor",
                        "HeadUnreached",
                        error.one_line(),
                    ));
                    None
                }
            },
            None => None,
        };
        Ok(self.report(&sight, supervisor, causes, &BTreeMap::new()))
    }

    /// Looks, and does what is due.
    pub async fn turn(&mut self, now_ms: u64) -> Result<Turn> {
        let mut done = vec![];
        let mut seen = self.work.look(now_ms).await?;
        let live = self.cluster.live().await?;
        match self.step(now_ms, &live, &seen) {
            // What is being deleted cannot be changed; it is made again when it is gone.
            Step::Keep if is_deleting(&live) => {}
            Step::Keep => {
                let applied = self.cluster.apply(&self.pool, &self.place).await?;
                match applied {
                    Applied::Settled => {}
                    Applied::Created => done.push(Done::new("Created", "made the RayCluster")),
                    Applied::Changed => done.push(Done::new("Changed", "applied another manifest")),
                }
            }
            Step::Delete => {
                if self.cluster.delete().await? {
                    done.push(Done::new(
                        "Deleted",
                        "there is no work, and the pool is on demand",
                    ));
                }
                self.memory.jobs = None;
            }
            Step::Leave => {}
        }
        // Who came to have work meanwhile is to be known before pods are chosen.
        if !done.is_empty() {
            seen = self.work.look(now_ms).await?;
        }
        let sight = self.sight_of(seen, now_ms).await?;
        let mut causes = vec![];
        let mut decisions = BTreeMap::new();
        if sight.live.here().is_some() && !is_deleting(&sight.live) {
            for group in self.pool.groups.clone() {
                match self.scale(&group, &sight, now_ms).await {
                    Ok((decision, changed)) => {
                        done.extend(
                            changed.map(|change| Done::scaled(&group.name, &change, &decision)),
                        );
                        decisions.insert(group.name.clone(), decision);
                    }
                    Err(error) => {
                        let about = format!("group {}", group.name);
                        causes.push(Cause::error(about, "NotScaled", error.one_line()));
                    }
                }
            }
        }
        let mut supervisor = None;
        if let Some(live) = sight.live.here().filter(|_| sight.readiness.head) {
            match self.ensure_supervisor(live, now_ms).await {
                Ok((found, is_new)) => {
                    if is_new {
                        let text = format!("submitted the supervisor as '{}'", found.job);
                        done.push(Done::new("SupervisorStarted", text));
                    }
                    supervisor = Some(found);
                }
                Err(error) => {
                    // Another head, or another token: found anew next time.
                    self.memory.jobs = None;
                    causes.push(Cause::error(
                        "supervisor",
                        "HeadUnreached",
                        error.one_line(),
                    ));
                }
            }
        } else {
            self.memory.jobs = None;
        }
        let report = self.report(&sight, supervisor, causes, &decisions);
        let live = match sight.live {
            Live::Here(live) => Some(live),
            Live::Absent | Live::NoOperator => None,
        };
        Ok(Turn { report, done, live })
    }

    fn step(&mut self, now_ms: u64, live: &Live, seen: &Seen) -> Step {
        let batches = self
            .pool
            .groups
            .iter()
            .map(|group| seen.to_do(&group.class));
        let to_do: u64 = batches
            .map(|backlog| backlog.waiting + backlog.in_flight)
            .sum();
        let ours = |class: &str| self.pool.groups.iter().any(|group| group.class == class);
        let is_busy = seen
            .workers
            .iter()
            .any(|worker| ours(&worker.class) && !worker.busy.is_empty());
        let is_drained = live.here().is_some_and(|live| {
            let drained = Drained::of(live);
            self.pool
                .groups
                .iter()
                .all(|group| drained.has(&group.name))
        });
        let cool_downs = self.pool.groups.iter().map(|group| group.scale.cool_down);
        let (step, idle_since_ms) = step(
            now_ms,
            self.place.lifetime,
            live.here().is_some(),
            to_do > 0 || is_busy || is_drained,
            cool_downs.max().unwrap_or_default(),
            self.memory.idle_since_ms,
        );
        self.memory.idle_since_ms = idle_since_ms;
        step
    }

    async fn scale(
        &mut self,
        group: &Group,
        sight: &Sight,
        now_ms: u64,
    ) -> Result<(Decision, Option<Change>)> {
        let history = self
            .memory
            .groups
            .get(&group.name)
            .copied()
            .unwrap_or_default();
        let backlog = sight.seen.to_do(&group.class);
        let template = template(&self.pool, &self.place, group);
        let mut latest = None;
        let changed = self
            .cluster
            .scale(&group.name, |cluster, live| {
                let workers = sight.seen.workers.as_slice();
                let seen = group_seen(
                    template.as_deref(),
                    cluster,
                    live,
                    &sight.pods,
                    workers,
                    &group.class,
                );
                let (decision, history) = decide(now_ms, group, &backlog, &seen, &history);
                let change = Change {
                    replicas: decision.replicas,
                    remove: decision.remove.clone(),
                };
                latest = Some((decision, history));
                Some(change)
            })
            .await?;
        match latest {
            Some((decision, history)) => {
                self.memory.groups.insert(group.name.clone(), history);
                Ok((decision, changed))
            }
            None => Err(lance_backfill_ports::Error::internal(
                "a group was not decided on",
            )),
        }
    }

    async fn sight(&self, now_ms: u64) -> Result<Sight> {
        let seen = self.work.look(now_ms).await?;
        self.sight_of(seen, now_ms).await
    }

    async fn sight_of(&self, seen: Seen, now_ms: u64) -> Result<Sight> {
        let live = self.cluster.live().await?;
        let pods = match live.here() {
            Some(_) => self.cluster.pods().await?,
            None => vec![],
        };
        // Nodes are looked at only where somebody waits for one.
        let waits = pods.iter().any(|pod| {
            let phase = pod
                .status
                .as_ref()
                .and_then(|status| status.phase.as_deref());
            phase == Some("Pending")
        });
        let most_gpus = match waits {
            true => self.cluster.most_gpus().await,
            false => None,
        };
        let readiness = readiness(&self.pool, &self.place, &live, &pods, most_gpus, now_ms);
        Ok(Sight {
            live,
            pods,
            seen,
            readiness,
        })
    }

    /// The way to the head, as it was last time or found anew; of another version of Ray it is refused.
    async fn jobs(&mut self, live: &RayCluster) -> Result<&Jobs> {
        let jobs = match self.memory.jobs.take() {
            Some(jobs) => jobs,
            None => {
                let jobs = connect(&self.reach, &self.cluster, live, &self.place).await?;
                jobs.expect_version(&self.pool.ray_version).await?;
                jobs
            }
        };
        Ok(self.memory.jobs.insert(jobs))
    }

    async fn look_at_supervisor(&mut self, live: &RayCluster) -> Result<Supervisor> {
        let (pool, revision) = (self.pool.clone(), revision_of(&self.pool));
        Supervisor::look(self.jobs(live).await?, &pool, &revision).await
    }

    async fn ensure_supervisor(
        &mut self,
        live: &RayCluster,
        now_ms: u64,
    ) -> Result<(Supervisor, bool)> {
        let (pool, revision) = (self.pool.clone(), revision_of(&self.pool));
        let mut starts = self.memory.starts;
        let jobs = self.jobs(live).await?;
        let ensured = Supervisor::ensure(jobs, &pool, &revision, &mut starts, now_ms).await;
        self.memory.starts = starts;
        ensured
    }

    fn report(
        &self,
        sight: &Sight,
        supervisor: Option<Supervisor>,
        more: Vec<Cause>,
        decisions: &BTreeMap<String, Decision>,
    ) -> Report {
        let mut causes = sight.readiness.causes.clone();
        causes.extend(sight.seen.causes(&self.pool));
        causes.extend(supervisor.as_ref().and_then(Supervisor::cause));
        causes.extend(more);
        let groups = self.pool.groups.iter().map(|group| {
            let known = sight
                .readiness
                .groups
                .iter()
                .find(|known| known.group == group.name);
            GroupReport::of(group, known, &sight.seen, decisions.get(&group.name))
        });
        Report {
            pool: self.pool.name.clone(),
            revision: revision_of(&self.pool),
            exists: sight.readiness.exists,
            head: sight.readiness.head,
            drained: sight.live.here().map(Drained::of).unwrap_or_default(),
            groups: groups.collect(),
            supervisor,
            causes,
        }
    }
}

fn is_deleting(live: &Live) -> bool {
    let here = live.here();
    here.is_some_and(|live| live.metadata.deletion_timestamp.is_some())
}

impl Done {
    pub(crate) fn new(reason: &'static str, text: impl Into<String>) -> Self {
        Self {
            reason,
            text: text.into(),
        }
    }

    fn scaled(group: &str, change: &Change, decision: &Decision) -> Self {
        let going = match change.remove.as_slice() {
            [] => String::new(),
            names => format!("; {} finish and go", names.join(", ")),
        };
        let why = decision.reason.word();
        Self::new(
            "Scaled",
            format!("group {group}: {} pods ({why}){going}", change.replicas),
        )
    }
}
