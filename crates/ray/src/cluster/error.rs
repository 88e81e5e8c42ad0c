//! What the API server says, for a person.

use lance_backfill_ports::{Error, ErrorKind};

/// An error of the API server: what was attempted, and what the person can do.
pub fn told(error: kube::Error, doing: &str) -> Error {
    let (kind, hint) = match &error {
        kube::Error::Api(status) => match status.code {
            401 => (
                ErrorKind::Invalid,
                "the API server does not know who asks: log in again, or choose another --context",
            ),
            403 => (
                ErrorKind::Invalid,
                "this account may not: the role 'lance-backfill-controller' of k8s/base has what is needed",
            ),
            400 | 404 | 405 | 413 | 415 | 422 => (ErrorKind::Invalid, "the API server refuses it"),
            _ => (ErrorKind::Unavailable, "the API server is in trouble"),
        },
        kube::Error::InferConfig(_) | kube::Error::InferKubeconfig(_) => (
            ErrorKind::Invalid,
            "no Kubernetes cluster is configured: give --kubeconfig and --context",
        ),
        kube::Error::Auth(_) => (
            ErrorKind::Invalid,
            "the credentials of the kubeconfig cannot be had",
        ),
        kube::Error::SerdeError(_) => (
            ErrorKind::Internal,
            "the API server's answer is not what KubeRay's definition says",
        ),
        _ => (ErrorKind::Unavailable, "the API server cannot be reached"),
    };
    let said = match &error {
        kube::Error::Api(status) => status.message.clone(),
        other => chain(other),
    };
    Error::new(kind, format!("{doing}: {hint}")).with_source(said)
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let said = source.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        next = source.source();
    }
    text
}
