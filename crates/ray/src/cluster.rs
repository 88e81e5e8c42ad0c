//! The pool's RayCluster on the API server.
//!
//! Every write names the version that it is based on, so that several writers lose nothing of each other:
//! whoever comes second reads again and decides again.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, ObjectReference, Pod, Secret};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, Client, Resource, ResourceExt};
use lance_backfill_ports::{Error, ErrorKind, Result};

use crate::manifest::DRAINED;
use crate::plan::{Drained, Plan, plan};
use crate::pool::{Kubernetes, Pool, quantity};
use crate::ray_cluster::{RayCluster, WorkerGroupSpec};

mod error;
mod patch;

pub use error::told;
pub use patch::Change;
use patch::{drain_patch, scale_patch, undrain_patch};

/// Who writes.
const MANAGER: &str = "lance-backfill";
/// Times that a write is based on a new read.
const MOST_ATTEMPTS: u32 = 10;
/// Before the second attempt there is none, and before each further one this much more.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// Label of all objects of a cluster.
pub(crate) const CLUSTER: &str = "ray.io/cluster";
/// Label of pods: which group they are of.
pub(crate) const GROUP: &str = "ray.io/group";
/// Key of the token in the cluster's Secret.
const TOKEN: &str = "auth_token";

/// The RayCluster of one pool.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    clusters: Api<RayCluster>,
    pods: Api<Pod>,
    name: String,
    namespace: String,
}

/// What there is of it.
#[derive(Debug, Clone)]
pub enum Live {
    /// The API server does not know what a RayCluster is.
    NoOperator,
    /// There is none.
    Absent,
    /// There is one.
    Here(Box<RayCluster>),
}

/// What became of a wish to apply a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Applied {
    /// It was as it should be.
    Settled,
    /// There is one now.
    Created,
    /// It is another now.
    Changed,
}

impl Live {
    /// The cluster, if there is one.
    pub fn here(&self) -> Option<&RayCluster> {
        match self {
            Self::Here(cluster) => Some(cluster),
            Self::NoOperator | Self::Absent => None,
        }
    }
}

impl Cluster {
    /// The RayCluster of a pool.
    pub fn new(client: Client, pool: &Pool, place: &Kubernetes) -> Self {
        Self {
            clusters: Api::namespaced(client.clone(), &place.namespace),
            pods: Api::namespaced(client.clone(), &place.namespace),
            client,
            name: pool.name.clone(),
            namespace: place.namespace.clone(),
        }
    }

    /// What there is.
    pub async fn live(&self) -> Result<Live> {
        match self.clusters.get(&self.name).await {
            Ok(cluster) => Ok(Live::Here(Box::new(cluster))),
            Err(kube::Error::Api(status)) if is_missing(&status) => {
                // Of an object that is missing it says the name.
                let names_it = status
                    .details
                    .is_some_and(|details| details.name == self.name);
                Ok(if names_it {
                    Live::Absent
                } else {
                    Live::NoOperator
                })
            }
            Err(error) => Err(told(error, "cannot read the RayCluster")),
        }
    }

    async fn here(&self) -> Result<RayCluster> {
        match self.live().await? {
            Live::Here(cluster) => Ok(*cluster),
            Live::Absent => Err(Error::invalid(format!(
                "there is no RayCluster '{}' in namespace '{}': 'pool apply' makes it",
                self.name, self.namespace
            ))),
            Live::NoOperator => Err(no_operator()),
        }
    }

    /// Its pods, those that are ending too.
    pub async fn pods(&self) -> Result<Vec<Pod>> {
        let labels = format!("{CLUSTER}={}", self.name);
        let listed = self.pods.list(&ListParams::default().labels(&labels)).await;
        Ok(listed
            .map_err(|error| told(error, "cannot list the pool's pods"))?
            .items)
    }

    /// How many pods some groups have, those that are ending too.
    pub async fn pods_of(&self, groups: &[String]) -> Result<usize> {
        let pods = self.pods().await?;
        let is_theirs = |pod: &&Pod| {
            pod.labels()
                .get(GROUP)
                .is_some_and(|group| groups.contains(group))
        };
        Ok(pods.iter().filter(is_theirs).count())
    }

