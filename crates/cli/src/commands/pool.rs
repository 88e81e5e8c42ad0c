//! `pool`: workers of a service on a Ray cluster.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lance_backfill_aws::{SqsQueue, client_for};
use lance_backfill_lance::{ObjectStateStore, OpenOptions};
use lance_backfill_ports::queue::Queue;
use lance_backfill_ports::{Error, ErrorKind, Result};
use lance_backfill_ray::Pool;
use lance_backfill_ray::client::client;
use lance_backfill_ray::cluster::{Applied, Cluster, Live};
use lance_backfill_ray::controller::Controller;
use lance_backfill_ray::existing::ExistingPool;
use lance_backfill_ray::jobs::Reach;
use lance_backfill_ray::pool::{Kubernetes, Place};
use lance_backfill_ray::report::Report;
use lance_backfill_ray::work::ServiceWork;
use lance_backfill_service::Remote;
use serde::Serialize;

use crate::args::{
    DeletePoolArguments, DrainPoolArguments, PoolArguments, PoolCommand, ProcessArguments,
};
use crate::clock::{self, now_ms};
use crate::exit::Exit;
use crate::output;

mod plan;
mod run;
mod status;

/// Between two looks for pods that are ending.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// What a drain may take beside the grace of the pods.
const BESIDE_GRACE: Duration = Duration::from_secs(60);

pub(super) async fn run(
    command: &PoolCommand,
    process: &ProcessArguments,
    json: bool,
) -> Result<Exit> {
    let arguments = command.pool();
    let pool = read(arguments)?;
    if let Some(service) = process
        .service
        .as_deref()
        .filter(|service| service.trim_end_matches('/') != pool.service)
    {
        return Err(Error::invalid(format!(
            "--service is '{service}', and the pool file says '{}': leave --service out",
            pool.service
        )));
    }
    match command {
        PoolCommand::Plan(plan) => plan::run(&pool, plan, json).await,
        PoolCommand::Apply(_) => apply(pool, arguments, process, json).await,
        PoolCommand::Status(_) => status::run(pool, arguments, process, json).await,
        PoolCommand::Drain(drain) => self::drain(pool, drain, process, json).await,
        PoolCommand::Delete(delete) => self::delete(pool, delete, process, json).await,
        PoolCommand::Run(run) => Box::pin(run::run(pool, run, process, json)).await,
    }
}

fn read(arguments: &PoolArguments) -> Result<Pool> {
    let file = &arguments.file;
    let text = std::fs::read_to_string(file).map_err(|error| {
        Error::invalid(format!("cannot read '{}'", file.display())).with_source(error)
    })?;
    let mut pool = Pool::parse(&file.display().to_string(), &text)?;
    // Beside the file that names it.
    if let Place::Existing(existing) = &mut pool.place
        && let (Some(token), Some(folder)) = (&mut existing.token_file, file.parent())
    {
        *token = folder.join(&*token);
    }
    Ok(pool)
}

/// The pool's place on Kubernetes, reached.
async fn reached(
    pool: &Pool,
    place: &Kubernetes,
    arguments: &PoolArguments,
) -> Result<(Cluster, Reach)> {
    let chosen = &arguments.kubernetes;
    let (client, reach) = client(chosen.kubeconfig.as_deref(), chosen.context.as_deref()).await?;
    let reach = match &chosen.head {
        Some(address) => Reach::At(address.clone()),
        None => reach,
    };
    Ok((Cluster::new(client, pool, place), reach))
}

/// The service of the pool file.
async fn work(pool: &Pool, process: &ProcessArguments) -> Result<Arc<ServiceWork>> {
    let options = OpenOptions {
        storage_options: process.storage_options(),
        branch: None,
    };
    let store = ObjectStateStore::open(&pool.service, &options).await?;
    let deployment = Remote::deployment_of(&pool.service, &store).await?;
    let client = client_for(&deployment.queues.plans).await;
    let queue =
        |(_, url): (_, &str)| -> Arc<dyn Queue> { Arc::new(SqsQueue::new(client.clone(), url)) };
    let queues: BTreeMap<String, Vec<Arc<dyn Queue>>> = (deployment.classes.iter())
        .map(|(class, urls)| (class.clone(), urls.queues.named().map(queue).to_vec()))
        .collect();
    Ok(Arc::new(ServiceWork::new(Arc::new(store), queues)))
}

async fn controller(
    pool: Pool,
    place: Kubernetes,
    arguments: &PoolArguments,
    process: &ProcessArguments,
) -> Result<Controller> {
    let (cluster, reach) = reached(&pool, &place, arguments).await?;
    let work = work(&pool, process).await?;
    Ok(Controller::new(pool, place, cluster, work, reach))
}

/// How the pool is now; nothing is changed.
async fn look(pool: Pool, arguments: &PoolArguments, process: &ProcessArguments) -> Result<Report> {
    match pool.place.clone() {
        Place::Kubernetes(place) => {
            controller(pool, *place, arguments, process)
                .await?
                .look(now_ms())
                .await
        }
        Place::Existing(place) => {
            let work = work(&pool, process).await?;
            ExistingPool::new(pool, &place, work)?.look(now_ms()).await
        }
    }
}

#[derive(Serialize)]
struct Document {
    pool: String,
    /// `created`, `changed` or `settled`; of an existing cluster `started` or `settled`.
    outcome: &'static str,
}

