//! Python functions of this process: columns and tables whose functions are the same share warm hosts.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use lance_backfill_core::definition::Definition;
use lance_backfill_ports::secrets::Secrets;
use lance_backfill_udf::python::{
    Artifacts, Cores, Devices, EnvironmentSecrets, Limits, Machine, Python, PythonFunction,
    Resting, Spec,
};

/// Functions with devices that are kept although no table of theirs is open: the hosts of one, which
/// rest with their models, end with it.
const KEPT: usize = 32;

/// All Python functions that this process has open.
pub struct PythonFunctions {
    python: Python,
    secrets: Arc<dyn Secrets>,
    machine: Machine,
    /// Most memory of one host, whatever its definition allows.
    memory_bytes: Option<u64>,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    functions: Vec<(Spec, Weak<PythonFunction>)>,
    /// Those with devices, the last used one last.
    kept: VecDeque<Arc<PythonFunction>>,
}

impl Open {
    fn keep(&mut self, function: &Arc<PythonFunction>) {
        self.kept.retain(|kept| !Arc::ptr_eq(kept, function));
        self.kept.push_back(function.clone());
        if self.kept.len() > KEPT {
            self.kept.pop_front();
        }
    }
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
            machine: Machine {
                cores: Cores::new(cores),
                devices: Devices::new(python.environment.clone(), &python.cache),
                resting: Resting::new(cores),
            },
            python,
            memory_bytes: None,
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
    pub fn with_memory(mut self, bytes: Option<u64>) -> Self {
        if bytes.is_some() {
            self.machine.resting = Resting::of_one_function();
        }
        self.memory_bytes = bytes;
        self
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

    /// Why no host with so many devices can run here, in a few words; nothing where one can.
    pub(crate) fn lacks(&self, gpus: f64) -> Option<String> {
        self.machine.devices.lacks(gpus)
    }

    /// The function of this description, with the hosts that it has.
    pub(crate) fn function(&self, spec: Spec, artifacts: Artifacts) -> Arc<PythonFunction> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let uses_devices = spec.limits.gpus > 0.0;
        open.functions
            .retain(|(_, function)| function.strong_count() > 0);
        let known = open.functions.iter().find(|(known, _)| *known == spec);
        let known = known.and_then(|(_, function)| function.upgrade());
        let function = known.unwrap_or_else(|| {
            let function = Arc::new(PythonFunction::new(
                spec.clone(),
                artifacts,
                self.python.clone(),
                self.secrets.clone(),
                self.machine.clone(),
            ));
            open.functions.push((spec, Arc::downgrade(&function)));
            function
        });
        if uses_devices {
            open.keep(&function);
        }
        function
    }

    /// Hosts that a function of these limits has.
    pub(crate) fn hosts(&self, limits: &Limits) -> usize {
        self.machine.hosts(limits)
    }
}
