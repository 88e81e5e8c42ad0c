//! Arguments of commands about a pool of workers on a Ray cluster.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
#[command(after_help = POOL_EXAMPLES)]
pub(crate) enum PoolCommand {
    /// Check a pool file, and show the manifest of its RayCluster and how it differs from what runs.
    ///
    /// Nothing is changed. Exit code 2 if the file is wrong, with all that is wrong in it.
    Plan(PlanPoolArguments),
    /// Make the RayCluster as the file says, without changing how many pods run.
    ///
    /// Groups that were drained get pods again. On a cluster that somebody else runs ('existing') the
    /// supervisor is started.
    Apply(PoolArguments),
    /// Show the pool's groups, its workers, its backlog, and why something does not work.
    ///
    /// Exit code 1 while something is wrong that waiting does not help.
    Status(PoolArguments),
    /// Have workers finish what they do and end; their groups have no pods until 'pool apply'.
    Drain(DrainPoolArguments),
    /// Drain the pool, then delete its RayCluster; batches that are left wait in their queues.
    ///
    /// Stop 'pool run' first: it would make the cluster again.
    Delete(DeletePoolArguments),
    /// Keep the pool as its file says and as large as its work, until stopped: the controller.
    ///
    /// Logs are JSON lines on stderr. It answers /metrics and /healthz.
    Run(RunPoolArguments),
}

const POOL_EXAMPLES: &str = "\
Examples:
  lance-backfill pool plan pool.yaml
  lance-backfill pool apply pool.yaml --context staging
  lance-backfill pool status pool.yaml --json
  lance-backfill pool drain pool.yaml --group a10g --wait 300
  lance-backfill pool run pool.yaml --listen 0.0.0.0:8080";

#[derive(Debug, Args)]
pub(crate) struct PoolArguments {
    /// Pool file.
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) kubernetes: KubernetesArguments,
}

/// Which Kubernetes cluster.
#[derive(Debug, Args)]
pub(crate) struct KubernetesArguments {
    /// Kubeconfig; in a pod the pod's own cluster without, elsewhere $KUBECONFIG or ~/.kube/config.
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig; its current one without.
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// URL of the head's dashboard, if there is a way there already; through the API server without.
    #[arg(long, value_name = "URL")]
    pub(crate) head: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct PlanPoolArguments {
    #[command(flatten)]
    pub(crate) pool: PoolArguments,
    /// Only what the file says: nothing that runs is looked at.
    #[arg(long)]
    pub(crate) offline: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DrainPoolArguments {
    #[command(flatten)]
    pub(crate) pool: PoolArguments,
    /// Only this group; may be given often.
    #[arg(long = "group", value_name = "NAME")]
    pub(crate) groups: Vec<String>,
    /// Wait until their pods are gone, so many seconds at most.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) wait: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct DeletePoolArguments {
    #[command(flatten)]
    pub(crate) pool: PoolArguments,
    /// Do not wait for what is at work: its batches are done again by others.
    #[arg(long)]
    pub(crate) now: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RunPoolArguments {
    #[command(flatten)]
    pub(crate) pool: PoolArguments,
    /// Where /metrics and /healthz are answered.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    pub(crate) listen: String,
}

impl PoolCommand {
    /// What all of them name.
    pub(crate) const fn pool(&self) -> &PoolArguments {
        match self {
            Self::Plan(arguments) => &arguments.pool,
            Self::Apply(arguments) | Self::Status(arguments) => arguments,
            Self::Drain(arguments) => &arguments.pool,
            Self::Delete(arguments) => &arguments.pool,
            Self::Run(arguments) => &arguments.pool,
        }
    }
}
