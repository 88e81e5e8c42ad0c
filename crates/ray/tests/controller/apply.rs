//! Applying a pool to what runs.

use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use lance_backfill_ray::cluster::{Applied, Change, Cluster, Live};
use lance_backfill_ray::plan::{Plan, diff};
use lance_backfill_ray::ray_cluster::RayCluster;
use serde_json::json;

use crate::support::api::{CLUSTERS, FakeApi};
use crate::support::operator::Operator;
use crate::support::{cluster, pool, replicas};

async fn apply(api: &FakeApi, changes: &[(&str, &str)]) -> lance_backfill_ports::Result<Applied> {
    let (pool, place) = pool(changes);
    Cluster::new(api.client(), &pool, &place)
        .apply(&pool, &place)
        .await
}

async fn scale(api: &FakeApi, group: &str, replicas: u32) {
    let change = Change {
        replicas,
        remove: vec![],
    };
    cluster(api)
        .scale(group, |_, _| Some(change.clone()))
        .await
        .expect("scales");
}

fn version(api: &FakeApi) -> String {
    api.cluster()["metadata"]["resourceVersion"].to_string()
}

const EDIT: (&str, &str) = ("AWS_REGION: eu-central-1", "AWS_REGION: us-east-1");

#[tokio::test]
async fn a_pool_is_made_once() {
    let api = FakeApi::default();
    assert_eq!(apply(&api, &[]).await.expect("applies"), Applied::Created);
    let before = version(&api);
    assert_eq!(apply(&api, &[]).await.expect("applies"), Applied::Settled);
    assert_eq!(version(&api), before);
    assert_eq!(api.writes().len(), 1, "nothing is written a second time");
}

#[tokio::test]
async fn an_edit_never_resets_what_was_scaled() {
    let api = FakeApi::default();
    let _ = apply(&api, &[]).await.expect("applies");
    scale(&api, "a10g", 3).await;
    assert_eq!(apply(&api, &[]).await.expect("applies"), Applied::Settled);
    assert_eq!(
        apply(&api, &[EDIT]).await.expect("applies"),
        Applied::Changed
    );
    assert_eq!(replicas(&api)["a10g"], 3);
    let env = api.group("a10g")["template"]["spec"]["containers"][0]["env"].to_string();
    assert!(env.contains("us-east-1"), "{env}");
    // A bound is a bound.
    let _ = apply(&api, &[("max: 4", "max: 2")]).await.expect("applies");
    assert_eq!(replicas(&api)["a10g"], 2);
    let _ = apply(&api, &[("max: 10", "min: 1\n    max: 10")])
        .await
        .expect("applies");
    assert_eq!(replicas(&api)["cpus"], 1);
}

#[tokio::test]
async fn who_scales_between_read_and_apply_loses_nothing() {
    let api = FakeApi::default();
    let _ = apply(&api, &[]).await.expect("applies");
    api.before_next_write(|api| {
        let path = format!("{CLUSTERS}/embeddings");
        api.edit(&path, |cluster| {
            cluster["spec"]["workerGroupSpecs"][0]["replicas"] = json!(4)
        });
    });
    assert_eq!(
        apply(&api, &[EDIT]).await.expect("applies"),
        Applied::Changed
    );
    assert_eq!(replicas(&api)["a10g"], 4);
}

#[tokio::test]
async fn what_others_add_does_not_count_and_what_they_change_does() {
    let api = FakeApi::default();
    let _ = apply(&api, &[]).await.expect("applies");
    let path = format!("{CLUSTERS}/embeddings");
    // As the defaults of the definition.
    api.edit(&path, |cluster| {
        cluster["spec"]["workerGroupSpecs"][0]["numOfHosts"] = json!(1);
        cluster["metadata"]["labels"]["else"] = json!("x");
        cluster["status"] = json!({"state": "ready"});
    });
    assert_eq!(apply(&api, &[]).await.expect("applies"), Applied::Settled);
    api.edit(&path, |cluster| {
        cluster["spec"]["enableInTreeAutoscaling"] = json!(true)
    });
    assert_eq!(apply(&api, &[]).await.expect("applies"), Applied::Changed);
    assert_eq!(api.cluster()["spec"]["enableInTreeAutoscaling"], false);
    assert_eq!(api.cluster()["metadata"]["labels"]["else"], "x");
}

#[tokio::test]
async fn a_group_that_is_gone_from_the_file_goes_when_its_pods_are_gone() {
    let api = FakeApi::default();
    let mut operator = Operator::new(&api);
    let _ = apply(&api, &[]).await.expect("applies");
    scale(&api, "cpus", 2).await;
    operator.reconcile();
    let text = crate::support::SAMPLE;
    let last = &text[text.find("  - name: cpus").expect("the last group")..];
    let without = [(last, "")];
    let _ = apply(&api, &without).await.expect("applies");
    assert_eq!(replicas(&api)["cpus"], 0, "it is empty first");
    operator.reconcile();
    assert_eq!(
        apply(&api, &without).await.expect("applies"),
        Applied::Settled,
        "its pods are ending"
    );
    operator.finish_all();
    let _ = apply(&api, &without).await.expect("applies");
    assert!(!replicas(&api).contains_key("cpus"));
}

