//! What the hosts of a function are started with, and when that is made anew.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lance_backfill_core::checkpoint::Fault;
use lance_backfill_ports::Result;
use lance_backfill_ports::secrets::{Secret, Secrets};
use tokio::sync::Mutex;

use super::artifacts::Artifacts;
use super::function::Spec;
use super::host::scratch;
use super::interpreter::Python;
use super::start::{Launch, base_environment, environment_fault};

/// Whoever changes a secret need not restart anything: nobody works with an old one for longer.
const LONGEST: Duration = Duration::from_secs(3_600);
/// A function that fails may fail by an old secret. Those that always fail ask no more often.
const WHILE_FAILING: Duration = Duration::from_secs(60);

/// Secrets in the environment of this process, under their own names.
pub struct EnvironmentSecrets(BTreeMap<String, String>);

impl EnvironmentSecrets {
    /// Those of an environment.
    pub const fn new(environment: BTreeMap<String, String>) -> Self {
        Self(environment)
    }
}

#[async_trait]
impl Secrets for EnvironmentSecrets {
    async fn value(&self, name: &str, _most_age: Duration) -> Result<Option<Secret>> {
        let value = self.0.get(name).filter(|value| !value.is_empty());
        Ok(value.cloned().map(Secret::new))
    }

    fn advice(&self, name: &str) -> String {
        format!("the environment of this process has none: export {name}")
    }
}

/// What hosts are started with while no secret changes.
pub(super) struct Edition {
    /// Which one: hosts of an earlier one are used no more.
    pub(super) number: u64,
    pub(super) launch: Launch,
}

/// The editions of one function.
pub(super) struct Launches {
    artifacts: Artifacts,
    python: Python,
    secrets: Arc<dyn Secrets>,
    newest: Mutex<Option<Arc<Edition>>>,
}

impl Launches {
    pub(super) fn new(artifacts: Artifacts, python: Python, secrets: Arc<dyn Secrets>) -> Self {
        Self {
            artifacts,
            python,
            secrets,
            newest: Mutex::default(),
        }
    }

    /// What hosts are started with.
    pub(super) async fn newest(&self, spec: &Spec) -> std::result::Result<Arc<Edition>, Fault> {
        self.no_older_than(spec, LONGEST).await
    }

    /// The same after the function failed; another edition if a secret has another value by now.
    pub(super) async fn after_failure(
        &self,
        spec: &Spec,
    ) -> std::result::Result<Arc<Edition>, Fault> {
        self.no_older_than(spec, WHILE_FAILING).await
    }

    async fn no_older_than(
        &self,
        spec: &Spec,
        most_age: Duration,
    ) -> std::result::Result<Arc<Edition>, Fault> {
        let mut newest = self.newest.lock().await;
        let secrets = self.secrets_of(spec, most_age).await?;
        let (number, launch) = match newest.as_ref() {
            Some(known) if known.launch.secrets == secrets => return Ok(known.clone()),
            Some(known) => {
                let launch = Launch {
                    secrets,
                    ..known.launch.clone()
                };
                (known.number + 1, launch)
            }
            None => (0, self.unpacked(spec, secrets).await?),
        };
        let edition = Arc::new(Edition { number, launch });
        *newest = Some(edition.clone());
        Ok(edition)
    }

    async fn secrets_of(
        &self,
        spec: &Spec,
        most_age: Duration,
    ) -> std::result::Result<BTreeMap<String, String>, Fault> {
        let mut values = BTreeMap::new();
        for name in &spec.secrets {
            let found = self.secrets.value(name, most_age).await;
            let found = found.map_err(|error| environment_fault(error.one_line()))?;
            let value = found.ok_or_else(|| {
                environment_fault(format!(
                    "{} needs the secret '{name}', and {}",
                    spec.entrypoint,
                    self.secrets.advice(name)
                ))
            })?;
            values.insert(name.clone(), value.reveal().to_owned());
        }
        Ok(values)
    }

    async fn unpacked(
        &self,
        spec: &Spec,
        secrets: BTreeMap<String, String>,
    ) -> std::result::Result<Launch, Fault> {
        let Spec {
            entrypoint,
            artifact,
            environment,
            env,
            retry_on,
            limits,
            ..
        } = spec;
        let python = &self.python;
        let unpacked = self.artifacts.unpack(artifact, environment, python).await?;
        let scratch = scratch(&python.cache);
        std::fs::create_dir_all(&scratch).map_err(|error| {
            environment_fault(format!("cannot write '{}': {error}", scratch.display()))
        })?;
        Ok(Launch {
            python: unpacked.python,
            python_full: unpacked.python_full,
            isolated: unpacked.isolated,
            package: python.package()?,
            code: unpacked.code,
            site: unpacked.site,
            entrypoint: entrypoint.clone(),
            retry_on: retry_on.clone(),
            secrets,
            env: env.clone(),
            base: base_environment(&python.environment, limits),
            scratch,
        })
    }
}
