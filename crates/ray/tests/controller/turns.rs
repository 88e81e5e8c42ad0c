//! Whole turns of the controller, with KubeRay and a dashboard of Ray.

use lance_backfill_ray::controller::Turn;
use lance_backfill_ray::report::Report;
use serde_json::json;

use crate::support::api::{CLUSTERS, EVENTS, NODES, PODS};
use crate::support::operator::{Operator, condition};
use crate::support::{START_MS, World, replicas, time};

const MINUTE: u64 = 60_000;

fn reasons(turn: &Turn) -> Vec<&str> {
    turn.done.iter().map(|done| done.reason).collect()
}

fn cause<'a>(report: &'a Report, reason: &str) -> &'a str {
    let found = report.causes.iter().find(|cause| cause.reason == reason);
    &found
        .unwrap_or_else(|| panic!("no {reason} in {:?}", report.causes))
        .text
}

#[tokio::test]
async fn a_pool_comes_up_works_and_goes_down_and_nobody_busy_is_touched() {
    let world = World::new();
    let mut operator = Operator::new(&world.api);
    let mut controller = world.controller(&[]);
    let made = controller.turn(START_MS).await.expect("a turn");
    assert_eq!(reasons(&made), ["Created"]);
    assert!(!made.report.head);
    operator.reconcile();
    let up = controller.turn(START_MS).await.expect("a turn");
    assert_eq!(reasons(&up), ["SupervisorStarted"]);
    assert!(
        up.report.head && !up.report.has_errors(),
        "{:?}",
        up.report.causes
    );
    let settled = controller.turn(START_MS).await.expect("a turn");
    assert_eq!(reasons(&settled), [""; 0], "nothing is left to do");

    // 60 batches of 20 s in 300 s.
    world.work.batches("a10g", 60, 0);
    let scaled = controller.turn(START_MS).await.expect("a turn");
    assert_eq!(reasons(&scaled), ["Scaled"]);
    assert_eq!(replicas(&world.api)["a10g"], 4);
    operator.reconcile();
    let names = operator.names("a10g");
    let pods: Vec<(&str, bool)> = names
        .iter()
        .enumerate()
        .map(|(place, name)| (name.as_str(), place != 1))
        .collect();

    // Nearly done: three are busy, and the cool-down is over.
    world.work.batches("a10g", 0, 3);
    world.work.workers("a10g", &pods);
    let _ = controller.turn(START_MS + MINUTE).await.expect("a turn");
    assert_eq!(replicas(&world.api)["a10g"], 4, "it cools down");
    // Workers keep saying that they are there.
    let _ = controller
        .turn(START_MS + 17 * MINUTE)
        .await
        .expect("a turn");
    assert_eq!(replicas(&world.api)["a10g"], 3);
    assert_eq!(
        world.api.group("a10g")["scaleStrategy"]["workersToDelete"],
        json!([names[1]])
    );
    operator.reconcile();
    assert_eq!(operator.names("a10g").len(), 3);

    // The pod ends for a while: its name stays, and KubeRay deletes no other.
    let _ = controller
        .turn(START_MS + 17 * MINUTE)
        .await
        .expect("a turn");
    operator.reconcile();
    operator.finish_all();
    let _ = controller
        .turn(START_MS + 17 * MINUTE)
        .await
        .expect("a turn");
    operator.reconcile();
    assert_eq!(
        world.api.group("a10g")["scaleStrategy"]["workersToDelete"],
        json!([])
    );

    // All of it is done.
    world.work.batches("a10g", 0, 0);
    world.work.workers("a10g", &[]);
    let _ = controller
        .turn(START_MS + 18 * MINUTE)
        .await
        .expect("a turn");
    let _ = controller
        .turn(START_MS + 40 * MINUTE)
        .await
        .expect("a turn");
    assert_eq!(replicas(&world.api)["a10g"], 1, "one was wanted meanwhile");
    operator.reconcile();
    operator.finish_all();
    for minute in [41, 57] {
        let _ = controller
            .turn(START_MS + minute * MINUTE)
            .await
            .expect("a turn");
    }
    assert_eq!(replicas(&world.api)["a10g"], 0, "min is 0");
    operator.reconcile();
    operator.finish_all();
    assert!(operator.at_random.is_empty(), "{:?}", operator.at_random);
    assert_eq!(world.ray.writes().len(), 1, "one supervisor for all of it");
}

