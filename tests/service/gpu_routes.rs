//! Batches go to the class of workers that their column asks for, or wait until it is there.

use std::time::Duration;

use crate::delivery::is_filled;
use crate::deployment::{Deployment, Settings};
use crate::gpu_worker::Worker;
use crate::python::{IMAGE, call, through};
use crate::support::Functions;
use crate::support::oracle::product;
use crate::support::program::finish;
use crate::support::serving::eventually;
use crate::support::table::Shape;

const PATIENCE: Duration = Duration::from_secs(90);
const CODE: &str = r#"
@udf
def same(id: int) -> int:
    return id
"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_no_class_takes_is_refused_by_name_and_nothing_changes() {
    let Some(functions) = Functions::new(CODE) else {
        return;
    };
    let settings = Settings {
        classes: vec!["a10g", "l4"],
        ..Settings::default()
    };
    let Some(service) = Deployment::start(settings) else {
        return;
    };
    let scenario = service.table("refused.lance", Shape::default(), 20).await;
    let (version, uri) = (scenario.version().await, scenario.uri.as_str());
    let sql = ["column", "add", uri, "p", "--sql", "a * b"];
    let (from, environment) = (functions.path(), format!("image:{IMAGE}"));
    let udf = ["column", "add", uri, "p", "--udf", "udfs:same"];
    let udf = [&udf[..], &["--from", &from, "--env", &environment]].concat();
    for (words, options, about) in [
        (
            &sql[..],
            &["--pool", "ray-cpu"][..],
            "no CPU workers on Ray",
        ),
        (
            &sql,
            &["--pool", "gpu"],
            "an expression is computed on CPUs",
        ),
        (&sql, &["--gpu-class", "l4"], "no GPU is asked for"),
        (&udf, &[], "runs Python functions"),
        (
            &udf,
            &["--pool", "gpu"],
            "several classes of GPU workers (a10g, l4)",
        ),
        (
            &udf,
            &["--pool", "gpu", "--gpu-class", "h100"],
            "no GPU workers of class 'h100', only of a10g, l4",
        ),
        (&["redrive", "--queue", "h100-fresh"], &[], "l4-bulk"),
        (&["worker", "--class", "h100"], &[], "it has a10g, l4"),
    ] {
        let mut call = call(&service, &[words, options].concat());
        call.env("LANCE_BACKFILL_PYTHON", functions.interpreter());
        call.env("LANCE_BACKFILL_IMAGE", IMAGE);
        let refused = finish(call);
        assert_eq!(refused.code, 2, "{refused:#?}");
        let document = refused.json();
        let told = document["error"].as_str().unwrap_or_default();
        assert!(told.contains(about), "'{about}' in {told}");
    }
    assert_eq!(scenario.version().await, version);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_whose_class_is_gone_waits_and_nothing_is_lost() {
    let settings = Settings {
        classes: vec!["ray-cpu"],
        // No message comes again, however busy the machine is.
        visibility_s: 20,
        batch_rows: Some(40),
        ..Settings::default()
    };
    let Some(service) = Deployment::start(settings) else {
        return;
    };
    let scenario = service.table("waits.lance", Shape::default(), 100).await;
    let add = ["column", "add", &scenario.uri, "p", "--sql", "a * b"];
    let added = through(&service, &[&add[..], &["--pool", "ray-cpu"]].concat());
    assert_eq!(added.expect_code(0).json()["definition"]["pool"], "ray-cpu");
    let lane = service.queue("ray-cpu-fresh").to_owned();
    eventually("batches wait for pods", async || {
        service.depth(&lane).await.0 >= 3
    })
    .await;
    assert_eq!(service.depth(service.queue("fresh")).await, (0, 0));
    let status = through(&service, &["service", "status"])
        .expect_code(0)
        .json();
    assert_eq!(
        status["classes"]["ray-cpu"]["workers"],
        serde_json::json!([])
    );
    let queues = status["queues"].as_array().expect("queues");
    let of_class = queues
        .iter()
        .find(|queue| queue["queue"] == "ray-cpu-fresh");
    assert!(of_class.expect("its queue")["waiting"].as_u64() >= Some(3));
    let reason = || {
        let status = through(&service, &["status", &scenario.uri]).expect_code(0);
        status.json()["columns"][0]["reason"]
            .as_str()
            .map(str::to_owned)
    };
    let told = reason().unwrap_or_default();
    assert!(
        told.contains("no worker of class 'ray-cpu' is there"),
        "{told}"
    );
    let worker = Worker::start(&service, "ray-cpu", "w-0", &[]);
    let filled = service.eventually("'p' is filled", PATIENCE, async || {
        is_filled(&scenario).await
    });
    filled.await;

    // The class is gone: rows that come in stay unassigned, and the reason is told.
    let classes = service.variable("planner", "LANCE_BACKFILL_CLASS_QUEUES");
    service.configure("planner", &[("LANCE_BACKFILL_CLASS_QUEUES", None)]);
    scenario.append(50).await;
    let held = service.eventually("the reason is told", PATIENCE, async || {
        service.log("planner").contains("has no CPU workers on Ray")
    });
    held.await;
    let rows = scenario.rows().await;
    let new = rows.iter().filter(|row| row.id() >= 100);
    assert!(new.clone().count() == 50 && new.clone().all(|row| row.int("p").is_none()));
    // It is back.
    service.configure(
        "planner",
        &[("LANCE_BACKFILL_CLASS_QUEUES", Some(&classes))],
    );
    let filled = service.eventually("'p' is filled", PATIENCE, async || {
        is_filled(&scenario).await
    });
    filled.await;
    assert_eq!(reason(), None);
    assert_eq!(scenario.check_int("p", product).await, 150);
    assert_eq!(service.proxy.rows_computed(), 150, "each row once");
    let stopped = worker.stop("-TERM");
    assert_eq!(
        (stopped["failed"].as_u64(), stopped["lost"].as_u64()),
        (Some(0), Some(0))
    );
    eventually("all is done", async || service.is_drained().await).await;
    assert!(service.all_dead().await.is_empty());
    // Folds are no reason to start a pod: the service's own workers do them.
    let own = service.log("worker");
    assert!(
        own.contains("\"calls\":0") && !own.contains("\"calls\":1"),
        "{own}"
    );
}
