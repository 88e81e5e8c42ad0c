//! Scaling while others write too.

use lance_backfill_ray::cluster::Change;
use serde_json::json;

use crate::support::api::{CLUSTERS, FakeApi};
use crate::support::operator::Operator;
use crate::support::{cluster, pool, replicas};

async fn made() -> FakeApi {
    let api = FakeApi::default();
    let (pool, place) = pool(&[]);
    let _ = cluster(&api).apply(&pool, &place).await.expect("applies");
    api
}

fn one_more(group: &lance_backfill_ray::ray_cluster::WorkerGroupSpec) -> Change {
    Change {
        replicas: group.wanted() + 1,
        remove: vec![],
    }
}

#[tokio::test]
async fn two_scalers_lose_nothing_of_each_other() {
    let api = made().await;
    let (one, other) = (cluster(&api), cluster(&api));
    let of_one = async {
        for _ in 0..10 {
            one.scale("a10g", |_, group| Some(one_more(group)))
                .await
                .expect("scales");
        }
    };
    let of_other = async {
        for _ in 0..10 {
            other
                .scale("a10g", |_, group| Some(one_more(group)))
                .await
                .expect("scales");
            other
                .scale("cpus", |_, group| Some(one_more(group)))
                .await
                .expect("scales");
        }
    };
    futures::join!(of_one, of_other);
    assert_eq!(replicas(&api)["a10g"], 20);
    assert_eq!(replicas(&api)["cpus"], 10);
}

#[tokio::test]
async fn whoever_is_outrun_decides_again() {
    for refusal in [(409, "Conflict"), (422, "Invalid")] {
        let api = made().await;
        api.refuse_next_write(refusal.0, refusal.1);
        let mut decisions = 0;
        let changed = cluster(&api)
            .scale("a10g", |_, group| {
                decisions += 1;
                Some(one_more(group))
            })
            .await
            .expect("scales");
        assert_eq!(
            (changed.map(|change| change.replicas), decisions),
            (Some(1), 2)
        );
    }
    let api = made().await;
    api.before_next_write(|api| {
        let path = format!("{CLUSTERS}/embeddings");
        api.edit(&path, |cluster| {
            cluster["spec"]["workerGroupSpecs"][0]["replicas"] = json!(3)
        });
    });
    let mut seen = vec![];
    let _ = cluster(&api)
        .scale("a10g", |_, group| {
            seen.push(group.wanted());
            Some(Change {
                replicas: group.wanted().max(2),
                remove: vec![],
            })
        })
        .await
        .expect("scales");
    assert_eq!(seen, [0, 3]);
    assert_eq!(replicas(&api)["a10g"], 3);
}

#[tokio::test]
async fn who_is_outrun_all_the_time_says_so() {
    let api = made().await;
    for _ in 0..20 {
        api.refuse_next_write(409, "Conflict");
    }
    let error = cluster(&api)
        .scale("a10g", |_, group| Some(one_more(group)))
        .await
        .expect_err("it gives up");
    assert!(
        error.one_line().contains("cannot scale"),
        "{}",
        error.one_line()
    );
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let api = made().await;
    let line = cluster(&api)
        .scale("h100", |_, _| None)
        .await
        .expect_err("no such group")
        .one_line();
    assert!(line.contains("has no group 'h100'"), "{line}");
    let none = FakeApi::default();
    let line = cluster(&none)
        .scale("a10g", |_, _| None)
        .await
        .expect_err("no cluster")
        .one_line();
    assert!(
        line.contains("there is no RayCluster 'embeddings'"),
        "{line}"
    );
}

#[tokio::test]
async fn drained_groups_have_no_pods_until_they_are_applied_again() {
    let api = made().await;
    let mut operator = Operator::new(&api);
    cluster(&api)
        .scale("cpus", |_, _| {
            Some(Change {
                replicas: 2,
                remove: vec![],
            })
        })
        .await
        .expect("scales");
    operator.reconcile();
    cluster(&api)
        .drain(&["cpus".to_owned()])
        .await
        .expect("drains");
    let drained = cluster(&api).drained().await.expect("looks");
    assert!(drained.has("cpus") && !drained.has("a10g"));
    operator.reconcile();
    assert!(operator.names("cpus").is_empty() && operator.at_random.is_empty());
    let (pool, place) = pool(&[("max: 10", "min: 1\n    max: 10")]);
    let _ = cluster(&api).apply(&pool, &place).await.expect("applies");
    assert_eq!(replicas(&api)["cpus"], 0, "the loop does not undo it");
    assert!(cluster(&api).undrain().await.expect("ends it"));
    assert!(!cluster(&api).undrain().await.expect("it is over"));
    let _ = cluster(&api).apply(&pool, &place).await.expect("applies");
    assert_eq!(replicas(&api)["cpus"], 1);
}
