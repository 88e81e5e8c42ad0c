//! The Jobs API: the double answers as a real head was seen to.

use std::sync::Arc;

use lance_backfill_ray::Pool;
use lance_backfill_ray::existing::ExistingPool;
use lance_backfill_ray::jobs::Jobs;
use lance_backfill_ray::pool::{Existing, Place};
use lance_backfill_ray::revision::revision_of;
use lance_backfill_ray::supervisor::{Starts, Supervisor, job_name, submission};
use serde_json::{Value, json};

use crate::support::ray::{FakeRay, TOKEN};
use crate::support::{Given, START_MS, pool};

fn jobs(ray: &FakeRay) -> Jobs {
    Jobs::new(&ray.address(), Some(TOKEN.to_owned())).expect("a client")
}

#[test]
fn the_supervisor_is_told_what_the_pool_file_says() {
    let (pool, _) = pool(&[]);
    let revision = revision_of(&pool);
    let submission = submission(&pool, &revision, false).expect("a job");
    assert_eq!(
        submission.submission_id,
        format!("lance-backfill-embeddings-{revision}")
    );
    assert_eq!(
        submission.entrypoint,
        "exec python -m lance_backfill.ray.supervisor"
    );
    let variables = &submission.runtime_env["env_vars"];
    assert_eq!(variables["RAY_JOB_STOP_WAIT_TIME_S"], "180");
    let orders: Value =
        serde_json::from_str(variables["LANCE_BACKFILL_POOL"].as_str().expect("a text"))
            .expect("JSON");
    assert_eq!(
        orders,
        json!({
            "version": 1, "pool": "embeddings", "service": "s3://lake/backfill", "revision": revision,
            "groups": [
                {"name": "a10g", "class": "a10g", "gpus": 1, "workers_per_gpu": 1, "cpus": 4.0, "at_once": 2, "grace_s": 150},
                {"name": "cpus", "class": "ray-cpu", "gpus": 0, "workers_per_gpu": 1, "cpus": 8.0, "at_once": 2, "grace_s": 150},
            ],
        })
    );
}

#[test]
fn a_revision_is_how_workers_are_made_and_not_how_many() {
    let of = |changes: &[(&str, &str)]| revision_of(&pool(changes).0);
    let first = of(&[]);
    assert_eq!(first.len(), 8);
    for same in [
        ("max: 4", "max: 9"),
        ("min: 0", "min: 1"),
        ("batch_s: 20", "batch_s: 10"),
        ("waiting_for_node: 30m", "waiting_for_node: 1h"),
        ("cool_down_s: 900", "cool_down_s: 60"),
    ] {
        assert_eq!(of(&[same]), first, "{}", same.1);
    }
    for other in [
        ("AWS_REGION: eu", "AWS_REGION: us"),
        ("gpus: 1 ", "gpus: 2 "),
        ("grace_s: 150", "grace_s: 60"),
        ("at_once: 2", "at_once: 3"),
        ("ray_version: 2.60.0", "ray_version: 2.60.1"),
        ("s3://lake/backfill ", "s3://lake/other "),
    ] {
        assert_ne!(of(&[other]), first, "{}", other.1);
    }
}

#[tokio::test]
async fn tokens_and_versions_are_told_apart() {
    let ray = FakeRay::start("2.60.0");
    assert_eq!(jobs(&ray).version().await.expect("a version"), "2.60.0");
    jobs(&ray).expect_version("2.60.0").await.expect("the same");
    let line = jobs(&ray)
        .expect_version("2.61.0")
        .await
        .expect_err("another")
        .one_line();
    assert!(
        line.contains("runs Ray 2.60.0, and the pool file says 2.61.0"),
        "{line}"
    );
    let without = Jobs::new(&ray.address(), None).expect("a client");
    let line = without
        .version()
        .await
        .expect_err("it asks for one")
        .one_line();
    assert!(line.contains("asks for a token"), "{line}");
    let wrong = Jobs::new(&ray.address(), Some("x".to_owned())).expect("a client");
    let line = wrong.version().await.expect_err("it is wrong").one_line();
    assert!(line.contains("refuses the token"), "{line}");
    let nobody = Jobs::new("http://127.0.0.1:9", None).expect("a client");
    let line = nobody
        .version()
        .await
        .expect_err("nobody is there")
        .one_line();
    assert!(line.contains("cannot be reached"), "{line}");
}

