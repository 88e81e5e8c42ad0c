//! Reading and writing our stored JSON: versioned, strict, with errors that say what to do.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A stored form: what it is called and which version this program writes.
pub trait Stored: Serialize + DeserializeOwned {
    /// What an error message calls it.
    const WHAT: &'static str;
    /// The newest version that this program reads, and the one it writes.
    const VERSION: u32;
}

/// Why stored bytes are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// A newer program wrote it.
    #[error(
        "{what} has format {found}, newer than {known} which this program reads: upgrade lance-backfill"
    )]
    Newer {
        /// Which stored form.
        what: &'static str,
        /// Version found.
        found: u32,
        /// Newest version known.
        known: u32,
    },
    /// Truncated, edited or never ours.
    #[error("{what} is damaged ({reason})")]
    Damaged {
        /// Which stored form.
        what: &'static str,
        /// What the parser said.
        reason: String,
    },
}

#[derive(Deserialize)]
struct Head {
    version: u32,
}

/// Reads a stored form; a newer version and damage are told apart.
pub fn decode<T: Stored>(bytes: &[u8]) -> Result<T, FormatError> {
    let damaged = |error: serde_json::Error| FormatError::Damaged {
        what: T::WHAT,
        reason: error.to_string(),
    };
    let head: Head = serde_json::from_slice(bytes).map_err(damaged)?;
    if head.version > T::VERSION {
        return Err(FormatError::Newer {
            what: T::WHAT,
            found: head.version,
            known: T::VERSION,
        });
    }
    if head.version == 0 {
        return Err(FormatError::Damaged {
            what: T::WHAT,
            reason: "format 0 never existed".to_owned(),
        });
    }
    serde_json::from_slice(bytes).map_err(damaged)
}

/// Writes a stored form.
pub fn encode<T: Stored>(value: &T) -> Result<Vec<u8>, FormatError> {
    serde_json::to_vec(value).map_err(|error| FormatError::Damaged {
        what: T::WHAT,
        reason: error.to_string(),
    })
}
