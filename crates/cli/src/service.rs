//! The deployed service that a command goes through: which one, and how to reach it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lance_backfill_aws::{SqsQueue, client_for};
use lance_backfill_core::deployment::Needs;
use lance_backfill_core::message::Wake;
use lance_backfill_lance::{ObjectStateStore, OpenOptions};
use lance_backfill_ports::queue::Queue;
use lance_backfill_ports::{Error, Result};
use lance_backfill_service::{Admission, Remote};
use serde::Deserialize;

use crate::args::{ColumnCommand, Command, ProcessArguments};
use crate::output;

/// Names the service for all commands.
const VARIABLE: &str = "LANCE_BACKFILL_SERVICE";
/// In the folder that one works in.
const PROJECT_FILE: &str = "lance-backfill.json";
/// In the folder of one's own settings.
const USER_FILE: &str = "lance-backfill/config.json";
/// Says that there is to be none.
const NONE: &str = "none";

/// A service, and who named it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Chosen {
    prefix: String,
    by: By,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum By {
    Option,
    Variable,
    File(PathBuf),
}

/// What files may say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    service: Option<String>,
}

/// Refuses a command that does not go through a service, and options that mean nothing there.
pub(crate) fn check(command: &Command, process: &ProcessArguments) -> Result<()> {
    let Some(chosen) = chosen(process)? else {
        return Ok(());
    };
    let refused = |why: &str| Err(Error::invalid(format!("{why}{}", chosen.by.without())));
    if let Some(why) = refusal(command) {
        return refused(why);
    }
    // It is on this machine, and of the service.
    let is_worker = matches!(command, Command::Worker(_));
    if process.workers.is_some() && !is_worker {
        return refused(
            "--workers is about work on this machine, and a service has its own workers",
        );
    }
    if process.branch.is_some() {
        return refused("a service keeps the main lines of tables up to date, not --branch");
    }
    Ok(())
}

/// Why a command has nothing to do with a service.
const fn refusal(command: &Command) -> Option<&'static str> {
    match command {
        Command::Refresh(_) => Some(
            "'refresh' computes on this machine, and a service keeps its tables up to date by itself: 'status' shows how far it is, 'plan' what it will do, 'tables add' has it look now",
        ),
        Command::Serve(_) => Some("'serve' keeps tables up to date from this machine"),
        Command::Demo(_) => Some("'demo' works in a table of its own on this machine"),
        Command::Optimize(_) => Some("'optimize' compacts a table from this machine"),
        Command::Reconcile(_) => {
            Some("'reconcile' tidies up from this machine, and a service does so by its schedule")
        }
        Command::Column(column) => match **column {
            ColumnCommand::Canary(_) => Some("'column canary' calls functions on this machine"),
            ColumnCommand::Add(_)
            | ColumnCommand::List(_)
            | ColumnCommand::Show(_)
            | ColumnCommand::Alter(_)
            | ColumnCommand::Pause(_)
            | ColumnCommand::Resume(_)
            | ColumnCommand::Drop(_) => None,
        },
        Command::Plan(_)
        | Command::Backfill(_)
        | Command::Retry(_)
        | Command::Jobs(_)
        | Command::Pause(_)
        | Command::Resume(_)
        | Command::Status(_)
        | Command::Failures(_)
        | Command::Approve(_)
        | Command::Register(_)
        | Command::Claim(_)
        | Command::Tables(_)
        | Command::Service(_)
        | Command::Redrive(_)
        | Command::Worker(_)
        | Command::Pool(_) => None,
    }
}

impl By {
    /// How to do without it.
    fn without(&self) -> String {
        match self {
            Self::Option => ": leave --service out".to_owned(),
            Self::Variable => {
                format!(": {VARIABLE} names a service; give --service {NONE} to do without")
            }
            Self::File(file) => format!(
                ": '{}' names a service; give --service {NONE} to do without",
                file.display()
            ),
        }
    }
}

