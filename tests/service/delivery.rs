//! Events and messages that come twice, in another order, late or never.

use std::time::Duration;

use serde_json::json;

use crate::deployment::{Deployment, Settings};
use crate::support::Scenario;
use crate::support::dice::Dice;
use crate::support::emulator::BUCKET;
use crate::support::oracle::product;
use crate::support::serving::eventually;
use crate::support::table::Shape;

const PATIENCE: Duration = Duration::from_secs(60);

/// What S3 sends when a version of a table is written.
fn event(table: &str, version: u64) -> String {
    let key = format!("{table}/_versions/{}.manifest", u64::MAX - version);
    let entity = json!({ "bucket": { "name": BUCKET }, "object": { "key": key } });
    json!({ "Records": [{ "eventName": "ObjectCreated:Put", "s3": entity }] }).to_string()
}

pub(crate) async fn is_filled(scenario: &Scenario) -> bool {
    let rows = scenario.rows().await;
    rows.iter().all(|row| row.int("p") == product(row))
}

#[tokio::test(flavor = "multi_thread")]
async fn events_may_come_twice_in_any_order_or_never() {
    let mut dice = Dice::for_test("events_may_come_twice_in_any_order_or_never");
    // The bucket tells nothing: the test does.
    let settings = Settings {
        notify: false,
        batch_rows: Some(60),
        ..Settings::default()
    };
    let Some(service) = Deployment::start(settings) else {
        return;
    };
    let name = "events.lance";
    let shape = Shape::default().fragments_of(200);
    let scenario = service.table(name, shape, 400).await;
    scenario.add("p", "a * b", &[]);
    for _ in 0..3 {
        scenario.append(100).await;
    }
    // Each version twice, in any order, and one of them never.
    let mut told: Vec<u64> = (1..=scenario.version().await)
        .flat_map(|at| [at, at])
        .collect();
    for place in (1..told.len()).rev() {
        let other = usize::try_from(dice.roll(place as u64 + 1)).expect("a place");
        told.swap(place, other);
    }
    let never = told[0];
    told.retain(|version| *version != never);
    for version in told {
        service.send("plans", &event(name, version)).await;
    }
    // What the service itself publishes nobody tells it, either: the schedule makes up for that.
    let filled = async || is_filled(&scenario).await;
    service.eventually("'p' is filled", PATIENCE, filled).await;
    eventually("all is done", async || service.is_drained().await).await;
    assert_eq!(scenario.check_int("p", product).await, 700);
    assert_eq!(
        service.proxy.rows_computed(),
        700,
        "each row is computed once"
    );

    // All messages between the functions come again, latest first.
    let version = scenario.version().await;
    let sent = service.proxy.sent();
    assert!(sent.len() >= 14, "batches and commits: {sent:#?}");
    for message in sent.iter().rev() {
        service.send_again(message).await;
    }
    eventually("all is done", async || service.is_drained().await).await;
    assert_eq!(
        service.proxy.rows_computed(),
        700,
        "nothing is computed again"
    );
    assert_eq!(
        scenario.version().await,
        version,
        "nothing is published again"
    );
    assert!(service.all_dead().await.is_empty());

    // An event that is lost altogether is made up for by the schedule.
    scenario.append(100).await;
    let what = "the schedule finds new rows";
    let found = service.eventually(what, PATIENCE, async || is_filled(&scenario).await);
    found.await;
    assert_eq!(scenario.check_int("p", product).await, 800);
    assert_eq!(service.proxy.rows_computed(), 800);
    eventually("all is done", async || service.is_drained().await).await;
    scenario.expect_computed_nothing();
}
