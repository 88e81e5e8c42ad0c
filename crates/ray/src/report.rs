//! How a pool is, for people and programs.

use serde::Serialize;

use crate::plan::Drained;
use crate::pool::Group;
use crate::readiness::{Cause, GroupReadiness};
use crate::scale::{Backlog, Decision, Reason};
use crate::supervisor::Supervisor;
use crate::work::Seen;

/// How a pool is.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// Its name.
    pub pool: String,
    /// Revision of the workers that it is to have.
    pub revision: String,
    /// Whether its cluster is there.
    pub exists: bool,
    /// Whether its head works.
    pub head: bool,
    /// Groups that are to have no pods until `pool apply`.
    pub drained: Drained,
    /// Its groups.
    pub groups: Vec<GroupReport>,
    /// The job that keeps its workers up, where the head could be asked.
    pub supervisor: Option<Supervisor>,
    /// Why something does not work.
    pub causes: Vec<Cause>,
}

/// How a group is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct GroupReport {
    /// Its name.
    pub group: String,
    /// Whose batches it does.
    pub class: String,
    /// Fewest pods.
    pub min: u32,
    /// Most pods.
    pub max: u32,
    /// Pods that are asked for.
    pub replicas: u32,
    /// Pods that take part.
    pub ready: u32,
    /// Pods that do not yet.
    pub pending: u32,
    /// Pods that finish and end.
    pub leaving: u32,
    /// Workers that are there.
    pub workers: usize,
    /// Those of them that have batches.
    pub busy: usize,
    /// Batches that they have done since they started.
    pub batches_done: u64,
    /// Batches that are not done.
    pub backlog: Backlog,
    /// Why it has as many pods as it is to have; only the controller knows.
    pub reason: Option<Reason>,
}

impl GroupReport {
    /// A group; without pods where the cluster is somebody else's, or not there.
    pub fn of(
        group: &Group,
        known: Option<&GroupReadiness>,
        seen: &Seen,
        decision: Option<&Decision>,
    ) -> Self {
        let known = known.cloned().unwrap_or_default();
        let workers = || {
            seen.workers
                .iter()
                .filter(|worker| worker.class == group.class)
        };
        Self {
            group: group.name.clone(),
            class: group.class.clone(),
            min: group.scale.min,
            max: group.scale.max,
            replicas: decision.map_or(known.replicas, |decision| decision.replicas),
            ready: known.ready,
            pending: known.pending,
            leaving: known.leaving,
            workers: workers().count(),
            busy: workers().filter(|worker| !worker.busy.is_empty()).count(),
            batches_done: workers().map(|worker| worker.batches_done).sum(),
            backlog: seen.backlog.get(&group.class).copied().unwrap_or_default(),
            reason: decision.map(|decision| decision.reason),
        }
    }
}

impl Report {
    /// Whether something is wrong that waiting does not help.
    pub fn has_errors(&self) -> bool {
        self.causes.iter().any(|cause| cause.is_error)
    }
}
