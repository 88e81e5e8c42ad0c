//! `service`: a deployed service as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lance_backfill_core::deployment::{Deployment, SpendingStop};
use lance_backfill_core::worker_status::WorkerStatus;
use lance_backfill_ports::Result;
use lance_backfill_service::{Depths, Remote, StopOutcome};
use serde::Serialize;

use crate::args::{ProcessArguments, ServiceCommand, StopArguments};
use crate::clock::now_ms;
use crate::exit::Exit;
use crate::output::{self, number};
use crate::service::needed;

pub(super) async fn run(
    command: &ServiceCommand,
    process: &ProcessArguments,
    json: bool,
) -> Result<Exit> {
    let remote = needed(process).await?;
    match command {
        ServiceCommand::Pause(arguments) => pause(&remote, arguments, json).await,
        ServiceCommand::Resume => resume(&remote, json).await,
        ServiceCommand::Status => status(&remote, json).await,
    }
}

#[derive(Serialize)]
struct Paused {
    service: String,
    /// Whether it was paused before; then since then, and for that reason.
    was_paused: bool,
    paused: Stop,
}

/// Since when nothing is spent, and why.
#[derive(Serialize)]
struct Stop {
    since_ms: u64,
    for_ms: u64,
    reason: Option<String>,
}

impl Stop {
    fn of(stop: SpendingStop) -> Self {
        Self {
            since_ms: stop.since_ms,
            for_ms: now_ms().saturating_sub(stop.since_ms),
            reason: stop.reason,
        }
    }

    fn text(&self) -> String {
        let time = indicatif::HumanDuration(Duration::from_millis(self.for_ms));
        match &self.reason {
            Some(reason) => format!("paused for {time} now: {reason}"),
            None => format!("paused for {time} now"),
        }
    }
}

async fn pause(remote: &Remote, arguments: &StopArguments, json: bool) -> Result<Exit> {
    let since_ms = now_ms();
    let reason = arguments.reason.clone();
    let outcome = remote.stop(since_ms, reason.clone()).await?;
    let service = remote.prefix().to_owned();
    let document = match outcome {
        StopOutcome::Stopped => Paused {
            service,
            was_paused: false,
            paused: Stop {
                since_ms,
                for_ms: 0,
                reason,
            },
        },
        StopOutcome::AlreadyStopped(before) => Paused {
            service,
            was_paused: true,
            paused: Stop::of(before),
        },
    };
    let name = &remote.deployment().name;
    Ok(output::result(json, &document, || {
        match document.was_paused {
            true => format!(
                "service '{name}' was paused already: {}",
                document.paused.text()
            ),
            false => format!(
                "service '{name}' is paused: within seconds nothing is computed any more; what is finished is published\n'service resume' ends that"
            ),
        }
    }))
}

#[derive(Serialize)]
struct Resumed {
    service: String,
    was_paused: bool,
    /// Tables that are looked at now.
    tables: usize,
}

async fn resume(remote: &Remote, json: bool) -> Result<Exit> {
    let tables = remote.resume().await?;
    let document = Resumed {
        service: remote.prefix().to_owned(),
        was_paused: tables.is_some(),
        tables: tables.unwrap_or_default(),
    };
    let name = &remote.deployment().name;
    Ok(output::result(json, &document, || {
        match document.was_paused {
            true => format!(
                "service '{name}' goes on; {} tables are looked at",
                document.tables
            ),
            false => format!("service '{name}' was not paused"),
        }
    }))
}

#[derive(Serialize)]
struct Status<'a> {
    service: &'a str,
    name: &'a str,
    python: bool,
    secrets: &'a BTreeSet<String>,
    /// Workers in pods, by class.
    classes: BTreeMap<&'a str, Class>,
    batches_at_once: u32,
    /// None while it is not.
    paused: Option<Stop>,
    queues: Vec<Queue>,
    tables: Vec<String>,
}

/// A class of workers in pods.
#[derive(Serialize)]
struct Class {
    batches_at_once: u32,
    /// Those that said something not long ago.
    workers: Vec<WorkerStatus>,
}

