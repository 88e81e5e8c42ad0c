//! How the head is reached.

use kube::ResourceExt;
use lance_backfill_ports::{Error, ErrorKind, Result};

use super::forward::Forward;
use super::{Jobs, PORT};
use crate::cluster::Cluster;
use crate::pool::{Existing, Kubernetes};
use crate::ray_cluster::RayCluster;

/// From where the head of a cluster on Kubernetes is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// From within the cluster, by the head's service.
    Service,
    /// From elsewhere, through the API server.
    Forward,
    /// Somebody has made a way to this address.
    At(String),
}

/// The Jobs API of a cluster on Kubernetes; its head is to be ready.
pub async fn connect(
    reach: &Reach,
    cluster: &Cluster,
    live: &RayCluster,
    place: &Kubernetes,
) -> Result<Jobs> {
    let token = match place.token {
        true => Some(cluster.token().await?),
        false => None,
    };
    match reach {
        Reach::At(address) => Jobs::new(address, token),
        Reach::Service => {
            let head = live.status.as_ref().and_then(|status| status.head.as_ref());
            let service = head.and_then(|head| head.service_name.clone());
            let service = service.unwrap_or_else(|| format!("{}-head-svc", live.name_any()));
            let address = format!("http://{service}.{}.svc:{PORT}", place.namespace);
            Jobs::new(&address, token)
        }
        Reach::Forward => {
            let pods = cluster.pods().await?;
            let is_head = |pod: &k8s_openapi::api::core::v1::Pod| {
                pod.labels()
                    .get("ray.io/node-type")
                    .is_some_and(|kind| kind == "head")
            };
            let head = pods
                .iter()
                .find(|pod| is_head(pod))
                .map(ResourceExt::name_any);
            let head = head
                .ok_or_else(|| Error::new(ErrorKind::Unavailable, "the cluster has no head yet"))?;
            let forward = Forward::open(cluster.pods_api().clone(), head).await?;
            let mut jobs = Jobs::new(&format!("http://{}", forward.address()), token)?;
            jobs._way = Some(forward);
            Ok(jobs)
        }
    }
}

impl Jobs {
    /// The Jobs API of a cluster that somebody else runs.
    pub fn existing(existing: &Existing) -> Result<Self> {
        let token = match &existing.token_file {
            None => None,
            Some(file) => {
                let text = std::fs::read_to_string(file).map_err(|error| {
                    let what = format!("existing.token_file: cannot read '{}'", file.display());
                    Error::invalid(what).with_source(error)
                })?;
                Some(text.trim().to_owned())
            }
        };
        Self::new(&existing.address, token)
    }
}
