//! What goes over the wire, to the byte: requests that a real API server was seen to take.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use futures::executor::block_on;
use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use lance_backfill_ray::cluster::{Applied, Change, Cluster};
use serde_json::{Value, json};

use crate::support::pool;

/// A request as it came: method, path with query, kind of body, body.
type Asked = (String, String, String, Value);

/// Answers in this order, and what was asked.
fn scripted(answers: Vec<(u16, Value)>) -> (Client, Arc<Mutex<Vec<Asked>>>) {
    let asked = Arc::new(Mutex::new(vec![]));
    let (seen, answers) = (asked.clone(), Arc::new(Mutex::new(answers.into_iter())));
    let service = tower::service_fn(move |request: Request<Body>| {
        let (parts, body) = request.into_parts();
        let body = block_on(body.collect_bytes()).expect("a body in memory");
        let kind = parts
            .headers
            .get("content-type")
            .map(|kind| kind.to_str().unwrap().to_owned());
        seen.lock().unwrap().push((
            parts.method.to_string(),
            parts.uri.to_string(),
            kind.unwrap_or_default(),
            serde_json::from_slice(&body).unwrap_or(Value::Null),
        ));
        let (code, value) = answers.lock().unwrap().next().expect("no more requests");
        let response = Response::builder()
            .status(code)
            .body(Body::from(value.to_string().into_bytes()));
        async move { Ok::<_, Infallible>(response.unwrap()) }
    });
    (Client::new(service, "default"), asked)
}

fn live(version: &str, replicas: u32) -> Value {
    json!({
        "apiVersion": "ray.io/v1", "kind": "RayCluster",
        "metadata": {"name": "embeddings", "namespace": "lance-backfill", "resourceVersion": version},
        "spec": {
            "headGroupSpec": {"rayStartParams": {}, "template": {"spec": {"containers": []}}},
            "workerGroupSpecs": [
                {"groupName": "other", "replicas": 1, "template": {}},
                {"groupName": "a10g", "replicas": replicas, "template": {}, "numOfHosts": 1},
            ],
        },
    })
}

#[tokio::test]
async fn scaling_is_a_guarded_patch_and_is_tried_again_when_it_was_outrun() {
    let invalid = json!({"kind": "Status", "status": "Failure", "reason": "Invalid", "code": 422, "message": "the server rejected our request due to an error in our request"});
    let (client, asked) = scripted(vec![
        (200, live("10", 1)),
        (422, invalid),
        (200, live("11", 2)),
        (200, live("12", 4)),
    ]);
    let (pool, place) = pool(&[]);
    let cluster = Cluster::new(client, &pool, &place);
    let mut seen = vec![];
    let changed = cluster.scale("a10g", |_, group| {
        seen.push(group.wanted());
        Some(Change {
            replicas: 4,
            remove: vec!["p".to_owned()],
        })
    });
    let changed = changed.await.expect("scales").expect("a change");
    assert_eq!((changed.replicas, seen), (4, vec![1, 2]));
    let path = "/apis/ray.io/v1/namespaces/lance-backfill/rayclusters/embeddings";
    let asked = asked.lock().unwrap().clone();
    let reads: Vec<_> = asked
        .iter()
        .filter(|asked| asked.0 == "GET")
        .map(|asked| asked.1.as_str())
        .collect();
    assert_eq!(reads, [path, path]);
    let (method, uri, kind, body) = &asked[3];
    assert_eq!(method, "PATCH");
    assert_eq!(*uri, format!("{path}?&fieldManager=lance-backfill"));
    assert_eq!(kind, "application/json-patch+json");
    assert_eq!(
        *body,
        json!([
            {"op": "test", "path": "/metadata/resourceVersion", "value": "11"},
            {"op": "test", "path": "/spec/workerGroupSpecs/1/groupName", "value": "a10g"},
            {"op": "add", "path": "/spec/workerGroupSpecs/1/replicas", "value": 4},
            {"op": "add", "path": "/spec/workerGroupSpecs/1/scaleStrategy", "value": {"workersToDelete": ["p"]}},
        ])
    );
}

#[tokio::test]
async fn nothing_is_written_where_nothing_is_to_be_changed() {
    let (client, asked) = scripted(vec![(200, live("10", 3))]);
    let (pool, place) = pool(&[]);
    let cluster = Cluster::new(client, &pool, &place);
    let change = Change {
        replicas: 3,
        remove: vec![],
    };
    let changed = cluster
        .scale("a10g", |_, _| Some(change.clone()))
        .await
        .expect("looks");
    assert_eq!(changed, None);
    assert_eq!(asked.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn applying_is_server_side_and_based_on_what_was_read() {
    let empty = json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": []});
    let mut running = live("10", 3);
    running["spec"]["rayVersion"] = json!("2.60.0");
    let (client, asked) = scripted(vec![(200, running.clone()), (200, empty), (200, running)]);
    let (pool, place) = pool(&[]);
    let cluster = Cluster::new(client, &pool, &place);
    assert_eq!(
        cluster.apply(&pool, &place).await.expect("applies"),
        Applied::Changed
    );
    let asked = asked.lock().unwrap().clone();
    let (method, uri, kind, body) = &asked[2];
    assert_eq!(method, "PATCH");
    assert!(
        uri.ends_with("/rayclusters/embeddings?&force=true&fieldManager=lance-backfill"),
        "{uri}"
    );
    assert_eq!(kind, "application/apply-patch+yaml");
    assert_eq!(
        body["metadata"]["resourceVersion"], "10",
        "who wrote meanwhile is not overwritten"
    );
    assert_eq!(
        body["spec"]["workerGroupSpecs"][0]["replicas"], 3,
        "live replicas stay"
    );
    assert!(
        body.get("status").is_none_or(Value::is_null),
        "it is KubeRay's"
    );
}

#[tokio::test]
async fn what_the_api_server_refuses_is_told() {
    for (code, word) in [
        (401, "does not know who asks"),
        (403, "this account may not"),
        (422, "refuses it"),
        (500, "in trouble"),
    ] {
        let failure = json!({"kind": "Status", "status": "Failure", "reason": "X", "code": code, "message": "why"});
        let (client, _) = scripted(vec![(code, failure)]);
        let (pool, place) = pool(&[]);
        let error = Cluster::new(client, &pool, &place)
            .live()
            .await
            .expect_err("it is refused");
        let line = error.one_line();
        assert!(line.contains(word) && line.ends_with("why"), "{line}");
    }
}
