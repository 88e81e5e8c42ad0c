//! A way through the API server to a port of a pod, as a port of this machine.

use std::net::{Ipv4Addr, SocketAddr};

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use lance_backfill_ports::{Error, ErrorKind, Result};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::PORT;
use crate::cluster::told;

/// Forwards each connection to a port of this machine, while it lives.
#[derive(Debug)]
pub(super) struct Forward {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Forward {
    /// To the dashboard of a head; that it can be reached is tried first.
    pub(super) async fn open(pods: Api<Pod>, head: String) -> Result<Self> {
        let first = pods.portforward(&head, &[PORT]).await;
        first
            .map_err(|error| told(error, "cannot reach the head through the API server"))?
            .abort();
        let unable = |error: std::io::Error| {
            Error::new(
                ErrorKind::Unavailable,
                "no port of this machine can be opened",
            )
            .with_source(error)
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .map_err(unable)?;
        let address = listener.local_addr().map_err(unable)?;
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(carry(pods.clone(), head.clone(), stream));
            }
        });
        Ok(Self { address, task })
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One connection, to its end; whoever made it notices when it breaks.
async fn carry(pods: Api<Pod>, head: String, mut stream: TcpStream) {
    let mut forwarded = match pods.portforward(&head, &[PORT]).await {
        Ok(forwarded) => forwarded,
        Err(error) => {
            tracing::warn!(%error, head, "the head cannot be reached through the API server");
            return;
        }
    };
    if let Some(mut far) = forwarded.take_stream(PORT) {
        let carried = tokio::io::copy_bidirectional(&mut stream, &mut far).await;
        tracing::debug!(?carried, "a connection to the head ended");
    }
    forwarded.abort();
}
