//! The controller of a pool: workers of a deployed service that stay up on a Ray cluster, with their
//! models loaded, and are as many as there is work for.
//!
//! A pool is described in one file ([`pool`]), from which everything else follows by pure functions: the
//! RayCluster ([`manifest`]), what to apply over what runs ([`plan`]), how many pods there should be and
//! which of them go ([`scale`]), what is ready and what is not and why ([`readiness`]). The rest asks and
//! tells: the API server ([`cluster`]), Ray's Jobs API ([`jobs`]), the service ([`work`]).
//!
//! **Architecture invariant:** no batch depends on this crate. A pod that dies costs one redelivery, and a
//! controller that is gone leaves the pods as they are.
//!
//! **Architecture invariant:** it is the only crate that names Kubernetes or Ray.

pub mod client;
pub mod cluster;
pub mod controller;
pub mod existing;
pub mod jobs;
pub mod manifest;
pub mod metrics;
pub mod observe;
pub mod plan;
pub mod pool;
pub mod ray_cluster;
pub mod readiness;
pub mod report;
pub mod revision;
pub mod scale;
pub mod supervisor;
pub mod work;
pub mod yaml;

pub use pool::Pool;
