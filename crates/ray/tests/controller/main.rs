//! The controller against an API server, KubeRay and a dashboard of Ray in memory.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test says what is wrong by panicking"
)]

mod apply;
mod exact;
mod jobs;
mod manifests;
mod real;
mod scaling;
mod support;
mod turns;
