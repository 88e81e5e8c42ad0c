//! What a deployed service may run: functions that an operator registered, and as they were registered.
//!
//! Whoever can write a table writes its definitions, and so chooses what they name. If that were
//! enough to run it, writing a table would mean running code in the worker's role. So a service holds
//! each definition against a permit in its own store, which only an operator can write: the code, the
//! environment, the entry point, the names of secrets and the variables are those of the permit.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::definition::{Definition, Function};
use crate::format::Stored;

/// What runs when a function is called.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// `module:name`.
    pub entrypoint: String,
    /// Digest of the code.
    pub artifact: String,
    /// Digest of the environment.
    pub environment: String,
}

/// Says that a service may run a function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Permit {
    /// Format of this JSON.
    pub version: u32,
    /// Digest of the record of the registered function.
    pub function: String,
    /// What may run.
    pub program: Program,
    /// Secrets that it may see, by name.
    pub secrets: BTreeSet<String>,
    /// The variables that it runs with, and no others.
    pub env: BTreeMap<String, String>,
}

impl Stored for Permit {
    const WHAT: &'static str = "a permit to run a function";
    const VERSION: u32 = 1;
}

/// Why a service does not run the function of a definition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nobody registered it.
    #[error(
        "function {} (code {}, environment {}) is not registered with this service: run 'lance-backfill register --udf {} … --service …' with this code and environment",
        .0.entrypoint, short(&.0.artifact), short(&.0.environment), .0.entrypoint
    )]
    NotRegistered(Program),
    /// The definition asks for a secret that the registered function does not name.
    #[error(
        "the definition names the secret '{secret}', and function {entrypoint} was registered without it: declare the column again"
    )]
    ForeignSecret {
        /// What the function is.
        entrypoint: String,
        /// Name of the secret.
        secret: String,
    },
    /// The definition sets a variable, or leaves one out, that the registered function has otherwise.
    #[error(
        "the definition sets the variable '{variable}' otherwise than function {entrypoint} was registered with: declare the column again"
    )]
    ForeignVariable {
        /// What the function is.
        entrypoint: String,
        /// Name of the variable.
        variable: String,
    },
}

impl Program {
    /// What a definition wants to run; nothing for an expression.
    pub fn of(definition: &Definition) -> Option<Self> {
        match &definition.function {
            Function::Sql { .. } => None,
            Function::Python {
                entrypoint,
                artifact,
                environment,
                version: _,
            } => Some(Self {
                entrypoint: entrypoint.clone(),
                artifact: artifact.clone(),
                environment: environment.clone(),
            }),
        }
    }

    /// Where its permit is, in the store of a service.
    pub fn permit_path(&self) -> String {
        let Self {
            entrypoint,
            artifact,
            environment,
        } = self;
        let mut digest = Sha256::new();
        for part in [entrypoint, artifact, environment] {
            // With its length: no two programs have one text.
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part.as_bytes());
        }
        let digits = digest
            .finalize()
            .into_iter()
            .map(|byte| format!("{byte:02x}"));
        format!("functions/permits/{}.json", digits.collect::<String>())
    }
}

impl Permit {
    /// Whether it lets a definition run, which wants to run its program; else why not.
    ///
    /// A function need not get all secrets that it may see. Variables decide what an interpreter loads
    /// and whom a client sends its key to, so they are exactly those that were registered.
    pub fn allows(&self, definition: &Definition) -> Result<(), Refusal> {
        let Self {
            version: _,
            function: _,
            program,
            secrets,
            env,
        } = self;
        let wanted = Program::of(definition);
        if let Some(wanted) = wanted.filter(|wanted| wanted != program) {
            return Err(Refusal::NotRegistered(wanted));
        }
        let entrypoint = || program.entrypoint.clone();
        let foreign = |secret: &&String| !secrets.contains(*secret);
        if let Some(secret) = definition.secrets.iter().find(foreign) {
            return Err(Refusal::ForeignSecret {
                entrypoint: entrypoint(),
                secret: secret.clone(),
            });
        }
        let set = &definition.call.env;
        let mut names = env.keys().chain(set.keys());
        match names.find(|name| env.get(*name) != set.get(*name)) {
            Some(variable) => Err(Refusal::ForeignVariable {
                entrypoint: entrypoint(),
                variable: variable.clone(),
            }),
            None => Ok(()),
        }
    }
}

/// The beginning of a digest, as commands print it.
fn short(digest: &str) -> String {
    digest.chars().take(12).collect()
}

#[cfg(test)]
mod tests;
