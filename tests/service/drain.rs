//! Many batches drain without loss, and none is done twice.

use std::time::Duration;

use serde_json::Value;

use crate::delivery::is_filled;
use crate::deployment::{Deployment, Settings};
use crate::support::oracle::product;
use crate::support::program::{say, setting};
use crate::support::serving::now;
use crate::support::table::Shape;

/// Asks for more batches than the ordinary run has.
const BATCHES: &str = "LANCE_BACKFILL_BATCHES";
const ROWS_PER_BATCH: u64 = 10;
const BATCHES_PER_FRAGMENT: u64 = 20;
const PATIENCE: Duration = Duration::from_secs(600);

#[tokio::test(flavor = "multi_thread")]
async fn many_batches_drain_without_loss_and_none_is_done_twice() {
    let batches = setting(BATCHES).unwrap_or(120);
    let settings = Settings {
        // Nothing fails, so nothing need come again.
        visibility_s: 120,
        batch_rows: Some(ROWS_PER_BATCH),
        ..Settings::default()
    };
    let Some(service) = Deployment::start(settings) else {
        return;
    };
    let rows = batches * ROWS_PER_BATCH;
    let fragment = usize::try_from(ROWS_PER_BATCH * BATCHES_PER_FRAGMENT).expect("rows");
    let shape = Shape::default().fragments_of(fragment);
    let all = i64::try_from(rows).expect("rows");
    let scenario = service.table("large.lance", shape, all).await;
    let started = now();
    scenario.add("p", "a * b", &[]);
    // Reading the whole table again and again would be most of what the machine does.
    let computed = async || service.proxy.rows_computed() >= rows;
    service
        .eventually("all rows are computed", PATIENCE, computed)
        .await;
    let filled = async || is_filled(&scenario).await;
    service.eventually("'p' is filled", PATIENCE, filled).await;
    let took = started.elapsed();
    let drained = async || service.is_drained().await;
    service.eventually("all is done", PATIENCE, drained).await;
    assert_eq!(scenario.check_int("p", product).await as u64, rows);
    let checkpoints = service.proxy.checkpoints();
    let computed = checkpoints.iter().filter(|manifest| manifest.calls > 0);
    assert_eq!(computed.count() as u64, batches, "each batch is done");
    assert_eq!(
        service.proxy.rows_computed(),
        rows,
        "each row is computed once"
    );
    let repeated = service.proxy.repeated();
    assert!(repeated.is_empty(), "batches are done twice: {repeated:#?}");
    assert!(service.all_dead().await.is_empty());
    scenario.expect_computed_nothing();
    say(&format!(
        "{batches} batches drained in {:.1} s, none was lost, none was done twice",
        took.as_secs_f64()
    ));
    let warm = warm_invocations_ms(&service.log("worker"));
    let at = |share: usize| warm[(warm.len() - 1) * share / 100];
    say(&format!(
        "a warm worker took {} ms for a batch of {ROWS_PER_BATCH} rows, requests to S3 and SQS included (median of {}; {} ms at the 95th percentile)",
        at(50),
        warm.len(),
        at(95)
    ));
}

/// How long invocations took that found their process there, in order.
fn warm_invocations_ms(log: &str) -> Vec<u64> {
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let warm = lines.filter(|line| line["message"] == "invoked" && line["cold"] == false);
    let mut took: Vec<u64> = warm.filter_map(|line| line["took_ms"].as_u64()).collect();
    took.sort_unstable();
    took
}
