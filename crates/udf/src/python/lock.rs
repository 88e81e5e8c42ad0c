//! What a function runs in, as it was locked when it was packed.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A locked environment; the digest of its text is its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvironmentLock {
    /// Format.
    pub version: u32,
    /// What kind it is.
    #[serde(flatten)]
    pub kind: EnvironmentKind,
    /// Python, major and minor.
    pub python: String,
    /// Platform, such as `linux-x86_64`.
    pub platform: String,
}

/// The kinds of environments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum EnvironmentKind {
    /// The packages of one interpreter of one machine.
    Current {
        /// The interpreter.
        executable: PathBuf,
        /// Its full version.
        python_full: String,
    },
    /// Wheels that were packed along.
    Wheels {
        /// All of them.
        distributions: Vec<Distribution>,
    },
    /// A worker image that has everything.
    Image {
        /// `NAME@sha256:…`.
        image: String,
    },
}

/// One wheel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Distribution {
    /// Name of the distribution.
    pub name: String,
    /// Its version.
    pub version: String,
    /// File name of the wheel.
    pub filename: String,
    /// Digest of the wheel.
    pub sha256: String,
    /// Size of the wheel.
    pub size_bytes: u64,
}

impl EnvironmentLock {
    /// One line for a person.
    pub fn summary(&self) -> String {
        let Self {
            kind,
            python,
            platform,
            ..
        } = self;
        match kind {
            EnvironmentKind::Current {
                executable,
                python_full,
            } => {
                format!(
                    "Python {python_full} of this machine, {}",
                    executable.display()
                )
            }
            EnvironmentKind::Wheels { distributions } => {
                let bytes: u64 = distributions.iter().map(|wheel| wheel.size_bytes).sum();
                format!(
                    "{} wheels ({} MiB) for Python {python} on {platform}",
                    distributions.len(),
                    bytes >> 20
                )
            }
            EnvironmentKind::Image { image } => format!("image {image}"),
        }
    }
}

/// The platform that this worker runs on.
pub(super) fn this_platform() -> String {
    let os = std::env::consts::OS;
    let arch = match (os, std::env::consts::ARCH) {
        ("macos", "aarch64") => "arm64",
        (_, arch) => arch,
    };
    format!("{os}-{arch}")
}
