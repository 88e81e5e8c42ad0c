//! How many pods a group should have, and which of them go. A pure function of what was seen.
//!
//! Up at once, down only after the cool-down and then to the most that was wanted within it, never below
//! the pods that are busy, to none only if the group's least is none.

use serde::Serialize;

use crate::pool::{Group, Scale};

mod history;
#[cfg(test)]
mod tests;

pub use history::History;

/// Batches of a group's class that are not done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Backlog {
    /// Anybody may take them.
    pub waiting: u64,
    /// Somebody has them.
    pub in_flight: u64,
    /// For how long there have not been fewer waiting, in milliseconds.
    pub stuck_ms: u64,
}

/// A pod of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PodSeen {
    /// Its name.
    pub name: String,
    /// Whether it takes part.
    pub ready: bool,
    /// Whether it is ending.
    pub leaving: bool,
    /// Whether it was made from the group's present template.
    pub is_current: bool,
    /// Batches that its workers have.
    pub busy: usize,
    /// Batches that its workers have done: who did more is warmer.
    pub batches_done: u64,
}

/// What there is of a group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct GroupSeen {
    /// Pods that are asked for.
    pub replicas: u32,
    /// Names of pods that are to go.
    pub leaving: Vec<String>,
    /// Its pods, those that are ending too.
    pub pods: Vec<PodSeen>,
    /// Workers with batches in pods that nobody knows.
    pub busy_elsewhere: usize,
    /// Whether it is to have no pods.
    pub drained: bool,
}

/// What to do with a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[must_use]
pub struct Decision {
    /// Pods to ask for.
    pub replicas: u32,
    /// Names of pods that are to go; those that went before are not among them any more.
    pub remove: Vec<String>,
    /// Why.
    pub reason: Reason,
}

/// Why a group has as many pods as it is to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It has what it needs.
    Steady,
    /// There is more to do.
    Backlog,
    /// There are not fewer batches waiting although as many pods work as were thought enough.
    Behind,
    /// It needs fewer, and has for the cool-down.
    Idle,
    /// It needs fewer, and waits for the cool-down.
    CoolingDown,
    /// Its bounds are others.
    Bounds,
    /// Pods of a newer template take the place of older ones.
    Rolling,
    /// Somebody said so.
    Drained,
}

impl Reason {
    /// For a person.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Backlog => "backlog",
            Self::Behind => "behind",
            Self::Idle => "idle",
            Self::CoolingDown => "cooling down",
            Self::Bounds => "bounds",
            Self::Rolling => "rolling",
            Self::Drained => "drained",
        }
    }
}

impl GroupSeen {
    /// Those that are counted among the replicas: the ones that end are not.
    fn staying(&self) -> impl Iterator<Item = &PodSeen> {
        self.pods
            .iter()
            .filter(|pod| !pod.leaving && !self.leaving.contains(&pod.name))
    }

    /// Pods that have work; who is busy in a pod that nobody knows counts for one.
    pub fn busy(&self) -> u32 {
        let known = self.staying().filter(|pod| pod.busy > 0).count();
        count(known + self.busy_elsewhere)
    }

    /// Pods that take part.
    pub fn ready(&self) -> u32 {
        count(self.staying().filter(|pod| pod.ready).count())
    }

    fn all_ready(&self) -> bool {
        self.ready() >= self.replicas
    }
}

/// Pods that would do the backlog within the time for it.
pub fn wanted(backlog: &Backlog, scale: &Scale, workers_per_pod: u32) -> u32 {
    let batches = backlog.waiting.saturating_add(backlog.in_flight);
    #[expect(clippy::cast_precision_loss, reason = "nobody has 2^53 batches")]
    let seconds = batches as f64 * scale.batch_s;
    let pods = (seconds / (scale.drain_target_s * f64::from(workers_per_pod.max(1)))).ceil();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is bounded first"
    )]
    let pods = pods.clamp(0.0, f64::from(u32::MAX)) as u32;
    pods.clamp(scale.min, scale.max.max(scale.min))
}

