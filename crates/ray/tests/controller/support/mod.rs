//! Doubles of the API server, of KubeRay and of Ray's dashboard, and a pool on them.

pub(crate) mod api;
pub(crate) mod json;
pub(crate) mod operator;
pub(crate) mod ray;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use k8s_openapi::jiff::Timestamp;
use lance_backfill_core::ids::{BatchId, LedgerSeq};
use lance_backfill_core::worker_status::WorkerStatus;
use lance_backfill_ports::Result;
use lance_backfill_ray::Pool;
use lance_backfill_ray::cluster::Cluster;
use lance_backfill_ray::controller::Controller;
use lance_backfill_ray::jobs::Reach;
use lance_backfill_ray::pool::{Kubernetes, Place};
use lance_backfill_ray::scale::Backlog;
use lance_backfill_ray::work::{Seen, Work};
use serde_json::json;

use api::{FakeApi, SECRETS};

/// When everything begins.
pub(crate) const START_MS: u64 = 1_700_000_000_000;
pub(crate) const SAMPLE: &str = include_str!("../../../samples/pool.yaml");

pub(crate) fn time(ms: u64) -> String {
    Timestamp::from_millisecond(i64::try_from(ms).unwrap())
        .unwrap()
        .to_string()
}

/// The sample pool after some replacements.
pub(crate) fn pool(changes: &[(&str, &str)]) -> (Pool, Kubernetes) {
    let mut text = SAMPLE.to_owned();
    for (from, to) in changes {
        assert!(text.contains(from), "the sample has no '{from}'");
        text = text.replacen(from, to, 1);
    }
    let pool = Pool::parse("pool.yaml", &text).expect("a pool");
    let Place::Kubernetes(place) = pool.place.clone() else {
        panic!("on Kubernetes");
    };
    (pool, *place)
}

pub(crate) fn cluster(api: &FakeApi) -> Cluster {
    let (pool, place) = pool(&[]);
    Cluster::new(api.client(), &pool, &place)
}

/// Work as a test says.
#[derive(Clone, Default)]
pub(crate) struct Given(Arc<Mutex<Seen>>);

impl Given {
    pub(crate) fn nothing() -> Self {
        let given = Self::default();
        given.batches("a10g", 0, 0);
        given.batches("ray-cpu", 0, 0);
        given
    }

    pub(crate) fn batches(&self, class: &str, waiting: u64, in_flight: u64) {
        let backlog = Backlog {
            waiting,
            in_flight,
            stuck_ms: 0,
        };
        self.0
            .lock()
            .unwrap()
            .backlog
            .insert(class.to_owned(), backlog);
    }

    /// The workers of these pods, each with whether it is busy.
    pub(crate) fn workers(&self, class: &str, pods: &[(&str, bool)]) {
        let worker = |(pod, busy): &(&str, bool)| WorkerStatus {
            version: 1,
            class: class.to_owned(),
            name: format!("{pod}-0"),
            node: None,
            pod: Some((*pod).to_owned()),
            device: None,
            since_ms: START_MS,
            seen_ms: START_MS,
            busy: match busy {
                true => BTreeSet::from([batch()]),
                false => BTreeSet::new(),
            },
            batches_done: 1,
            functions_loaded: BTreeSet::new(),
            draining: false,
        };
        self.0.lock().unwrap().workers = pods.iter().map(worker).collect();
    }

    pub(crate) fn stop(&self) {
        self.0.lock().unwrap().is_stopped = true;
    }

    pub(crate) fn forget(&self, class: &str) {
        self.0.lock().unwrap().backlog.remove(class);
    }
}

fn batch() -> BatchId {
    BatchId {
        seq: LedgerSeq(7),
        token: "token".to_owned(),
        index: 0,
    }
}

#[async_trait]
impl Work for Given {
    async fn look(&self, _: u64) -> Result<Seen> {
        Ok(self.0.lock().unwrap().clone())
    }
}

/// A pool with its doubles.
pub(crate) struct World {
    pub(crate) api: FakeApi,
    pub(crate) ray: ray::FakeRay,
    pub(crate) work: Given,
}

impl World {
    pub(crate) fn new() -> Self {
        let api = FakeApi::default();
        // KubeRay makes it.
        api.put(
            &format!("{SECRETS}/embeddings"),
            json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "embeddings"},
                "data": {"auth_token": "YS10b2tlbg=="},
            }),
        );
        Self {
            api,
            ray: ray::FakeRay::start("2.60.0"),
            work: Given::nothing(),
        }
    }

    pub(crate) fn controller(&self, changes: &[(&str, &str)]) -> Controller {
        let (pool, place) = pool(changes);
        let cluster = Cluster::new(self.api.client(), &pool, &place);
        let reach = Reach::At(self.ray.address());
        Controller::new(pool, place, cluster, Arc::new(self.work.clone()), reach)
    }
}

/// Replicas of the groups of the cluster.
pub(crate) fn replicas(api: &FakeApi) -> BTreeMap<String, i64> {
    let cluster = api.cluster();
    let groups = cluster["spec"]["workerGroupSpecs"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let number = |group: &serde_json::Value| {
        let name = group["groupName"].as_str().unwrap_or_default().to_owned();
        (name, group["replicas"].as_i64().unwrap_or_default())
    };
    groups.iter().map(number).collect()
}