    /// What there would be to apply now, with the cluster that it is compared with.
    pub async fn plan(&self, pool: &Pool, place: &Kubernetes) -> Result<(Live, Plan)> {
        let live = self.live().await?;
        let pods = match live {
            Live::Here(_) => self.pods().await?,
            Live::Absent | Live::NoOperator => vec![],
        };
        let names: BTreeSet<String> = pods.iter().map(ResourceExt::name_any).collect();
        let groups = pods
            .iter()
            .filter_map(|pod| pod.labels().get(GROUP).cloned())
            .collect();
        let plan = plan(pool, place, live.here(), &names, &groups)?;
        Ok((live, plan))
    }

    /// Makes the cluster as the pool file says, by server-side apply; nothing is written where it is.
    pub async fn apply(&self, pool: &Pool, place: &Kubernetes) -> Result<Applied> {
        for attempt in 0..MOST_ATTEMPTS {
            let (live, plan) = self.plan(pool, place).await?;
            let mut wanted = match plan {
                Plan::Settled => return Ok(Applied::Settled),
                Plan::Apply(wanted) => wanted,
            };
            let applied = match &live {
                Live::NoOperator => return Err(no_operator()),
                Live::Absent => Applied::Created,
                Live::Here(live) => {
                    wanted.metadata.resource_version = live.resource_version();
                    Applied::Changed
                }
            };
            // By force: whoever scaled since owns the list of groups, and its number is in what we apply.
            let params = PatchParams::apply(MANAGER).force();
            match self
                .clusters
                .patch(&self.name, &params, &Patch::Apply(&wanted))
                .await
            {
                Ok(_) => return Ok(applied),
                Err(error) if is_outrun(&error) => pause(attempt).await,
                Err(error) => return Err(told(error, "cannot apply the RayCluster")),
            }
        }
        Err(outrun())
    }

    /// Scales a group by a patch that holds only for the version that was decided on; what was changed.
    ///
    /// `decide` sees the group as it is now, perhaps several times.
    pub async fn scale(
        &self,
        group: &str,
        mut decide: impl FnMut(&RayCluster, &WorkerGroupSpec) -> Option<Change>,
    ) -> Result<Option<Change>> {
        let mut refused = None;
        for attempt in 0..MOST_ATTEMPTS {
            let live = self.here().await?;
            let Some((place, now)) = live.group(group) else {
                return Err(Error::invalid(format!(
                    "the RayCluster '{}' has no group '{group}': 'pool apply' makes it",
                    self.name
                )));
            };
            let Some(change) = decide(&live, now) else {
                return Ok(None);
            };
            let Some(patch) = scale_patch(&live, place, now, &change) else {
                return Ok(None);
            };
            match self.patch(&patch).await {
                Ok(()) => return Ok(Some(change)),
                Err(error) if is_outrun(&error) => {
                    refused = Some(error);
                    pause(attempt).await;
                }
                Err(error) => return Err(told(error, "cannot scale the RayCluster")),
            }
        }
        Err(refused.map_or_else(outrun, |error| told(error, "cannot scale the RayCluster")))
    }

    /// Gives groups no pods until the pool is applied again; each pod finishes what it does first.
    pub async fn drain(&self, groups: &[String]) -> Result<()> {
        for attempt in 0..MOST_ATTEMPTS {
            let live = self.here().await?;
            let pods = self.pods().await?;
            let patch = drain_patch(&live, groups, &pods);
            match self.patch(&patch).await {
                Ok(()) => return Ok(()),
                Err(error) if is_outrun(&error) => pause(attempt).await,
                Err(error) => return Err(told(error, "cannot drain the RayCluster")),
            }
        }
        Err(outrun())
    }

    /// Ends that; whether it was so.
    pub async fn undrain(&self) -> Result<bool> {
        for attempt in 0..MOST_ATTEMPTS {
            let live = self.live().await?;
            let Some(live) = live
                .here()
                .filter(|live| live.annotations().contains_key(DRAINED))
            else {
                return Ok(false);
            };
            match self.patch(&undrain_patch(live)).await {
                Ok(()) => return Ok(true),
                Err(error) if is_outrun(&error) => pause(attempt).await,
                Err(error) => return Err(told(error, "cannot change the RayCluster")),
            }
        }
        Err(outrun())
    }

