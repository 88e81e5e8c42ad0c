//! The same against a real API server that has KubeRay's definitions, when KUBECONFIG names one that may
//! be written to: `LANCE_BACKFILL_TEST_NAMESPACE` is a namespace of it in which the test makes and deletes
//! a RayCluster. Nobody need run the operator.
//!
//! And against a real head of Ray, when `LANCE_BACKFILL_TEST_RAY` is the URL of its dashboard and
//! `LANCE_BACKFILL_TEST_RAY_TOKEN` its token; `python/src/lance_backfill/ray/head.py` starts one.

use std::path::PathBuf;

use lance_backfill_ray::client::client;
use lance_backfill_ray::cluster::{Applied, Change, Cluster};
use lance_backfill_ray::jobs::{Jobs, Submission};
use serde_json::json;

use crate::support::pool;

#[expect(clippy::disallowed_methods, reason = "who runs the test says where")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[expect(clippy::print_stderr, reason = "it is said that nothing was tested")]
fn place() -> Option<(PathBuf, String)> {
    let place = variable("KUBECONFIG").zip(variable("LANCE_BACKFILL_TEST_NAMESPACE"));
    if place.is_none() {
        // Not a skip that CI=true forbids: no machine of ours has an API server.
        eprintln!("no real API server: KUBECONFIG and LANCE_BACKFILL_TEST_NAMESPACE are not set");
    }
    place.map(|(file, namespace)| (PathBuf::from(file), namespace))
}

#[tokio::test]
async fn a_real_api_server_does_as_the_double() {
    let Some((file, namespace)) = place() else {
        return;
    };
    let (client, _) = client(Some(&file), None).await.expect("a client");
    let on = |edit: &str| {
        let (pool, mut place) = pool(&[
            ("name: embeddings ", "name: lance-backfill-test "),
            ("AWS_REGION: eu-central-1", edit),
        ]);
        place.namespace.clone_from(&namespace);
        (pool, place)
    };
    let (pool, place) = on("AWS_REGION: eu-central-1");
    let cluster = Cluster::new(client.clone(), &pool, &place);
    let _ = cluster
        .delete()
        .await
        .expect("deletes what an earlier run left");
    assert_eq!(
        cluster.apply(&pool, &place).await.expect("applies"),
        Applied::Created
    );
    assert_eq!(
        cluster.apply(&pool, &place).await.expect("applies"),
        Applied::Settled
    );
    let other = cluster.clone();
    let scale = async |cluster: &Cluster, group: &str| {
        for _ in 0..3 {
            let more = |_: &_, group: &lance_backfill_ray::ray_cluster::WorkerGroupSpec| {
                Some(Change {
                    replicas: group.wanted() + 1,
                    remove: vec![],
                })
            };
            cluster.scale(group, more).await.expect("scales");
        }
    };
    futures::join!(scale(&cluster, "a10g"), scale(&other, "cpus"));
    let (edited, place) = on("AWS_REGION: us-east-1");
    assert_eq!(
        cluster.apply(&edited, &place).await.expect("applies"),
        Applied::Changed
    );
    let live = cluster.live().await.expect("looks");
    let wanted = |name: &str| {
        live.here()
            .and_then(|live| live.group(name))
            .map(|(_, group)| group.wanted())
    };
    assert_eq!(
        (wanted("a10g"), wanted("cpus")),
        (Some(3), Some(3)),
        "an edit resets nothing"
    );
    assert!(cluster.delete().await.expect("deletes"));
}

#[tokio::test]
#[expect(
    clippy::disallowed_methods,
    reason = "a job of a real head takes its time"
)]
async fn a_real_head_does_as_the_double() {
    let place = variable("LANCE_BACKFILL_TEST_RAY").zip(variable("LANCE_BACKFILL_TEST_RAY_TOKEN"));
    let Some((address, token)) = place else {
        eprintln!(
            "no real head: LANCE_BACKFILL_TEST_RAY and LANCE_BACKFILL_TEST_RAY_TOKEN are not set"
        );
        return;
    };
    let wrong = Jobs::new(&address, Some("wrong".to_owned())).expect("a client");
    let line = wrong.version().await.expect_err("it is refused").one_line();
    assert!(line.contains("refuses the token"), "{line}");
    let without = Jobs::new(&address, None).expect("a client");
    let line = without
        .version()
        .await
        .expect_err("it is refused")
        .one_line();
    assert!(line.contains("asks for a token"), "{line}");

    let jobs = Jobs::new(&address, Some(token)).expect("a client");
    let version = jobs.version().await.expect("a version");
    jobs.expect_version(&version).await.expect("the same");
    let _ = jobs.most_gpus().await.expect("its nodes");
    let id = "lance-backfill-test-00000001";
    jobs.delete(id).await.expect("an earlier run's, if any");
    assert_eq!(jobs.job(id).await.expect("looks"), None);
    let submission = Submission {
        submission_id: id.to_owned(),
        entrypoint: "exec sleep 60".to_owned(),
        runtime_env: json!({"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": "10"}}),
        metadata: [("pool".to_owned(), "test".to_owned())].into(),
    };
    jobs.submit(&submission).await.expect("submits");
    jobs.submit(&submission)
        .await
        .expect("it is there, though Ray answers 500");
    let until = async |wanted: &dyn Fn(&str) -> bool| {
        for _ in 0..120 {
            let job = jobs.job(id).await.expect("looks").expect("the job");
            if wanted(&job.status) {
                return job;
            }
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        }
        panic!("it takes too long");
    };
    until(&|status| status == "RUNNING").await;
    let all = jobs.jobs().await.expect("all jobs");
    let found = all
        .iter()
        .find(|job| job.submission_id.as_deref() == Some(id))
        .expect("it is one of them");
    assert_eq!(
        found
            .metadata
            .as_ref()
            .and_then(|metadata| metadata.get("pool"))
            .map(String::as_str),
        Some("test")
    );
    jobs.stop(id).await.expect("stops");
    let ended = until(&|status| status == "STOPPED").await;
    assert!(ended.has_ended());
    jobs.delete(id).await.expect("deletes");
    assert_eq!(jobs.job(id).await.expect("looks"), None);
}
