//! Python functions of this process: columns and tables whose functions are the same share warm hosts.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use lance_backfill_core::definition::Definition;
use lance_backfill_ports::secrets::Secrets;
use lance_backfill_udf::python::{
    Artifacts, Cores, EnvironmentSecrets, Limits, Python, PythonFunction, Resting, Spec,
};

/// All Python functions that this process has open.
pub struct PythonFunctions {
    python: Python,
    secrets: Arc<dyn Secrets>,
    cores: Cores,
    /// Most memory of one host, whatever its definition allows.
    memory_bytes: Option<u64>,
    resting: Resting,
    open: Mutex<Vec<(Spec, Weak<PythonFunction>)>>,
}

impl fmt::Debug for PythonFunctions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The environment has the values of secrets.
        formatter
            .debug_struct("PythonFunctions")
            .finish_non_exhaustive()
    }
}

impl PythonFunctions {
    /// With so many cores for the hosts of all functions; secrets are in the environment.
    pub fn new(python: Python, cores: usize) -> Self {
        Self {
            secrets: Arc::new(EnvironmentSecrets::new(python.environment.clone())),
            python,
            cores: Cores::new(cores),
            memory_bytes: None,
            resting: Resting::new(cores),
            open: Mutex::default(),
        }
    }

    /// The same with secrets from elsewhere, and none from the environment.
    #[must_use]
    pub fn with_secrets(self, secrets: Arc<dyn Secrets>) -> Self {
        Self { secrets, ..self }
    }

    /// The same, with at most so much memory for each host, if this process has no more to give.
    #[must_use]
    pub fn with_memory(self, bytes: Option<u64>) -> Self {
        let resting = match bytes {
            Some(_) => Resting::of_one_function(),
            None => self.resting,
        };
        Self {
            memory_bytes: bytes,
            resting,
            ..self
        }
    }

    /// What a host of this definition may take here.
    pub(crate) fn limits(&self, definition: &Definition) -> Limits {
        let limits = Limits::of(definition);
        let memory_bytes = limits
            .memory_bytes
            .into_iter()
            .chain(self.memory_bytes)
            .min();
        Limits {
            memory_bytes,
            ..limits
        }
    }

    /// The interpreters of this machine.
    pub fn python(&self) -> &Python {
        &self.python
    }

    /// The function of this description, with the hosts that it has.
    pub(crate) fn function(&self, spec: Spec, artifacts: Artifacts) -> Arc<PythonFunction> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|(_, function)| function.strong_count() > 0);
        let known = open.iter().find(|(known, _)| *known == spec);
        if let Some(function) = known.and_then(|(_, function)| function.upgrade()) {
            return function;
        }
        let function = Arc::new(PythonFunction::new(
            spec.clone(),
            artifacts,
            self.python.clone(),
            self.secrets.clone(),
            self.cores.clone(),
            &self.resting,
        ));
        open.push((spec, Arc::downgrade(&function)));
        function
    }

    /// Hosts that a function of these limits has.
    pub(crate) fn hosts(&self, limits: &Limits) -> usize {
        self.cores.hosts(limits.cpus)
    }
}
