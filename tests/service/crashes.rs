//! Functions that die, hang or cannot start.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::delivery::is_filled;
use crate::deployment::{Deployment, Settings};
use crate::proxy::{Fault, Request};
use crate::python::through;
use crate::support::oracle::product;
use crate::support::serving::eventually;
use crate::support::table::Shape;

const PATIENCE: Duration = Duration::from_secs(90);

/// Does harm to the first request that is meant, and to no other.
fn once(
    meant: impl Fn(&Request) -> bool + Send + Sync + 'static,
    fault: Fault,
) -> impl Fn(&Request) -> Option<Fault> + Send + Sync + 'static {
    let done = AtomicBool::new(false);
    move |request| (meant(request) && !done.swap(true, Ordering::AcqRel)).then_some(fault)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_killed_or_hangs_costs_its_batch_another_delivery() {
    let settings = Settings {
        timeout_s: 6,
        visibility_s: 7,
        ..Settings::default()
    };
    let Some(service) = Deployment::start(settings) else {
        return;
    };
    let scenario = service.table("killed.lance", Shape::default(), 100).await;
    scenario.add("p", "a * b", &[]);
    eventually("'p' is filled", async || is_filled(&scenario).await).await;
    let (mut rows, mut struck) = (100, 0);
    for (what, folder, fault) in [
        ("killed in mid-batch", "data", Fault::KillBefore),
        (
            "killed when the batch is done",
            "checkpoints",
            Fault::KillAfter,
        ),
        ("standing still in mid-batch", "data", Fault::Freeze),
    ] {
        service.proxy.rule(once(
            // Writers do not pass the proxy, and the committer writes no data.
            move |request| request.writes(folder),
            fault,
        ));
        scenario.append(50).await;
        rows += 50;
        let filled = service.eventually(what, PATIENCE, async || is_filled(&scenario).await);
        filled.await;
        struck += 1;
        let victims = service.proxy.struck();
        assert_eq!(victims.len(), struck, "{what}");
        // One that stands still Lambda ends when its time is over.
        eventually("the process is gone", async || {
            let left = service.processes("worker");
            victims.iter().all(|process| !left.contains(process))
        })
        .await;
        assert_eq!(service.proxy.rows_computed(), rows, "{what}");
    }
    assert_eq!(scenario.check_int("p", product).await, 250);
    eventually("all is done", async || service.is_drained().await).await;
    assert!(service.all_dead().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_of_a_worker_that_cannot_start_are_dead_letters_until_they_are_redriven() {
    let settings = Settings {
        visibility_s: 3,
        most_receives: 2,
        batch_rows: Some(30),
        ..Settings::default()
    };
    let Some(service) = Deployment::start(settings) else {
        return;
    };
    let scenario = service.table("broken.lance", Shape::default(), 90).await;
    let commits = service.queue("commits").to_owned();
    service.configure("worker", &[("LANCE_BACKFILL_COMMITS_QUEUE", None)]);
    scenario.add("p", "a * b", &[]);
    let dead = service.dead_queue("fresh");
    eventually("three batches are dead", async || {
        service.depth(dead).await == (3, 0)
    })
    .await;
    let log = service.log("worker");
    assert!(
        log.contains("LANCE_BACKFILL_COMMITS_QUEUE is not set"),
        "{log}"
    );
    assert!(
        scenario
            .rows()
            .await
            .iter()
            .all(|row| row.text("p").is_none())
    );

    service.configure(
        "worker",
        &[("LANCE_BACKFILL_COMMITS_QUEUE", Some(&commits))],
    );
    let redriven = through(&service, &["redrive", "--queue", "fresh"]);
    let redriven = redriven.expect_code(0).json();
    assert_eq!(redriven["queues"][0]["moved"], 3, "{redriven:#}");
    eventually("'p' is filled", async || is_filled(&scenario).await).await;
    assert_eq!(service.proxy.rows_computed(), 90);
    assert_eq!(scenario.check_int("p", product).await, 90);
}