async fn apply(
    pool: Pool,
    arguments: &PoolArguments,
    process: &ProcessArguments,
    json: bool,
) -> Result<Exit> {
    let name = pool.name.clone();
    let outcome = match pool.place.clone() {
        Place::Kubernetes(place) => {
            let (cluster, _) = reached(&pool, &place, arguments).await?;
            let was_drained = cluster.undrain().await?;
            match cluster.apply(&pool, &place).await? {
                Applied::Created => "created",
                Applied::Changed => "changed",
                Applied::Settled if was_drained => "changed",
                Applied::Settled => "settled",
            }
        }
        Place::Existing(place) => {
            let work = work(&pool, process).await?;
            let (_, is_new) = ExistingPool::new(pool, &place, work)?
                .apply(now_ms())
                .await?;
            if is_new { "started" } else { "settled" }
        }
    };
    let document = Document {
        pool: name,
        outcome,
    };
    Ok(output::result(json, &document, || {
        let name = &document.pool;
        match document.outcome {
            "created" => format!(
                "pool '{name}' is made; 'pool status' says when it works, and 'pool run' keeps it as large as its work"
            ),
            "changed" => format!("pool '{name}' is changed; pods that run finish first"),
            "started" => format!("the supervisor of pool '{name}' is started"),
            _ => format!("pool '{name}' is as the file says"),
        }
    }))
}

#[derive(Serialize)]
struct Drained {
    pool: String,
    groups: Vec<String>,
    /// Pods that finish what they do.
    leaving: usize,
}

async fn drain(
    pool: Pool,
    arguments: &DrainPoolArguments,
    process: &ProcessArguments,
    json: bool,
) -> Result<Exit> {
    for group in &arguments.groups {
        pool.group(group)?;
    }
    let groups: Vec<String> = match arguments.groups.is_empty() {
        true => pool.groups.iter().map(|group| group.name.clone()).collect(),
        false => arguments.groups.clone(),
    };
    let name = pool.name.clone();
    let leaving = match pool.place.clone() {
        Place::Kubernetes(place) => {
            let (cluster, _) = reached(&pool, &place, &arguments.pool).await?;
            cluster.drain(&groups).await?;
            let wait = arguments.wait.map(Duration::from_secs).unwrap_or_default();
            gone(&cluster, &groups, wait).await?
        }
        Place::Existing(_) if !arguments.groups.is_empty() => {
            return Err(Error::invalid(
                "all groups of an existing cluster are drained together: leave --group out, or take the group out of the file and apply it",
            ));
        }
        Place::Existing(place) => {
            let work = work(&pool, process).await?;
            ExistingPool::new(pool, &place, work)?.drain().await?;
            0
        }
    };
    if leaving > 0 && arguments.wait.is_some() {
        return Err(Error::new(
            ErrorKind::Unavailable,
            format!(
                "{leaving} pods still finish what they do; 'pool status' says when they are gone"
            ),
        ));
    }
    let document = Drained {
        pool: name,
        groups,
        leaving,
    };
    Ok(output::result(json, &document, || {
        format!(
            "groups {} of pool '{}' have no pods until 'pool apply'; {} finish what they do",
            document.groups.join(", "),
            document.pool,
            document.leaving
        )
    }))
}

/// Waits until pods of these groups are gone, or the time is over; how many are left.
async fn gone(cluster: &Cluster, groups: &[String], wait: Duration) -> Result<usize> {
    let mut waited = Duration::ZERO;
    loop {
        let left = cluster.pods_of(groups).await?;
        if left == 0 || waited >= wait {
            return Ok(left);
        }
        clock::wait(LOOK_EVERY).await;
        waited += LOOK_EVERY;
    }
}

async fn delete(
    pool: Pool,
    arguments: &DeletePoolArguments,
    process: &ProcessArguments,
    json: bool,
) -> Result<Exit> {
    let name = pool.name.clone();
    let was_there = match pool.place.clone() {
        Place::Kubernetes(place) => {
            let (cluster, _) = reached(&pool, &place, &arguments.pool).await?;
            let is_there = matches!(cluster.live().await?, Live::Here(_));
            if is_there && !arguments.now {
                // Without its head no worker finishes anything.
                let groups: Vec<String> =
                    pool.groups.iter().map(|group| group.name.clone()).collect();
                cluster.drain(&groups).await?;
                let grace = pool
                    .groups
                    .iter()
                    .map(|group| group.grace)
                    .max()
                    .unwrap_or_default();
                let left = gone(&cluster, &groups, grace + BESIDE_GRACE).await?;
                if left > 0 {
                    return Err(Error::new(
                        ErrorKind::Unavailable,
                        format!(
                            "{left} pods still finish what they do, so the cluster stays; try again, or give --now"
                        ),
                    ));
                }
            }
            is_there && cluster.delete().await?
        }
        Place::Existing(place) => {
            let work = work(&pool, process).await?;
            ExistingPool::new(pool, &place, work)?.drain().await?;
            true
        }
    };
    let document = Document {
        pool: name,
        outcome: if was_there { "deleted" } else { "absent" },
    };
    Ok(output::result(json, &document, || match was_there {
        true => format!(
            "pool '{}' is deleted; its batches wait in their queues",
            document.pool
        ),
        false => format!("there is no pool '{}'", document.pool),
    }))
}
