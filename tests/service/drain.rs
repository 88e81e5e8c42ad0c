//! Many batches drain without loss, and none is done twice.

use std::time::Duration;

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
}