#[tokio::test]
async fn a_new_image_is_rolled_beside_the_old_one() {
    let world = World::new();
    let mut operator = Operator::new(&world.api);
    let mut first = world.controller(&[]);
    world.work.batches("a10g", 20, 0);
    let _ = first.turn(START_MS).await.expect("a turn");
    operator.reconcile();
    let _ = first.turn(START_MS).await.expect("a turn");
    operator.reconcile();
    let old = operator.names("a10g");
    assert_eq!(old.len(), 2);

    let edit = [("AWS_REGION: eu-central-1", "AWS_REGION: us-east-1")];
    let mut second = world.controller(&edit);
    world
        .work
        .workers("a10g", &[(&old[0], true), (&old[1], false)]);
    let rolled = second.turn(START_MS).await.expect("a turn");
    assert_eq!(reasons(&rolled), ["Changed", "Scaled", "SupervisorStarted"]);
    assert_eq!(operator.names("a10g"), old, "no pod that runs is touched");
    assert_eq!(replicas(&world.api)["a10g"], 3, "one beside them");
    operator.reconcile();
    let with_new = operator.names("a10g");
    assert_eq!(with_new.len(), 3);
    let _ = second.turn(START_MS).await.expect("a turn");
    operator.reconcile();
    let after = operator.names("a10g");
    assert!(
        after.contains(&old[0]) && !after.contains(&old[1]),
        "the idle one of the old went"
    );
    operator.finish_all();
    // The other one is idle now.
    let busy: Vec<(&str, bool)> = after
        .iter()
        .map(|name| (name.as_str(), *name != old[0]))
        .collect();
    world.work.workers("a10g", &busy);
    for _ in 0..3 {
        let _ = second.turn(START_MS).await.expect("a turn");
        operator.reconcile();
        operator.finish_all();
    }
    assert!(!operator.names("a10g").contains(&old[0]));
    assert!(operator.at_random.is_empty());
    let jobs = world
        .ray
        .with(|state| state.jobs.keys().cloned().collect::<Vec<_>>());
    assert_eq!(
        jobs.len(),
        2,
        "a supervisor for each revision; the older one ends by itself"
    );
}

#[tokio::test]
async fn what_is_being_deleted_is_left_alone_and_made_again() {
    let world = World::new();
    let mut operator = Operator::new(&world.api);
    let mut controller = world.controller(&[]);
    let _ = controller.turn(START_MS).await.expect("a turn");
    operator.reconcile();
    let path = format!("{CLUSTERS}/embeddings");
    world.api.edit(&path, |cluster| {
        cluster["metadata"]["deletionTimestamp"] = json!(time(START_MS));
        cluster["spec"]["rayVersion"] = json!("2.59.0");
    });
    world.work.batches("a10g", 60, 0);
    let turn = controller.turn(START_MS).await.expect("a turn");
    assert_eq!(cause(&turn.report, "Deleting"), "it is being deleted");
    assert_eq!(replicas(&world.api)["a10g"], 0);
    world.api.remove(&path);
    let turn = controller.turn(START_MS).await.expect("a turn");
    assert_eq!(reasons(&turn)[0], "Created");
}

#[tokio::test]
async fn on_demand_is_there_only_while_there_is_work() {
    let world = World::new();
    let mut operator = Operator::new(&world.api);
    let mut controller = world.controller(&[("lifetime: persistent", "lifetime: on-demand")]);
    let path = format!("{CLUSTERS}/embeddings");
    let none = controller.turn(START_MS).await.expect("a turn");
    assert!(!none.report.exists && world.api.get(&path).is_none());
    world.work.batches("ray-cpu", 1, 0);
    let made = controller.turn(START_MS).await.expect("a turn");
    assert_eq!(reasons(&made)[0], "Created");
    operator.reconcile();
    world.work.batches("ray-cpu", 0, 0);
    let _ = controller.turn(START_MS).await.expect("a turn");
    let _ = controller
        .turn(START_MS + 14 * MINUTE)
        .await
        .expect("a turn");
    assert!(world.api.get(&path).is_some(), "it cools down");
    let gone = controller
        .turn(START_MS + 15 * MINUTE)
        .await
        .expect("a turn");
    assert_eq!(reasons(&gone), ["Deleted"]);
    assert!(world.api.get(&path).is_none());
}