/// The service that was named: by the option, else by the variable, else by a file.
fn chosen(process: &ProcessArguments) -> Result<Option<Chosen>> {
    let named = process.service.clone().map(|prefix| (prefix, By::Option));
    let named = named.or_else(|| Some((variable(VARIABLE)?, By::Variable)));
    let named = match named {
        Some(named) => Some(named),
        None => in_files()?,
    };
    let Some((prefix, by)) = named else {
        return Ok(None);
    };
    match prefix.trim() {
        "" | NONE => Ok(None),
        prefix => Ok(Some(Chosen {
            prefix: prefix.trim_end_matches('/').to_owned(),
            by,
        })),
    }
}

fn in_files() -> Result<Option<(String, By)>> {
    let user = variable("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| variable("HOME").map(|home| PathBuf::from(home).join(".config")));
    let files = [
        Some(PathBuf::from(PROJECT_FILE)),
        user.map(|folder| folder.join(USER_FILE)),
    ];
    for file in files.into_iter().flatten() {
        if let Some(prefix) = in_file(&file)? {
            return Ok(Some((prefix, By::File(file))));
        }
    }
    Ok(None)
}

fn in_file(file: &Path) -> Result<Option<String>> {
    let text = match std::fs::read(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        // A home that this user may not enter is somebody else's, as after 'sudo -u'.
        Err(_) if file.try_exists().is_err() => return Ok(None),
        Err(error) => {
            let what = format!("cannot read '{}'", file.display());
            return Err(Error::invalid(what).with_source(error));
        }
    };
    let settings: Settings = serde_json::from_slice(&text).map_err(|error| {
        let what = format!(
            "'{}' is not {{\"service\": \"s3://BUCKET/PREFIX\"}}",
            file.display()
        );
        Error::invalid(what).with_source(error)
    })?;
    Ok(settings.service)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the command line is where the environment comes in"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The service that was named, reached.
pub(crate) async fn remote(process: &ProcessArguments) -> Result<Option<Remote>> {
    let Some(Chosen { prefix, .. }) = chosen(process)? else {
        return Ok(None);
    };
    let options = OpenOptions {
        storage_options: process.storage_options(),
        branch: None,
    };
    let store = ObjectStateStore::open(&prefix, &options).await?;
    let deployment = Remote::deployment_of(&prefix, &store).await?;
    let client = client_for(&deployment.queues.plans).await;
    let queue = |url: &str| -> Arc<dyn Queue> { Arc::new(SqsQueue::new(client.clone(), url)) };
    Ok(Some(Remote::new(
        &prefix,
        deployment,
        Arc::new(store),
        &queue,
    )))
}

/// The same for a command that is about a service.
pub(crate) async fn needed(process: &ProcessArguments) -> Result<Remote> {
    remote(process).await?.ok_or_else(|| {
        Error::invalid(format!(
            "say which service: give --service s3://BUCKET/PREFIX, or set {VARIABLE}"
        ))
    })
}

/// A table, and the service that a command on it goes through.
pub(crate) struct Through {
    pub(crate) remote: Remote,
    /// The table's name there.
    pub(crate) table: String,
}

impl Through {
    async fn open(table: &str, process: &ProcessArguments) -> Result<Option<Self>> {
        let Some(remote) = remote(process).await? else {
            return Ok(None);
        };
        let table = remote.table_name(table)?;
        Ok(Some(Self { remote, table }))
    }

    /// For a command that leaves something to do to the service.
    pub(crate) async fn to_write(table: &str, process: &ProcessArguments) -> Result<Option<Self>> {
        let through = Self::open(table, process).await?;
        if let Some(through) = &through {
            through.expect_kept().await?;
        }
        Ok(through)
    }

    /// For a command that only looks, at the table itself: it says what else a person wants to know.
    pub(crate) async fn to_look(table: &str, process: &ProcessArguments) -> Result<Option<Self>> {
        let through = Self::open(table, process).await?;
        if let Some(Self { remote, table }) = &through {
            match remote.admission(table).await? {
                Admission::Kept => {}
                Admission::Unknown => output::note(&format!(
                    "service '{}' does not know the table yet; 'tables add' registers it",
                    remote.deployment().name
                )),
                Admission::Removed => output::note(&format!(
                    "service '{}' leaves the table alone; 'tables add' takes it in again",
                    remote.deployment().name
                )),
            }
            if remote.stopped().await?.is_some() {
                output::note("the service is paused; 'service resume' ends that");
            }
        }
        Ok(through)
    }

    /// The same for a command that takes the table in.
    pub(crate) async fn to_take_in(
        table: &str,
        process: &ProcessArguments,
    ) -> Result<Option<Self>> {
        Self::open(table, process).await
    }

    async fn expect_kept(&self) -> Result<()> {
        match self.remote.admission(&self.table).await? {
            Admission::Kept | Admission::Unknown => Ok(()),
            Admission::Removed => Err(Error::invalid(format!(
                "service '{}' leaves '{}' alone: 'tables add' takes it in again",
                self.remote.deployment().name,
                self.table
            ))),
        }
    }

    /// Refuses what the service could never compute.
    pub(crate) fn check(&self, needs: &Needs<'_>) -> Result<()> {
        self.remote.check(needs)
    }

    /// Has the service look at the table, after something was written there.
    pub(crate) async fn wake(&self) -> Result<()> {
        self.wake_for(Wake::Requested).await
    }

    pub(crate) async fn wake_for(&self, why: Wake) -> Result<()> {
        let woken = self.remote.wake(&self.table, why).await;
        woken.map_err(|error| {
            let told = "it is written down, and the service could not be told: it finds it by its schedule, or by 'tables add'";
            Error::new(error.kind, told).with_source(error.one_line())
        })
    }

    /// Registers the table, after something was declared there.
    pub(crate) async fn take_in(&self) -> Result<()> {
        let taken = self.remote.take_in(&self.table).await;
        let told = || {
            let table = &self.table;
            format!(
                "it is declared, and the table is not registered: 'tables add {table}' does that"
            )
        };
        taken
            .map(drop)
            .map_err(|error| Error::new(error.kind, told()).with_source(error.one_line()))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::Arguments;

    fn checked(words: &[&str]) -> Result<()> {
        let words = [&["lance-backfill"], words].concat();
        let arguments = Arguments::try_parse_from(words).expect("a command line");
        check(&arguments.command, &arguments.process)
    }

    #[test]
    fn commands_go_through_a_service_or_say_why_not() {
        let prefix = ["--service", "s3://lake/b/"];
        for words in [
            &["column", "add", "t", "c", "--sql", "a"][..],
            &["backfill", "t", "c"],
            &["jobs", "list", "t"],
            &["status", "t"],
            &["claim", "t"],
            &["service", "status"],
        ] {
            checked(&[words, &prefix].concat()).expect("it goes through");
        }
        for words in [
            &["refresh", "t"][..],
            &["serve", "t"],
            &["demo"],
            &["optimize", "t"],
            &["reconcile", "t"],
            &["column", "canary", "t", "c", "--sql", "a"],
            &["status", "t", "--workers", "2"],
            &["status", "t", "--branch", "b"],
        ] {
            let refused = checked(&[words, &prefix].concat()).expect_err("it does not");
            let line = refused.one_line();
            assert!(line.ends_with(": leave --service out"), "{line}");
            checked(&[words, &["--service", "none"]].concat()).expect("without a service");
        }
    }

    #[test]
    fn files_name_a_service_or_say_what_they_should() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("config.json");
        assert_eq!(in_file(&file).expect("there is none"), None);
        let write = |text: &str| std::fs::write(&file, text).expect("writes");
        write(r#"{"service": "s3://lake/backfill"}"#);
        assert_eq!(
            in_file(&file).expect("reads").as_deref(),
            Some("s3://lake/backfill")
        );
        write("{}");
        assert_eq!(in_file(&file).expect("reads"), None);
        for wrong in [
            "",
            "s3://lake/backfill",
            r#"{"services": "x"}"#,
            r#"{"service": 7}"#,
        ] {
            write(wrong);
            let error = in_file(&file).expect_err(wrong).one_line();
            assert!(error.contains("s3://BUCKET/PREFIX"), "{error}");
        }
    }
}
