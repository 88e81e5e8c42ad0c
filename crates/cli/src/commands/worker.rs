//! `worker`: takes the batches of a class from a deployed service, until told to stop.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lance_backfill_aws::ManagedSecrets;
use lance_backfill_embedded::python::PythonFunctions;
use lance_backfill_embedded::{ArtifactSource, EngineOptions, Python, ServiceFunctions};
use lance_backfill_ports::queue::Queue;
use lance_backfill_ports::{Error, Result};
use lance_backfill_service::{
    Doing, Outages, Presence, PullOptions, Pulled, Remote, ServiceOptions, Who,
};
use serde::Serialize;
use tokio::sync::watch;

use crate::args::{ProcessArguments, WorkerArguments};
use crate::clock::wait;
use crate::exit::{self, Exit};
use crate::output;
use crate::service::needed;

/// Where the secrets of functions are, as JSON of names and ARNs; in the environment without.
const SECRETS: &str = "LANCE_BACKFILL_SECRETS";
/// Between two looks for the file that asks to stop.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What it did.
#[derive(Serialize)]
struct Document {
    service: String,
    class: String,
    worker: String,
    /// Messages that need not come again.
    done: u64,
    /// Messages that are tried again.
    failed: u64,
    /// Messages that others had got meanwhile.
    lost: u64,
    /// Messages that were given back in the end.
    given_back: u64,
}

pub(super) async fn run(
    arguments: &WorkerArguments,
    process: &ProcessArguments,
    json: bool,
) -> Result<Exit> {
    let WorkerArguments {
        class,
        name,
        at_once,
        grace,
        drain,
    } = arguments;
    let name = name.clone().unwrap_or_else(own_name);
    let drain = (drain.as_deref())
        .map(|folder| Drain::of(folder, &name))
        .transpose()?;
    let remote = needed(process).await?;
    let environment = super::environment();
    let who = who(class, &name, &environment);
    let mut options = options(&remote, process, environment)?;
    // A slice that waits for a device keeps its place: the next batch needs one to be read.
    let slices = &mut options.engine.workers;
    *slices = usize::from(*at_once).max(*slices);
    let (service, lanes) = remote.worker(class, options)?;
    let visibility = shortest_visibility(&lanes).await?;
    let presence = Presence::begin(remote.store().clone(), who).await?;
    let (doing, told) = watch::channel(Doing::default());
    let telling = tokio::spawn(presence.tell(told));
    tracing::info!(
        service = remote.prefix(),
        class,
        worker = name,
        at_once,
        visibility_s = visibility.as_secs(),
        "takes batches"
    );
    let pull = PullOptions {
        at_once: usize::from(*at_once),
        visibility,
        grace: Duration::from_secs(*grace),
    };
    let service = Arc::new(service);
    let pulled = service.pull(&lanes, &pull, &doing, stop(drain.as_ref()));
    let pulled = Box::pin(pulled).await;
    // Who hears nothing more from it takes it for gone.
    drop(doing);
    if let Err(error) = telling.await {
        tracing::warn!(%error, "nobody was told that this worker is gone");
    }
    let Pulled {
        done,
        failed,
        lost,
        given_back,
    } = pulled;
    tracing::info!(
        class,
        worker = name,
        done,
        failed,
        lost,
        given_back,
        "has stopped"
    );
    if let Some(drain) = &drain {
        drain.say_done()?;
    }
    let document = Document {
        service: remote.prefix().to_owned(),
        class: class.clone(),
        worker: name,
        done,
        failed,
        lost,
        given_back,
    };
    Ok(output::result(json, &document, || {
        format!("stopped; {done} batches done, {given_back} given back")
    }))
}

/// Waits until somebody tells it to stop.
async fn stop(drain: Option<&Drain>) {
    let asked = async {
        match drain {
            Some(drain) => drain.asked().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = exit::signal() => tracing::info!("a signal says to stop"),
        () = asked => tracing::info!("a file says to stop"),
    }
}

/// How whoever deletes the pod tells its workers, and hears from them.
struct Drain {
    request: PathBuf,
    done: PathBuf,
}

impl Drain {
    /// In this folder; what a worker of this name left there in an earlier life is gone.
    fn of(folder: &Path, name: &str) -> Result<Self> {
        if !folder.is_dir() {
            return Err(Error::invalid(format!(
                "--drain '{}' is no folder that is there",
                folder.display()
            )));
        }
        let drain = Self {
            request: folder.join("request"),
            done: folder.join(format!("done-{name}")),
        };
        match std::fs::remove_file(&drain.done) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                let what = format!("cannot write to --drain '{}'", folder.display());
                Err(Error::invalid(what).with_source(error))
            }
            _ => Ok(drain),
        }
    }

    async fn asked(&self) {
        while !self.request.exists() {
            wait(LOOK_EVERY).await;
        }
    }

    fn say_done(&self) -> Result<()> {
        std::fs::write(&self.done, "").map_err(|error| {
            let what = format!(
                "it has stopped, and cannot say so in '{}'",
                self.done.display()
            );
            Error::internal(what).with_source(error)
        })
    }
}