#[tokio::test]
async fn names_of_pods_that_are_gone_are_not_applied_again() {
    let api = FakeApi::default();
    let mut operator = Operator::new(&api);
    let _ = apply(&api, &[]).await.expect("applies");
    scale(&api, "a10g", 2).await;
    operator.reconcile();
    let names = operator.names("a10g");
    let change = Change {
        replicas: 1,
        remove: vec![names[0].clone(), "gone".to_owned()],
    };
    let _ = cluster(&api)
        .scale("a10g", |_, _| Some(change.clone()))
        .await
        .expect("scales");
    let _ = apply(&api, &[EDIT]).await.expect("applies");
    assert_eq!(
        api.group("a10g")["scaleStrategy"]["workersToDelete"],
        json!([names[0]])
    );
}

#[tokio::test]
async fn another_version_of_ray_needs_another_cluster() {
    let api = FakeApi::default();
    let _ = apply(&api, &[]).await.expect("applies");
    let before = version(&api);
    let changes = [("ray_version: 2.60.0", "ray_version: 2.61.0")];
    let line = apply(&api, &changes)
        .await
        .expect_err("it is refused")
        .one_line();
    assert!(
        line.contains("runs Ray 2.60.0") && line.contains("2.61.0"),
        "{line}"
    );
    assert_eq!(version(&api), before);
}

#[tokio::test]
async fn a_plan_says_what_would_change_and_changes_nothing() {
    let api = FakeApi::default();
    let _ = apply(&api, &[]).await.expect("applies");
    let (pool, place) = pool(&[EDIT]);
    let (live, plan) = Cluster::new(api.client(), &pool, &place)
        .plan(&pool, &place)
        .await
        .expect("plans");
    let Plan::Apply(wanted) = plan else {
        panic!("there is something to do");
    };
    let text = diff(live.here(), &wanted);
    assert!(
        text.contains("eu-central-1") && text.contains("+") && text.contains("us-east-1"),
        "{text}"
    );
    assert!(!text.contains("maxReplicas: 10\n-"), "{text}");
    assert_eq!(api.writes().len(), 1);
    assert_eq!(
        diff(None, &wanted)
            .lines()
            .filter(|line| line.starts_with('-'))
            .count(),
        1,
        "all of it is new"
    );
    assert_eq!(diff(Some(&wanted), &wanted), "");
}

#[tokio::test]
async fn no_operator_is_told_apart_from_no_cluster() {
    let api = FakeApi::default();
    assert!(matches!(cluster(&api).live().await, Ok(Live::Absent)));
    api.without_operator();
    let live = cluster(&api).live().await;
    assert!(matches!(live, Ok(Live::NoOperator)), "{live:?}");
    let line = apply(&api, &[])
        .await
        .expect_err("nobody takes it up")
        .one_line();
    assert!(line.contains("install KubeRay's operator"), "{line}");
}

/// The double behaves as a real API server was seen to: this is why the pool applies as it does.
#[tokio::test]
async fn applying_without_looking_would_conflict_and_by_force_reset() {
    let api = FakeApi::default();
    let client: Client = api.client();
    let clusters: Api<RayCluster> = Api::namespaced(client, "lance-backfill");
    let (pool, place) = pool(&[]);
    let wanted = lance_backfill_ray::manifest::manifest(&pool, &place);
    let plain = PatchParams::apply("owner");
    let applied = clusters
        .patch("embeddings", &plain, &Patch::Apply(&wanted))
        .await
        .expect("applies");
    let again = clusters
        .patch("embeddings", &plain, &Patch::Apply(&wanted))
        .await
        .expect("applies");
    assert_eq!(
        applied.metadata.resource_version, again.metadata.resource_version,
        "nothing changed"
    );
    scale(&api, "a10g", 3).await;
    let conflict = clusters
        .patch("embeddings", &plain, &Patch::Apply(&wanted))
        .await
        .expect_err("a conflict");
    assert!(
        conflict.to_string().contains("workerGroupSpecs"),
        "{conflict}"
    );
    let _ = clusters
        .patch("embeddings", &plain.force(), &Patch::Apply(&wanted))
        .await
        .expect("by force");
    assert_eq!(replicas(&api)["a10g"], 0);
    // A merge on an old version.
    let old = json!({"metadata": {"resourceVersion": "1"}, "spec": {"suspend": true}});
    let conflict = clusters
        .patch("embeddings", &PatchParams::default(), &Patch::Merge(&old))
        .await;
    assert!(matches!(conflict, Err(kube::Error::Api(status)) if status.code == 409));
}
