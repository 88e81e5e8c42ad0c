//! Keys of objects: which of them is a new version of a table.

use std::fmt;

/// A manifest of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Key of the table's root, without a slash at its end.
    pub root: String,
    /// Version that the manifest is of.
    pub version: u64,
}

/// Why a key is no manifest of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAManifest {
    /// It is something else.
    OtherObject,
    /// Of a branch, which is not kept up to date by itself.
    OfABranch,
    /// Of a data set inside a table: an index, or a log of writes.
    Nested,
    /// Of a version that nobody sees yet.
    Detached,
}

impl fmt::Display for NotAManifest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::OtherObject => "is no manifest of a table",
            Self::OfABranch => "is of a branch, which is kept up to date only after 'claim'",
            Self::Nested => "is of a data set inside a table",
            Self::Detached => "is of a detached version",
        })
    }
}

/// The version of a table that a key is of.
///
/// `<root>/_versions/<n>.manifest`: plain numbers, or 20 digits that count down from the highest.
pub fn manifest_of(key: &str) -> Result<Manifest, NotAManifest> {
    let (folder, name) = key.rsplit_once('/').ok_or(NotAManifest::OtherObject)?;
    let root = folder
        .strip_suffix("/_versions")
        .filter(|root| !root.is_empty())
        .ok_or(NotAManifest::OtherObject)?;
    let number = name
        .strip_suffix(".manifest")
        .ok_or(NotAManifest::OtherObject)?;
    if number.starts_with('d') {
        return Err(NotAManifest::Detached);
    }
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NotAManifest::OtherObject);
    }
    let number_of = |text: &str| text.parse::<u64>().map_err(|_| NotAManifest::OtherObject);
    let version = match number.len() {
        20 => u64::MAX - number_of(number)?,
        _ => number_of(number)?,
    };
    let parts: Vec<&str> = root.split('/').collect();
    if parts
        .iter()
        .any(|part| matches!(*part, "_mem_wal" | "_indices" | "_backfill"))
    {
        return Err(NotAManifest::Nested);
    }
    // `<root>/tree/<branch>`; a folder may be called so, too, and a table tells itself what it is.
    let is_branch = |pair: &[&str]| matches!(pair, [root, "tree"] if root.ends_with(".lance"));
    match parts.windows(2).any(is_branch) {
        true => Err(NotAManifest::OfABranch),
        false => Ok(Manifest {
            root: root.to_owned(),
            version,
        }),
    }
}