/// The same as a process of the service has, with all of this machine.
fn options(
    remote: &Remote,
    process: &ProcessArguments,
    environment: BTreeMap<String, String>,
) -> Result<ServiceOptions> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let secrets = environment.get(SECRETS).filter(|json| !json.is_empty());
    let secrets = secrets
        .map(|json| ManagedSecrets::from_json(json))
        .transpose()
        .map_err(|error| Error::invalid(SECRETS).with_source(error))?;
    let mut engine = super::options(process, None)?;
    let python = Python {
        interpreter: process.interpreter.clone(),
        environment,
        cache: engine.cache.join("python"),
    };
    let mut functions = PythonFunctions::new(python, process.workers.map_or(cores, usize::from));
    if let Some(secrets) = secrets {
        functions = functions.with_secrets(Arc::new(secrets));
    }
    engine.python = Arc::new(functions);
    // Who can write a table must not thereby run code here.
    let registered = ServiceFunctions::new(remote.store().clone());
    engine.artifacts = ArtifactSource::Service(Arc::new(registered));
    Ok(ServiceOptions {
        engine: EngineOptions { ..engine },
        batches_at_once: 1,
        class: None,
        outages: Outages::default(),
    })
}

async fn shortest_visibility(lanes: &[Arc<dyn Queue>]) -> Result<Duration> {
    let mut shortest = Duration::MAX;
    for lane in lanes {
        shortest = shortest.min(lane.visibility().await?);
    }
    Ok(shortest)
}

/// What is known of where it runs: Kubernetes and Ray say so in the environment.
fn who(class: &str, name: &str, environment: &BTreeMap<String, String>) -> Who {
    let named = |names: &[&str]| {
        let found = names.iter().find_map(|name| environment.get(*name));
        found.filter(|value| !value.is_empty()).cloned()
    };
    Who {
        class: class.to_owned(),
        name: name.to_owned(),
        node: named(&["LANCE_BACKFILL_NODE"]),
        pod: named(&["LANCE_BACKFILL_POD", "RAY_CLOUD_INSTANCE_ID"]),
        device: named(&["CUDA_VISIBLE_DEVICES"]),
    }
}

/// Of this machine, and of this process: a second worker beside it has another.
fn own_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let is_plain = |letter: &char| letter.is_ascii_alphanumeric() || *letter == '-';
    let host: String = host.chars().filter(is_plain).take(64).collect();
    format!("w{host}-{}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_knows_where_it_is_by_what_pods_are_told() {
        let told = |words: &[(&str, &str)]| {
            let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            who("l4", "a", &words.iter().map(own).collect())
        };
        let ray = told(&[
            ("RAY_CLOUD_INSTANCE_ID", "pod-1"),
            ("CUDA_VISIBLE_DEVICES", "0"),
        ]);
        assert_eq!(ray.pod.as_deref(), Some("pod-1"));
        assert_eq!((ray.node, ray.device.as_deref()), (None, Some("0")));
        assert_eq!(told(&[("CUDA_VISIBLE_DEVICES", "")]).device, None);
    }

    #[tokio::test]
    async fn a_file_asks_it_to_stop_and_another_says_that_it_has() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let place = folder.path();
        assert!(Drain::of(&place.join("nowhere"), "a").is_err());
        std::fs::write(place.join("done-a"), "").expect("writes");
        std::fs::write(place.join("done-b"), "").expect("writes");
        let drain = Drain::of(place, "a").expect("a folder");
        assert!(!place.join("done-a").exists(), "of an earlier life");
        assert!(place.join("done-b").exists(), "another's");
        std::fs::write(place.join("request"), "").expect("writes");
        drain.asked().await;
        drain.say_done().expect("says so");
        assert!(place.join("done-a").exists());
    }
}