#[tokio::test]
async fn what_does_not_work_is_named() {
    let world = World::new();
    let mut operator = Operator::new(&world.api);
    let mut controller = world.controller(&[]);
    let _ = controller.turn(START_MS).await.expect("a turn");
    let report = controller.look(START_MS + 2 * MINUTE).await.expect("looks");
    assert!(cause(&report, "NoOperator").contains("nobody took it up for 2 min"));

    operator.has_nodes = false;
    operator.reconcile();
    world.work.batches("a10g", 1, 0);
    let _ = controller.turn(START_MS).await.expect("a turn");
    operator.reconcile();
    let report = controller.look(START_MS + 5 * MINUTE).await.expect("looks");
    assert!(!report.has_errors(), "{:?}", report.causes);
    let text = cause(&report, "WaitingForNode");
    assert!(
        text.contains("for 5 min: 0/3 nodes are available: 3 Insufficient nvidia.com/gpu."),
        "{text}"
    );
    let report = controller
        .look(START_MS + 31 * MINUTE)
        .await
        .expect("looks");
    assert!(cause(&report, "NoNode").contains("no node came in 31 min"));
    world.api.put(&format!("{NODES}/a"), json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": "a"}, "status": {"allocatable": {"cpu": "4"}},
    }));
    let report = controller
        .look(START_MS + 31 * MINUTE)
        .await
        .expect("looks");
    assert!(cause(&report, "GpuTooLarge").contains("asks for 1 GPUs, and the largest node has 0"));
    world.api.forbid("/nodes");
    let report = controller
        .look(START_MS + 31 * MINUTE)
        .await
        .expect("looks");
    assert!(
        cause(&report, "NoNode").contains("Insufficient"),
        "who may not see nodes has the scheduler's word"
    );

    world.work.forget("a10g");
    let report = controller.look(START_MS).await.expect("looks");
    assert!(cause(&report, "NoSuchClass").contains("has no class 'a10g': it has ray-cpu"));

    let path = format!("{CLUSTERS}/embeddings");
    world.api.edit(&path, |cluster| {
        cluster["status"]["conditions"] = json!([
            condition("RayClusterSuspended", "True"),
            condition("ReplicaFailure", "True")
        ]);
    });
    let turn = controller.turn(START_MS).await.expect("a turn");
    assert!(cause(&turn.report, "Suspended").contains("spec.suspend"));
    assert!(cause(&turn.report, "ReplicaFailure").contains("cannot make its pods"));
    assert!(!turn.report.head);
}

#[tokio::test]
async fn an_image_that_cannot_be_pulled_is_named() {
    let world = World::new();
    let mut operator = Operator::new(&world.api);
    let mut controller = world.controller(&[]);
    let _ = controller.turn(START_MS).await.expect("a turn");
    operator.reconcile();
    world.work.batches("a10g", 1, 0);
    let _ = controller.turn(START_MS).await.expect("a turn");
    operator.reconcile();
    let name = operator.names("a10g")[0].clone();
    for (waiting, reason, told) in [
        (
            json!({"reason": "ImagePullBackOff", "message": "Back-off pulling image"}),
            "ImagePull",
            "the image 'x:1' cannot be pulled: Back-off",
        ),
        (
            json!({"reason": "CreateContainerConfigError", "message": "secret \"k\" not found"}),
            "ContainerConfig",
            "secret \"k\" not found",
        ),
        (
            json!({"reason": "CrashLoopBackOff"}),
            "Crashes",
            "ended 3 times: OOMKilled, exit code 137",
        ),
    ] {
        world.api.edit(&format!("{PODS}/{name}"), |pod| {
            pod["status"] = json!({
                "phase": "Pending",
                "conditions": [condition("PodScheduled", "True"), condition("Ready", "False")],
                "containerStatuses": [{
                    "name": "ray-worker", "image": "x:1", "imageID": "", "ready": false, "restartCount": 3,
                    "state": {"waiting": waiting},
                    "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": time(START_MS)}},
                }],
            });
        });
        let report = controller.look(START_MS).await.expect("looks");
        assert!(cause(&report, reason).contains(told), "{:?}", report.causes);
        assert!(cause(&report, reason).contains(&name));
        assert!(report.has_errors());
    }
}

