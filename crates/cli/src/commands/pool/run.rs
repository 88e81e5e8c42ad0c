//! `pool run`: the controller.

use std::sync::Arc;

use lance_backfill_ports::Result;
use lance_backfill_ray::Pool;
use lance_backfill_ray::controller::{Health, run as turn_until};
use lance_backfill_ray::existing::{ExistingPool, run as turn_existing_until};
use lance_backfill_ray::metrics::{Metrics, serve};
use lance_backfill_ray::pool::Place;
use serde::Serialize;

use crate::args::{ProcessArguments, RunPoolArguments};
use crate::exit::{self, Exit};
use crate::output;

#[derive(Serialize)]
struct Document {
    pool: String,
    turns: u64,
}

pub(super) async fn run(
    pool: Pool,
    arguments: &RunPoolArguments,
    process: &ProcessArguments,
    json: bool,
) -> Result<Exit> {
    let name = pool.name.clone();
    let metrics = Arc::new(Metrics::new());
    let health = Arc::new(Health::since(super::now_ms()));
    let asked = health.clone();
    let is_well = move || asked.is_well(super::now_ms());
    let stop = async {
        exit::signal().await;
        tracing::info!("a signal says to stop");
    };
    let place = pool.place.clone();
    let turns = match place {
        Place::Kubernetes(place) => {
            let controller = super::controller(pool, *place, &arguments.pool, process).await?;
            let _server = serve(&arguments.listen, metrics.clone(), is_well)?;
            tracing::info!(pool = name, listen = arguments.listen, "keeps the pool");
            Box::pin(turn_until(
                controller,
                super::now_ms,
                &metrics,
                &health,
                stop,
            ))
            .await
        }
        Place::Existing(place) => {
            let work = super::work(&pool, process).await?;
            let existing = ExistingPool::new(pool, &place, work)?;
            let _server = serve(&arguments.listen, metrics.clone(), is_well)?;
            tracing::info!(pool = name, listen = arguments.listen, "keeps the pool");
            Box::pin(turn_existing_until(
                existing,
                super::now_ms,
                &metrics,
                &health,
                stop,
            ))
            .await
        }
    };
    tracing::info!(pool = name, turns, "has stopped; the pool stays as it is");
    let document = Document { pool: name, turns };
    Ok(output::result(json, &document, || {
        format!("stopped after {turns} turns; the pool stays as it is")
    }))
}
