//! `pool status`: how a pool is.

use lance_backfill_ports::Result;
use lance_backfill_ray::Pool;
use lance_backfill_ray::report::Report;

use crate::args::{PoolArguments, ProcessArguments};
use crate::exit::Exit;
use crate::output::{self, number};

pub(super) async fn run(
    pool: Pool,
    arguments: &PoolArguments,
    process: &ProcessArguments,
    json: bool,
) -> Result<Exit> {
    let report = Box::pin(super::look(pool, arguments, process)).await?;
    let exit = output::result(json, &report, || text(&report));
    Ok(match exit {
        Exit::Done if report.has_errors() => Exit::Failed,
        exit => exit,
    })
}

fn text(report: &Report) -> String {
    let state = match (report.exists, report.head) {
        (false, _) => "is not there",
        (true, false) => "has no head that works yet",
        (true, true) => "is there",
    };
    let supervisor = report
        .supervisor
        .as_ref()
        .map_or("not asked", |supervisor| supervisor.state.as_str());
    let mut text = format!(
        "pool '{}' {state}; revision {}, supervisor: {supervisor}\n",
        report.pool, report.revision
    );
    if !report.drained.is_empty() {
        text += &format!("drained until 'pool apply': {}\n", report.drained.text());
    }
    let rows: Vec<Vec<String>> = (report.groups.iter())
        .map(|group| {
            let mut row = vec![group.group.clone(), group.class.clone()];
            let pods = [group.replicas, group.ready, group.pending, group.leaving].map(u64::from);
            row.extend(pods.map(number));
            let workers = [group.workers as u64, group.busy as u64, group.batches_done];
            row.extend(workers.map(number));
            row.extend([group.backlog.waiting, group.backlog.in_flight].map(number));
            row
        })
        .collect();
    let head = [
        "group",
        "class",
        "pods",
        "ready",
        "pending",
        "leaving",
        "workers",
        "busy",
        "done",
        "waiting",
        "in flight",
    ];
    text += &format!("\n{}\n", output::table(&head, &rows));
    for cause in &report.causes {
        let kind = if cause.is_error { "error" } else { "note" };
        text += &format!("\n{kind}: {}: {}", cause.about, cause.text);
    }
    text
}

#[cfg(test)]
mod tests {
    use lance_backfill_ray::readiness::Cause;
    use lance_backfill_ray::report::GroupReport;

    use super::*;

    #[test]
    fn a_person_reads_what_there_is_and_why_something_does_not_work() {
        let report = Report {
            pool: "embeddings".to_owned(),
            exists: true,
            groups: vec![GroupReport {
                group: "a10g".to_owned(),
                class: "a10g".to_owned(),
                replicas: 3,
                ready: 2,
                ..GroupReport::default()
            }],
            causes: vec![Cause::error("group a10g", "NoNode", "no node came")],
            ..Report::default()
        };
        let text = text(&report);
        assert!(
            text.contains("pool 'embeddings' has no head that works yet"),
            "{text}"
        );
        assert!(text.contains("supervisor: not asked"), "{text}");
        assert!(text.ends_with("error: group a10g: no node came"), "{text}");
    }
}
