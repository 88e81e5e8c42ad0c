//! Arguments of `worker`.

use std::path::PathBuf;

use clap::Args;

use super::parse::worker_name;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct WorkerArguments {
    /// Class whose batches it takes, as 'service status' lists them.
    #[arg(long, value_name = "CLASS")]
    pub(crate) class: String,
    /// Its name in the class, of which there must be no other at the same time [default: of this machine].
    #[arg(long, value_name = "NAME", value_parser = worker_name)]
    pub(crate) name: Option<String>,
    /// Batches that it has at once: with two, the next is read while the device works on one.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) at_once: u16,
    /// Time to finish what it has when it is told to stop; what does not end in time is given back.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub(crate) grace: u64,
    /// Folder in which a file 'request' tells it to stop, as a signal does; when it has, it leaves a file
    /// 'done-NAME' there.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) drain: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  lance-backfill worker --service s3://lake/backfill --class a10g
  lance-backfill worker --service s3://lake/backfill --class ray-cpu --name node-7-0 --drain /run/drain

It runs until SIGTERM, SIGINT or the file 'request' in the folder --drain; then it takes nothing more, and
exits 0. LANCE_BACKFILL_GPUS says how many devices it may use, LANCE_BACKFILL_SECRETS where the secrets of
functions are, as JSON {NAME: ARN}; both are for pods, which say so in their environment.";
