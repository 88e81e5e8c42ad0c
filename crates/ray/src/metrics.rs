//! What Prometheus reads.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::controller::Turn;

mod serve;

pub use serve::{Server, serve};

type Labels = Vec<(&'static str, String)>;
type Numbers = Family<Labels, Gauge<i64>>;

/// What there is to read.
pub struct Metrics {
    registry: Registry,
    head: Gauge<i64>,
    wanted: Numbers,
    ready: Numbers,
    pending: Numbers,
    leaving: Numbers,
    workers: Numbers,
    busy: Numbers,
    waiting: Numbers,
    in_flight: Numbers,
    stuck_s: Numbers,
    causes: Numbers,
    done: Family<Labels, Counter<u64, AtomicU64>>,
    turns: Counter<u64, AtomicU64>,
    failures: Counter<u64, AtomicU64>,
}

impl Metrics {
    /// Nothing yet.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("lance_backfill_pool");
        let mut numbers = |name: &str, help: &str| {
            let numbers = Numbers::default();
            registry.register(name, help, numbers.clone());
            numbers
        };
        let wanted = numbers("pods_wanted", "Pods that are asked for");
        let ready = numbers("pods_ready", "Pods that take part");
        let pending = numbers("pods_pending", "Pods that do not take part yet");
        let leaving = numbers("pods_leaving", "Pods that finish and end");
        let workers = numbers("workers", "Workers that say something");
        let busy = numbers("workers_busy", "Workers that have batches");
        let waiting = numbers("batches_waiting", "Batches that anybody may take");
        let in_flight = numbers("batches_in_flight", "Batches that somebody has");
        let stuck_s = numbers(
            "batches_stuck_seconds",
            "For how long there have not been fewer batches waiting",
        );
        let causes = numbers("causes", "Whether something does not work, by what and why");
        let (head, done) = (
            Gauge::default(),
            Family::<Labels, Counter<u64, AtomicU64>>::default(),
        );
        let (turns, failures): (Counter<u64, AtomicU64>, Counter<u64, AtomicU64>) =
            Default::default();
        registry.register("head_ready", "Whether the head works", head.clone());
        registry.register("changes", "Changes that were made, by kind", done.clone());
        registry.register("turns", "Turns of the controller", turns.clone());
        registry.register(
            "failed_turns",
            "Turns of the controller that failed",
            failures.clone(),
        );
        Self {
            registry,
            head,
            wanted,
            ready,
            pending,
            leaving,
            workers,
            busy,
            waiting,
            in_flight,
            stuck_s,
            causes,
            done,
            turns,
            failures,
        }
    }

    /// What a turn found.
    pub fn turned(&self, turn: &Turn) {
        self.turns.inc();
        let report = &turn.report;
        self.head.set(i64::from(report.head));
        for group in &report.groups {
            let labels: Labels = vec![
                ("pool", report.pool.clone()),
                ("group", group.group.clone()),
            ];
            let set = |numbers: &Numbers, value: u64| {
                let value = i64::try_from(value).unwrap_or(i64::MAX);
                numbers.get_or_create(&labels).set(value);
            };
            set(&self.wanted, group.replicas.into());
            set(&self.ready, group.ready.into());
            set(&self.pending, group.pending.into());
            set(&self.leaving, group.leaving.into());
            set(&self.workers, group.workers as u64);
            set(&self.busy, group.busy as u64);
            set(&self.waiting, group.backlog.waiting);
            set(&self.in_flight, group.backlog.in_flight);
            set(&self.stuck_s, group.backlog.stuck_ms / 1_000);
        }
        self.causes.clear();
        for cause in &report.causes {
            let severity = if cause.is_error { "error" } else { "waiting" };
            let labels = vec![
                ("pool", report.pool.clone()),
                ("about", cause.about.clone()),
                ("reason", cause.reason.to_owned()),
                ("severity", severity.to_owned()),
            ];
            self.causes.get_or_create(&labels).set(1);
        }
        for done in &turn.done {
            let labels = vec![
                ("pool", report.pool.clone()),
                ("kind", done.reason.to_owned()),
            ];
            self.done.get_or_create(&labels).inc();
        }
    }

    /// That a turn failed.
    pub fn failed(&self) {
        self.turns.inc();
        self.failures.inc();
    }

    /// All of it as text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        match encode(&mut text, &self.registry) {
            Ok(()) => text,
            // Writing to memory does not fail.
            Err(error) => format!("# {error}\n"),
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
