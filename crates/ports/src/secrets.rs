//! Values that nothing may show or store.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use crate::Result;

/// The value of a secret; it is shown to nobody by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides a value.
    pub const fn new(value: String) -> Self {
        Self(value)
    }

    /// The value, for whom it is meant.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

/// Where the values of secrets come from, by the names that functions have for them.
#[async_trait]
pub trait Secrets: Send + Sync {
    /// The value, or `None` where there is no secret of this name. One that was read longer ago than
    /// this is read again.
    async fn value(&self, name: &str, most_age: Duration) -> Result<Option<Secret>>;

    /// What a person does about a secret that is not there: the end of a sentence.
    fn advice(&self, name: &str) -> String;
}
