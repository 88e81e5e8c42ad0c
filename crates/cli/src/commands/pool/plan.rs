//! `pool plan`: what a pool file becomes, and how that differs from what runs.

use lance_backfill_ports::Result;
use lance_backfill_ray::Pool;
use lance_backfill_ray::jobs::Submission;
use lance_backfill_ray::manifest::manifest;
use lance_backfill_ray::plan::{Plan, diff};
use lance_backfill_ray::pool::Place;
use lance_backfill_ray::ray_cluster::RayCluster;
use lance_backfill_ray::revision::revision_of;
use lance_backfill_ray::supervisor::submission;
use lance_backfill_ray::yaml::yaml;
use serde::Serialize;

use crate::args::PlanPoolArguments;
use crate::exit::Exit;
use crate::output;

#[derive(Serialize)]
struct Document {
    pool: String,
    revision: String,
    /// None where the cluster is somebody else's.
    manifest: Option<RayCluster>,
    supervisor: Submission,
    /// `absent`, `settled` or `changes`; none where nothing was looked at.
    runs: Option<&'static str>,
    diff: String,
}

pub(super) async fn run(pool: &Pool, arguments: &PlanPoolArguments, json: bool) -> Result<Exit> {
    let revision = revision_of(pool);
    let supervisor = submission(pool, &revision, false)?;
    let (manifest, runs, diff) = match &pool.place {
        Place::Existing(_) => (None, None, String::new()),
        Place::Kubernetes(place) if arguments.offline => {
            (Some(manifest(pool, place)), None, String::new())
        }
        Place::Kubernetes(place) => {
            let (cluster, _) = super::reached(pool, place, &arguments.pool).await?;
            let (live, plan) = cluster.plan(pool, place).await?;
            match (plan, live.here()) {
                (Plan::Settled, _) => (Some(manifest(pool, place)), Some("settled"), String::new()),
                (Plan::Apply(wanted), live) => {
                    let text = diff(live, &wanted);
                    let runs = if live.is_some() { "changes" } else { "absent" };
                    (Some(*wanted), Some(runs), text)
                }
            }
        }
    };
    let document = Document {
        pool: pool.name.clone(),
        revision,
        manifest,
        supervisor,
        runs,
        diff,
    };
    Ok(output::result(json, &document, || text(&document)))
}

fn text(document: &Document) -> String {
    let told = match document.runs {
        None => "# nothing that runs was looked at".to_owned(),
        Some("absent") => "# there is no such cluster yet: 'pool apply' makes it".to_owned(),
        Some("settled") => "# it runs as the file says: 'pool apply' changes nothing".to_owned(),
        Some(_) => {
            let lines = document.diff.lines().map(|line| format!("# {line}\n"));
            format!(
                "# 'pool apply' changes this:\n{}",
                lines.collect::<String>()
            )
        }
    };
    let manifest = document.manifest.as_ref().map(yaml).unwrap_or_default();
    let job = &document.supervisor.submission_id;
    format!(
        "{manifest}\n# revision {}, supervisor job {job}\n{told}",
        document.revision
    )
}