    /// Groups that are to have no pods.
    pub async fn drained(&self) -> Result<Drained> {
        Ok(self
            .live()
            .await?
            .here()
            .map(Drained::of)
            .unwrap_or_default())
    }

    /// Deletes the cluster and all its pods; whether there was one.
    pub async fn delete(&self) -> Result<bool> {
        match self
            .clusters
            .delete(&self.name, &DeleteParams::foreground())
            .await
        {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if is_missing(&status) => Ok(false),
            Err(error) => Err(told(error, "cannot delete the RayCluster")),
        }
    }

    /// The token of Ray's APIs, which KubeRay makes.
    pub async fn token(&self) -> Result<String> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let missing = || {
            Error::new(
                ErrorKind::Unavailable,
                format!(
                    "the Secret '{}' has no '{TOKEN}' yet: KubeRay makes it for 'auth: token'",
                    self.name
                ),
            )
        };
        let secret = match secrets.get(&self.name).await {
            Ok(secret) => secret,
            Err(kube::Error::Api(status)) if is_missing(&status) => return Err(missing()),
            Err(error) => return Err(told(error, "cannot read the token of the RayCluster")),
        };
        let bytes = secret
            .data
            .and_then(|mut data| data.remove(TOKEN))
            .ok_or_else(missing)?;
        let token = String::from_utf8(bytes.0).map_err(|_| missing())?;
        Ok(token.trim().to_owned())
    }

    /// The most GPUs that a node has, where this account may look at nodes and there are some.
    pub async fn most_gpus(&self) -> Option<u32> {
        let nodes: Api<Node> = Api::all(self.client.clone());
        // Most may not: then the scheduler's own words have to do.
        let nodes = nodes.list(&ListParams::default()).await.ok()?.items;
        let gpus = |node: &Node| {
            let has = node
                .status
                .as_ref()?
                .allocatable
                .as_ref()?
                .get("nvidia.com/gpu")?;
            quantity(&has.0)
        };
        let most = nodes.iter().filter_map(gpus).fold(0.0, f64::max);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a node has few"
        )]
        let most = most as u32;
        (!nodes.is_empty()).then_some(most)
    }

    /// What events are about.
    pub fn reference(&self, live: &RayCluster) -> ObjectReference {
        live.object_ref(&())
    }

    /// How others reach its pods.
    pub(crate) const fn pods_api(&self) -> &Api<Pod> {
        &self.pods
    }

    /// The client itself.
    pub const fn client(&self) -> &Client {
        &self.client
    }

    async fn patch(&self, operations: &serde_json::Value) -> std::result::Result<(), kube::Error> {
        let operations =
            serde_json::from_value(operations.clone()).map_err(kube::Error::SerdeError)?;
        let params = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patched = self
            .clusters
            .patch(&self.name, &params, &Patch::<()>::Json(operations))
            .await;
        patched.map(drop)
    }
}

/// Whether something is not there. A kind that the API server does not know is answered in plain text,
/// and then only the code tells.
fn is_missing(status: &kube::core::Status) -> bool {
    status.code == 404 || status.is_not_found()
}

/// Longer each time: two that read and write in step would outrun each other for ever.
#[expect(
    clippy::disallowed_methods,
    reason = "whoever was faster is to be done first, and does not say when"
)]
async fn pause(attempt: u32) {
    tokio::time::sleep(FIRST_PAUSE * attempt).await;
}

/// Whether somebody else wrote since: a version that is not the newest is a conflict, and a `test` that
/// fails makes a patch invalid.
fn is_outrun(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => {
            status.is_conflict() || status.is_invalid() || status.code == 422
        }
        _ => false,
    }
}

fn outrun() -> Error {
    Error::new(
        ErrorKind::Unavailable,
        format!("somebody else changed the RayCluster {MOST_ATTEMPTS} times meanwhile; try again"),
    )
}

fn no_operator() -> Error {
    Error::invalid(
        "the API server knows no RayCluster: install KubeRay's operator (helm install kuberay-operator kuberay/kuberay-operator), then try again",
    )
}
