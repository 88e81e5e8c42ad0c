//! The API server that a command talks to.

use std::path::Path;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use lance_backfill_ports::Result;

use crate::cluster::told;
use crate::jobs::Reach;

/// A client, and how heads are reached from where it is: in a pod without options it is that pod's own
/// cluster, elsewhere that of the kubeconfig.
pub async fn client(kubeconfig: Option<&Path>, context: Option<&str>) -> Result<(Client, Reach)> {
    let doing = "cannot reach Kubernetes";
    if kubeconfig.is_none()
        && context.is_none()
        && let Ok(config) = Config::incluster()
    {
        let client = Client::try_from(config).map_err(|error| told(error, doing))?;
        return Ok((client, Reach::Service));
    }
    let options = KubeConfigOptions {
        context: context.map(str::to_owned),
        ..KubeConfigOptions::default()
    };
    let config = match kubeconfig {
        Some(file) => match Kubeconfig::read_from(file) {
            Ok(kubeconfig) => Config::from_custom_kubeconfig(kubeconfig, &options).await,
            Err(error) => Err(error),
        },
        None => Config::from_kubeconfig(&options).await,
    };
    let config = config.map_err(|error| told(kube::Error::InferKubeconfig(error), doing))?;
    let client = Client::try_from(config).map_err(|error| told(error, doing))?;
    Ok((client, Reach::Forward))
}