#[tokio::test]
async fn a_head_that_cannot_be_talked_to_is_named_and_scaling_goes_on() {
    let world = World::new();
    let mut operator = Operator::new(&world.api);
    let mut controller = world.controller(&[]);
    let _ = controller.turn(START_MS).await.expect("a turn");
    operator.reconcile();
    world
        .ray
        .with(|state| "2.59.1".clone_into(&mut state.version));
    world.work.batches("a10g", 1, 0);
    let turn = controller.turn(START_MS).await.expect("a turn");
    let text = cause(&turn.report, "HeadUnreached");
    assert!(
        text.contains("runs Ray 2.59.1, and the pool file says 2.60.0"),
        "{text}"
    );
    assert_eq!(replicas(&world.api)["a10g"], 1);
    assert!(world.ray.writes().is_empty(), "nothing is submitted");

    world
        .ray
        .with(|state| "2.60.0".clone_into(&mut state.version));
    let secret = format!("{}/embeddings", crate::support::api::SECRETS);
    world.api.edit(&secret, |secret| {
        secret["data"]["auth_token"] = json!("b3RoZXI=")
    });
    let turn = controller.turn(START_MS).await.expect("a turn");
    assert!(cause(&turn.report, "HeadUnreached").contains("refuses the token"));
    world.api.remove(&secret);
    let turn = controller.turn(START_MS).await.expect("a turn");
    assert!(
        cause(&turn.report, "HeadUnreached")
            .contains("the Secret 'embeddings' has no 'auth_token' yet")
    );
}

#[tokio::test]
async fn while_all_spending_is_stopped_nothing_is_scaled_up() {
    let world = World::new();
    let mut operator = Operator::new(&world.api);
    let mut controller = world.controller(&[]);
    let _ = controller.turn(START_MS).await.expect("a turn");
    operator.reconcile();
    world.work.batches("a10g", 1_000, 0);
    world.work.stop();
    let turn = controller.turn(START_MS).await.expect("a turn");
    assert_eq!(replicas(&world.api)["a10g"], 0);
    assert!(cause(&turn.report, "Paused").contains("service resume"));
}

#[tokio::test]
async fn the_loop_tells_by_events_and_metrics_and_ends_when_told() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use lance_backfill_ray::controller::{Health, run};
    use lance_backfill_ray::metrics::{Metrics, serve};

    let world = World::new();
    let mut operator = Operator::new(&world.api);
    let _ = world.controller(&[]).turn(START_MS).await.expect("a turn");
    operator.reconcile();
    world.work.batches("a10g", 60, 2);
    let (metrics, health) = (Arc::new(Metrics::new()), Health::since(START_MS));
    let told = Arc::new(AtomicBool::new(false));
    let stop = {
        let (api, told) = (world.api.clone(), told.clone());
        async move {
            while api.list(EVENTS).len() < 2 {
                tokio::task::yield_now().await;
            }
            told.store(true, Ordering::Relaxed);
        }
    };
    let turns = run(world.controller(&[]), || START_MS, &metrics, &health, stop).await;
    assert!(turns == 1 && told.load(Ordering::Relaxed));
    let events = world.api.list(EVENTS);
    let notes: Vec<&str> = events
        .iter()
        .filter_map(|event| event["note"].as_str())
        .collect();
    assert!(
        notes
            .iter()
            .any(|note| note.contains("group a10g: 4 pods (backlog)")),
        "{notes:?}"
    );
    assert_eq!(events[0]["regarding"]["name"], "embeddings");

    let is_well = Arc::new(AtomicBool::new(true));
    let asked = is_well.clone();
    let server = serve("127.0.0.1:0", metrics, move || {
        asked.load(Ordering::Relaxed)
    })
    .expect("listens");
    let address = server.address().expect("an address");
    let get = |path: &'static str| async move {
        let answer = reqwest::get(format!("http://{address}{path}"))
            .await
            .expect("answers");
        (
            answer.status().as_u16(),
            answer.text().await.expect("a text"),
        )
    };
    let (code, text) = get("/metrics").await;
    assert_eq!(code, 200);
    for line in [
        "lance_backfill_pool_pods_wanted{pool=\"embeddings\",group=\"a10g\"} 4",
        "lance_backfill_pool_batches_waiting{pool=\"embeddings\",group=\"a10g\"} 60",
        "lance_backfill_pool_head_ready 1",
        "lance_backfill_pool_turns_total 1",
        "# EOF",
    ] {
        assert!(text.contains(line), "no {line} in {text}");
    }
    assert_eq!(get("/healthz").await.0, 200);
    is_well.store(false, Ordering::Relaxed);
    assert_eq!(get("/healthz").await.0, 503);
    assert_eq!(get("/else").await.0, 404);
    assert!(health.is_well(START_MS + MINUTE) && !health.is_well(START_MS + 3 * MINUTE));
}
