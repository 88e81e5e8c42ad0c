//! The same against a real API server that has KubeRay's definitions, when KUBECONFIG names one that may
//! be written to: `LANCE_BACKFILL_TEST_NAMESPACE` is a namespace of it in which the test makes and deletes
//! a RayCluster. Nobody need run the operator.

use std::path::PathBuf;

use lance_backfill_ray::client::client;
use lance_backfill_ray::cluster::{Applied, Change, Cluster};

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