/// What to do with a group now, and what to remember.
pub fn decide(
    now_ms: u64,
    group: &Group,
    backlog: &Backlog,
    seen: &GroupSeen,
    history: &History,
) -> (Decision, History) {
    let scale = &group.scale;
    let busy = seen.busy();
    // Names stay until the pod is gone: KubeRay would count one that is ending, and delete another.
    let leaving: Vec<String> = (seen.leaving.iter())
        .filter(|name| seen.pods.iter().any(|pod| &pod.name == *name))
        .cloned()
        .collect();
    if seen.drained {
        let mut remove = leaving;
        remove.extend(seen.staying().map(|pod| pod.name.clone()));
        let decision = Decision {
            replicas: 0,
            remove,
            reason: Reason::Drained,
        };
        return (decision, History::default());
    }
    let bounds = |pods: u32| pods.clamp(scale.min, scale.max.max(scale.min));
    let mut want = wanted(backlog, scale, group.workers_per_pod());
    let mut why = Reason::Backlog;
    let workers = u64::from(seen.replicas) * u64::from(group.workers_per_pod());
    let target_ms = millis(scale.drain_target_s);
    let is_behind = backlog.waiting > workers
        && backlog.stuck_ms >= target_ms
        && seen.all_ready()
        && history
            .since_raised(now_ms)
            .is_none_or(|passed| passed >= target_ms);
    if is_behind && want <= seen.replicas {
        want = bounds(seen.replicas.saturating_add(1));
        why = Reason::Behind;
    }
    let (target, history) = history.settle(now_ms, want, seen.replicas, scale.cool_down);
    // More than its most goes at once.
    let target = target.min(scale.max.max(scale.min));
    // Whoever is busy stays, whatever is wanted; but nobody is asked for on account of that.
    let replicas = target.max(busy.min(seen.replicas)).max(scale.min);
    let reason = match replicas.cmp(&seen.replicas) {
        std::cmp::Ordering::Greater
            if seen.replicas < scale.min && want <= replicas && replicas == scale.min =>
        {
            Reason::Bounds
        }
        std::cmp::Ordering::Greater => why,
        std::cmp::Ordering::Less if seen.replicas > scale.max => Reason::Bounds,
        std::cmp::Ordering::Less => Reason::Idle,
        std::cmp::Ordering::Equal if want < replicas => Reason::CoolingDown,
        std::cmp::Ordering::Equal => Reason::Steady,
    };
    let mut decision = Decision {
        remove: leaving,
        replicas,
        reason,
    };
    decision.remove.extend(chosen(seen, replicas));
    let settled = decision.replicas == seen.replicas && decision.remove.is_empty();
    match settled.then(|| roll(seen, scale)).flatten() {
        Some(rolling) => (rolling, history),
        None => (decision, history),
    }
}

/// Which pods go so that so many stay: never one that is busy.
fn chosen(seen: &GroupSeen, replicas: u32) -> Vec<String> {
    let staying = count(seen.staying().count());
    let surplus = staying.saturating_sub(replicas);
    let mut idle: Vec<&PodSeen> = seen.staying().filter(|pod| pod.busy == 0).collect();
    // Who takes no part goes first, then who is of an older template, then who is the least warm.
    idle.sort_by_key(|pod| {
        (
            pod.ready,
            pod.is_current,
            pod.batches_done,
            pod.name.clone(),
        )
    });
    let go = idle
        .iter()
        .take(usize::try_from(surplus).unwrap_or(usize::MAX));
    go.map(|pod| pod.name.clone()).collect()
}

/// The next step of a roll, if one is due: see [`crate::revision`].
fn roll(seen: &GroupSeen, scale: &Scale) -> Option<Decision> {
    let old: Vec<&PodSeen> = seen.staying().filter(|pod| !pod.is_current).collect();
    let first = old
        .iter()
        .filter(|pod| pod.busy == 0)
        .min_by_key(|pod| (pod.ready, &pod.name));
    let staying = count(seen.staying().count());
    let is_settled =
        staying >= seen.replicas && (seen.all_ready() || first.is_some_and(|pod| !pod.ready));
    if old.is_empty() || !is_settled {
        return None;
    }
    let has_new = seen.staying().any(|pod| pod.is_current);
    let (replicas, remove) = match (first, has_new) {
        // One beside the others shows that the new template works.
        (_, false) if seen.replicas < scale.max => (seen.replicas + 1, vec![]),
        (Some(pod), _) => (seen.replicas, vec![pod.name.clone()]),
        (None, _) => return None,
    };
    Some(Decision {
        replicas,
        remove,
        reason: Reason::Rolling,
    })
}

fn millis(seconds: f64) -> u64 {
    u64::try_from(std::time::Duration::from_secs_f64(seconds).as_millis()).unwrap_or(u64::MAX)
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