#[tokio::test]
async fn a_supervisor_is_started_once_and_again_when_it_ended() {
    let ray = FakeRay::start("2.60.0");
    let (pool, _) = pool(&[]);
    let (jobs, mut starts) = (jobs(&ray), Starts::default());
    let ensure = async |starts: &mut Starts, after_ms: u64| {
        Supervisor::ensure(&jobs, &pool, "00000001", starts, START_MS + after_ms)
            .await
            .expect("it is there")
    };
    let (first, is_new) = ensure(&mut starts, 0).await;
    assert!(is_new && first.is_up() && first.cause().is_none());
    let (_, is_new) = ensure(&mut starts, 0).await;
    assert!(!is_new);
    let set = |status: &str| {
        ray.with(|state| {
            let job = state
                .jobs
                .get_mut(&job_name(&pool, "00000001"))
                .expect("the job");
            job["status"] = json!(status);
            job["message"] =
                json!("Traceback:\nModuleNotFoundError: No module named 'lance_backfill'");
        });
    };
    set("FAILED");
    let (failed, is_new) = ensure(&mut starts, 1_000).await;
    let cause = failed.cause().expect("a cause");
    assert!(!is_new && cause.is_error);
    assert!(
        cause
            .text
            .contains("is FAILED: ModuleNotFoundError: No module named"),
        "{}",
        cause.text
    );
    let (_, is_new) = ensure(&mut starts, 11_000).await;
    assert!(is_new, "after the first pause");
    set("FAILED");
    let (_, is_new) = ensure(&mut starts, 22_000).await;
    assert!(!is_new, "the second pause is longer");
    let (_, is_new) = ensure(&mut starts, 31_000).await;
    assert!(is_new);
}

#[tokio::test]
async fn a_job_that_another_submitted_meanwhile_is_taken() {
    let ray = FakeRay::start("2.60.0");
    let (pool, _) = pool(&[]);
    let submission = submission(&pool, "00000001", false).expect("a job");
    jobs(&ray).submit(&submission).await.expect("submits");
    jobs(&ray)
        .submit(&submission)
        .await
        .expect("it is there, though Ray answers 500");
    assert_eq!(ray.with(|state| state.jobs.len()), 1);
}

#[tokio::test]
async fn a_cluster_of_somebody_else_gets_a_supervisor_and_is_drained() {
    let ray = FakeRay::start("2.60.0");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let token = folder.path().join("token");
    std::fs::write(&token, format!("{TOKEN}\n")).expect("writes");
    let sample = include_str!("../../samples/existing.yaml")
        .replace("http://127.0.0.1:8265", &ray.address());
    let pool = Pool::parse("existing.yaml", &sample).expect("a pool");
    let Place::Existing(place) = &pool.place else {
        panic!("it exists");
    };
    let place = Existing {
        token_file: Some(token.clone()),
        ..place.clone()
    };
    let existing =
        || ExistingPool::new(pool.clone(), &place, Arc::new(Given::nothing())).expect("a pool");
    let before = existing().look(START_MS).await.expect("looks");
    assert!(
        before.exists
            && before
                .supervisor
                .as_ref()
                .is_some_and(|supervisor| supervisor.state == "ABSENT")
    );
    assert!(ray.writes().is_empty());
    let (supervisor, is_new) = existing().apply(START_MS).await.expect("applies");
    assert!(is_new && supervisor.is_up());
    let after = existing().look(START_MS).await.expect("looks");
    assert_eq!(after.causes, [], "all is well");
    ray.with(|state| state.most_gpus = 0.0);
    let report = existing().look(START_MS).await.expect("looks");
    let text = &report.causes.first().expect("a cause").text;
    assert!(
        text.contains("needs 1 GPUs, and the largest node of the Ray cluster has 0"),
        "{text}"
    );

    let drains = existing().drain().await.expect("drains");
    assert!(drains.is_up());
    let states = ray.with(|state| {
        let of = |job: &Value| {
            (
                job["submission_id"].as_str().unwrap().to_owned(),
                job["status"].as_str().unwrap().to_owned(),
            )
        };
        state.jobs.values().map(of).collect::<Vec<_>>()
    });
    let name = job_name(&pool, &revision_of(&pool));
    assert_eq!(
        states,
        [
            (name.clone(), "STOPPED".to_owned()),
            (format!("{name}-drain"), "RUNNING".to_owned())
        ]
    );
    let orders = ray.with(|state| {
        state.jobs[&format!("{name}-drain")]["runtime_env"]["env_vars"]["LANCE_BACKFILL_POOL"]
            .clone()
    });
    assert!(
        orders
            .as_str()
            .is_some_and(|orders| orders.contains("\"groups\":[]")),
        "{orders}"
    );

    std::fs::write(&token, "wrong").expect("writes");
    let report = existing().look(START_MS).await.expect("looks");
    assert!(
        report.causes[0].text.contains("refuses the token"),
        "{:?}",
        report.causes
    );
    std::fs::remove_file(&token).expect("removes");
    let refused = ExistingPool::new(pool.clone(), &place, Arc::new(Given::nothing()))
        .err()
        .expect("no token");
    assert!(
        refused
            .one_line()
            .contains("existing.token_file: cannot read"),
        "{}",
        refused.one_line()
    );
}
