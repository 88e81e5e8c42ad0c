//! The controller as a process: turns, events, metrics, health.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource};

use super::{Controller, Turn};
use crate::metrics::Metrics;
use crate::ray_cluster::RayCluster;
use crate::readiness::Cause;

/// Between two turns.
const PAUSE: Duration = Duration::from_secs(10);
/// A turn takes seconds; a loop that ended none for so long hangs.
const HANGS_AFTER_MS: u64 = 120_000;
/// A turn that takes so long is given up.
const MOST_TURN: Duration = Duration::from_secs(100);

/// Whether the loop turns.
#[derive(Debug, Default)]
pub struct Health {
    last_turn_ms: AtomicU64,
}

impl Health {
    /// A loop that begins now.
    pub const fn since(now_ms: u64) -> Self {
        Self {
            last_turn_ms: AtomicU64::new(now_ms),
        }
    }

    pub(crate) fn turned(&self, now_ms: u64) {
        self.last_turn_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Whether it turned of late, well or not: a restart does not mend an API server that is gone.
    pub fn is_well(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.last_turn_ms.load(Ordering::Relaxed)) < HANGS_AFTER_MS
    }
}

/// Turns until told to stop; how many turns there were. `now` is the clock of this machine.
pub async fn run(
    mut controller: Controller,
    now: impl Fn() -> u64,
    metrics: &Metrics,
    health: &Health,
    stop: impl Future<Output = ()>,
) -> u64 {
    let mut teller = Teller::new(controller.cluster.client().clone());
    let mut turns = 0;
    tokio::pin!(stop);
    loop {
        let turn = tokio::time::timeout(MOST_TURN, Box::pin(controller.turn(now())));
        let turn = tokio::select! {
            // A turn is made of writes that hold by themselves: it can be left at any of them.
            () = &mut stop => return turns,
            turn = turn => turn,
        };
        turns += 1;
        health.turned(now());
        match turn {
            Ok(Ok(turn)) => {
                metrics.turned(&turn);
                teller.tell(&turn).await;
            }
            Ok(Err(error)) => {
                metrics.failed();
                tracing::error!(
                    error = error.one_line(),
                    "a turn failed; nothing is lost, the next one tries again"
                );
            }
            Err(_) => {
                metrics.failed();
                tracing::error!(
                    after_s = MOST_TURN.as_secs(),
                    "a turn was given up; the next one tries again"
                );
            }
        }
        tokio::select! {
            () = &mut stop => return turns,
            () = pause() => {}
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "queues do not say when something comes"
)]
pub(crate) async fn pause() {
    tokio::time::sleep(PAUSE).await;
}

/// Tells what was done and what is wrong: to the log, and as events of the RayCluster; each cause once
/// while it lasts.
struct Teller {
    recorder: Arc<Recorder>,
    told: BTreeSet<(String, &'static str)>,
}

impl Teller {
    fn new(client: Client) -> Self {
        let reporter = Reporter {
            controller: "lance-backfill".to_owned(),
            instance: None,
        };
        Self {
            recorder: Arc::new(Recorder::new(client, reporter)),
            told: BTreeSet::new(),
        }
    }

    async fn tell(&mut self, turn: &Turn) {
        for done in &turn.done {
            tracing::info!(
                pool = turn.report.pool,
                reason = done.reason,
                "{}",
                done.text
            );
            self.publish(
                turn.live.as_deref(),
                EventType::Normal,
                done.reason,
                &done.text,
            )
            .await;
        }
        let key = |cause: &Cause| (cause.about.clone(), cause.reason);
        let causes = turn.report.causes.iter();
        let now: BTreeSet<_> = causes.clone().map(key).collect();
        for cause in causes.filter(|cause| !self.told.contains(&key(cause))) {
            let text = format!("{}: {}", cause.about, cause.text);
            if cause.is_error {
                tracing::error!(pool = turn.report.pool, reason = cause.reason, "{text}");
                self.publish(
                    turn.live.as_deref(),
                    EventType::Warning,
                    cause.reason,
                    &text,
                )
                .await;
            } else {
                tracing::info!(pool = turn.report.pool, reason = cause.reason, "{text}");
            }
        }
        for (about, reason) in self.told.difference(&now) {
            tracing::info!(pool = turn.report.pool, reason, "{about}: it is over");
        }
        self.told = now;
    }

    async fn publish(&self, live: Option<&RayCluster>, type_: EventType, reason: &str, note: &str) {
        let Some(live) = live else {
            return;
        };
        // An event takes a kilobyte.
        let note: String = note.chars().take(900).collect();
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(note),
            action: "Turn".to_owned(),
            secondary: None,
        };
        if let Err(error) = self.recorder.publish(&event, &live.object_ref(&())).await {
            tracing::warn!(%error, "an event could not be written");
        }
    }
}
