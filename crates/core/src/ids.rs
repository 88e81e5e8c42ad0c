//! Names of things: newtypes that are never mixed up.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text is not the id that it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a valid {what}")]
pub struct InvalidId {
    what: &'static str,
    text: String,
}

/// Number of a fragment of a Lance table; never reused while the table lives.
pub type FragmentId = u64;

/// Id of a field in a Lance schema; reused after a drop, so it proves nothing alone.
pub type FieldId = i32;

/// Ties a definition to the field that carries it: a random token written in both places.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BindingId(String);

/// Digest of what decides a value: the function, its input columns and its output type.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GenerationId(String);

/// Tells a table from its copies: random, written where its home is written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HomeId(String);

macro_rules! text_id {
    ($name:ident, $what:literal, $valid:expr) => {
        impl $name {
            /// The id as it is stored.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(InvalidId {
                        what: $what,
                        text: text.to_owned(),
                    })
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

/// Ids become parts of object paths, so only a harmless alphabet is let in.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 64
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn is_digest(text: &str) -> bool {
    text.len() == 32
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

text_id!(BindingId, "binding id", is_token);
text_id!(GenerationId, "generation", is_digest);
text_id!(HomeId, "home id", is_token);

/// Place of an entry in the plan ledger of one binding; dense, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LedgerSeq(pub u64);

impl LedgerSeq {
    /// The number of the first entry.
    pub const FIRST: Self = Self(1);

    /// The number after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for LedgerSeq {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:020}", self.0)
    }
}

/// Identity of a batch: its place in the ledger plus the entry's random token.
///
/// The token matters because a deleted state store starts again at entry 1: without it an old
/// checkpoint manifest could be taken for the result of a new batch.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BatchId {
    /// Ledger entry that holds the batch.
    pub seq: LedgerSeq,
    /// Random token of that entry.
    pub token: String,
    /// Place within the entry's page.
    pub index: u32,
}

impl fmt::Display for BatchId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}-{}", self.seq, self.token, self.index)
    }
}

impl FromStr for BatchId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let invalid = || InvalidId {
            what: "batch id",
            text: text.to_owned(),
        };
        let mut parts = text.split('-');
        let (Some(seq), Some(token), Some(index), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(invalid());
        };
        if !is_token(token) {
            return Err(invalid());
        }
        let id = Self {
            seq: LedgerSeq(seq.parse().map_err(|_| invalid())?),
            token: token.to_owned(),
            index: index.parse().map_err(|_| invalid())?,
        };
        // Numbers can be written in several ways; only one of them is the object's name.
        if id.to_string() != text {
            return Err(invalid());
        }
        Ok(id)
    }
}

/// One request's batches: a backfill, a retry, a recompute.
///
/// The place of the request in the ledger is part of the id: whether a row was made before or after
/// it was ordered can be told from the id alone, also when the request is long collected.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobId {
    /// Ledger entry with the request.
    pub seq: LedgerSeq,
    /// Random token of that entry.
    pub token: String,
}

impl fmt::Display for JobId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.seq.0, self.token)
    }
}

impl FromStr for JobId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let invalid = || InvalidId {
            what: "job id",
            text: text.to_owned(),
        };
        let (seq, token) = text.split_once('-').ok_or_else(invalid)?;
        if !is_token(token) {
            return Err(invalid());
        }
        let id = Self {
            seq: LedgerSeq(seq.parse().map_err(|_| invalid())?),
            token: token.to_owned(),
        };
        // Ids become parts of object paths: one way to write each.
        if id.to_string() != text {
            return Err(invalid());
        }
        Ok(id)
    }
}

impl TryFrom<String> for JobId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<JobId> for String {
    fn from(id: JobId) -> String {
        id.to_string()
    }
}

impl TryFrom<String> for BatchId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<BatchId> for String {
    fn from(id: BatchId) -> String {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batch_id_reads_back_what_it_prints() {
        let id = BatchId {
            seq: LedgerSeq(7),
            token: "ab12".to_owned(),
            index: 3,
        };
        assert_eq!(id.to_string(), "00000000000000000007-ab12-3");
        assert_eq!(id.to_string().parse::<BatchId>(), Ok(id));
    }

    #[test]
    fn ids_that_could_leave_their_folder_are_refused() {
        assert!("../x".parse::<BindingId>().is_err());
        assert!("".parse::<JobId>().is_err());
        assert!("A".parse::<JobId>().is_err());
        assert!("7-ab-3".parse::<BatchId>().is_err());
        assert!("00000000000000000007-ab-3-4".parse::<BatchId>().is_err());
    }

    #[test]
    fn a_batch_id_is_written_in_one_way_only() {
        for text in [
            "00000000000000000007-ab-+3",
            "00000000000000000007-ab-03",
            "+0000000000000000007-ab-3",
            "000000000000000000007-ab-3",
        ] {
            assert!(text.parse::<BatchId>().is_err(), "{text}");
        }
    }
}