/// A queue; the numbers are approximate.
#[derive(Serialize)]
struct Queue {
    queue: String,
    waiting: u64,
    in_flight: u64,
    delayed: u64,
    dead_letters: u64,
}

impl From<Depths> for Queue {
    fn from(depths: Depths) -> Self {
        Self {
            queue: depths.queue.to_string(),
            waiting: depths.depth.waiting,
            in_flight: depths.depth.in_flight,
            delayed: depths.depth.delayed,
            dead_letters: depths.dead_letters,
        }
    }
}

async fn status(remote: &Remote, json: bool) -> Result<Exit> {
    let (stop, depths, tables, workers) = futures::try_join!(
        remote.stopped(),
        remote.depths(),
        remote.tables(),
        remote.workers()
    )?;
    let Deployment {
        version: _,
        name,
        queues: _,
        dead_letters: _,
        python,
        secrets,
        classes,
        batches_at_once,
    } = remote.deployment();
    let now_ms = now_ms();
    let of_class = |class: &str| {
        let workers = workers.iter();
        let there = workers.filter(|it| it.class == class && !it.is_gone(now_ms));
        there.cloned().collect()
    };
    let classes = classes.iter().map(|(class, urls)| {
        let workers = of_class(class);
        let batches_at_once = urls.batches_at_once;
        (
            class.as_str(),
            Class {
                batches_at_once,
                workers,
            },
        )
    });
    let document = Status {
        service: remote.prefix(),
        name,
        python: *python,
        secrets,
        classes: classes.collect(),
        batches_at_once: *batches_at_once,
        paused: stop.map(Stop::of),
        queues: depths.into_iter().map(Queue::from).collect(),
        tables,
    };
    Ok(output::result(json, &document, || text(&document)))
}

fn text(status: &Status<'_>) -> String {
    let names = |names: &BTreeSet<String>| match names.is_empty() {
        true => "none".to_owned(),
        false => names.iter().cloned().collect::<Vec<_>>().join(", "),
    };
    let python = if status.python { "yes" } else { "no" };
    let mut text = format!(
        "service '{}' at {}: {}\nPython functions: {python}; secrets: {}; batches at once: {}\n{}\n",
        status.name,
        status.service,
        match &status.paused {
            Some(stop) => stop.text(),
            None => "works".to_owned(),
        },
        names(status.secrets),
        status.batches_at_once,
        classes_text(&status.classes),
    );
    let rows: Vec<Vec<String>> = (status.queues.iter())
        .map(|queue| {
            let mut row = vec![queue.queue.clone()];
            let counts = [
                queue.waiting,
                queue.in_flight,
                queue.delayed,
                queue.dead_letters,
            ];
            row.extend(counts.map(number));
            row
        })
        .collect();
    text += &output::table(
        &["queue", "waiting", "in flight", "delayed", "dead letters"],
        &rows,
    );
    text += &match status.tables.as_slice() {
        [] => "\n\nno tables yet; 'tables add' or 'column add' registers one".to_owned(),
        tables => format!("\n\n{} tables:\n{}", tables.len(), tables.join("\n")),
    };
    if status.queues.iter().any(|queue| queue.dead_letters > 0) {
        text += "\n\nthe logs of the functions say why letters died; 'redrive' moves them back";
    }
    text
}

/// A line for each class of workers in pods.
fn classes_text(classes: &BTreeMap<&str, Class>) -> String {
    let mut text = String::new();
    for (class, Class { workers, .. }) in classes {
        let busy = workers.iter().filter(|worker| !worker.busy.is_empty());
        let busy = busy.count();
        let draining = workers.iter().filter(|worker| worker.draining).count();
        let leaving = match draining {
            0 => String::new(),
            draining => format!(", {draining} about to end"),
        };
        text += &format!(
            "workers of class '{class}': {}, {busy} busy{leaving}\n",
            workers.len()
        );
    }
    text
}
