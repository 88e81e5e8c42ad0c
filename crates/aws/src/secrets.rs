//! Secrets in Secrets Manager, by the names that functions have for them.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use aws_config::BehaviorVersion;
use aws_sdk_secretsmanager::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use lance_backfill_ports::secrets::{Secret, Secrets};
use lance_backfill_ports::{Error, ErrorKind, Result};
use tokio::sync::{Mutex, OnceCell};

/// A client of Secrets Manager; cheap to clone.
pub type SecretsClient = aws_sdk_secretsmanager::Client;

/// The secrets of a deployment; each is read when a function needs it for the first time.
pub struct ManagedSecrets {
    /// ARNs by name.
    arns: BTreeMap<String, String>,
    client: OnceCell<SecretsClient>,
    read: Mutex<HashMap<String, Read>>,
}

/// A value and when it was asked for last.
struct Read {
    value: Secret,
    asked: Instant,
}

impl fmt::Debug for ManagedSecrets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ManagedSecrets")
            .field("arns", &self.arns)
            .finish_non_exhaustive()
    }
}

impl ManagedSecrets {
    /// Secrets by name and ARN, read with what the environment says of region and credentials.
    pub fn new(arns: BTreeMap<String, String>) -> Self {
        Self {
            arns,
            client: OnceCell::new(),
            read: Mutex::default(),
        }
    }

    /// The same, read with this client.
    #[must_use]
    pub fn with_client(self, client: SecretsClient) -> Self {
        Self {
            client: OnceCell::new_with(Some(client)),
            ..self
        }
    }

    /// From a JSON object of names and ARNs.
    pub fn from_json(json: &str) -> Result<Self> {
        let arns: BTreeMap<String, String> = serde_json::from_str(json).map_err(|error| {
            Error::invalid("it is no JSON object of names of secrets and their ARNs")
                .with_source(error)
        })?;
        Ok(Self::new(arns))
    }

    async fn ask(&self, name: &str, arn: &str) -> Result<Secret> {
        let client = self.client.get_or_init(client_from_environment).await;
        let answer = client.get_secret_value().secret_id(arn).send().await;
        let answer = answer.map_err(|error| failed(name, arn, &error))?;
        answer.secret_string.map(Secret::new).ok_or_else(|| {
            Error::invalid(format!(
                "the secret '{name}' ({arn}) is bytes: functions take secrets as text"
            ))
        })
    }
}

#[async_trait]
impl Secrets for ManagedSecrets {
    async fn value(&self, name: &str, most_age: Duration) -> Result<Option<Secret>> {
        let Some(arn) = self.arns.get(name) else {
            return Ok(None);
        };
        // Held while it is asked for: several functions that start together ask once.
        let mut read = self.read.lock().await;
        let asked = now();
        let known = read.get_mut(name);
        let value = match known {
            Some(known) if asked.duration_since(known.asked) < most_age => known.value.clone(),
            None => self.ask(name, arn).await?,
            Some(known) => {
                // Whether it can be read or not, it is not asked for again at once.
                known.asked = asked;
                match self.ask(name, arn).await {
                    Ok(value) => value,
                    Err(error) => {
                        let error = error.one_line();
                        tracing::warn!(secret = name, error, "its last known value is used");
                        known.value.clone()
                    }
                }
            }
        };
        let entry = read.entry(name.to_owned());
        let entry = entry.or_insert_with(|| Read {
            value: value.clone(),
            asked,
        });
        entry.value = value.clone();
        Ok(Some(value))
    }

    fn advice(&self, name: &str) -> String {
        format!("this service has none of that name: add {name} to the secrets of its deployment")
    }
}

async fn client_from_environment() -> SecretsClient {
    let config = aws_config::defaults(BehaviorVersion::latest()).load().await;
    SecretsClient::new(&config)
}

fn failed<E, R>(name: &str, arn: &str, error: &SdkError<E, R>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    R: fmt::Debug + Send + Sync + 'static,
{
    let is_final = |code: &str| {
        [
            "AccessDenied",
            "ResourceNotFound",
            "InvalidRequest",
            "DecryptionFailure",
        ]
        .iter()
        .any(|word| code.contains(word))
    };
    let kind = match error {
        SdkError::ServiceError(service) if service.err().code().is_some_and(is_final) => {
            ErrorKind::Invalid
        }
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, format!("cannot read the secret '{name}' ({arn})"))
        .with_source(DisplayErrorContext(error).to_string())
}

#[expect(
    clippy::disallowed_methods,
    reason = "a secret gets old while this process lives"
)]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_that_the_deployment_does_not_have_is_asked_of_nobody() {
        let arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:key-AbCdEf";
        let secrets = ManagedSecrets::from_json(&format!("{{\"KEY\": \"{arn}\"}}"));
        let secrets = secrets.expect("names and ARNs");
        let found = secrets.value("AWS_SECRET_ACCESS_KEY", Duration::ZERO).await;
        assert_eq!(found.expect("no request"), None);
        assert!(secrets.advice("OTHER").contains("OTHER"));
        assert!(format!("{secrets:?}").contains("KEY"));
    }

    #[test]
    fn what_is_no_object_of_names_and_arns_is_refused() {
        for json in ["", "[]", "{\"KEY\": 1}", "KEY=arn"] {
            let error = ManagedSecrets::from_json(json).expect_err("refused");
            assert_eq!(error.kind, ErrorKind::Invalid);
        }
    }
}
