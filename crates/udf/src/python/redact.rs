//! Keeps the values of secrets out of everything that is shown or stored.

use std::collections::BTreeMap;

/// What stands in the place of a secret.
const MASK: &str = "***";

/// Knows the secrets of one function.
#[derive(Clone, Default)]
pub(super) struct Redactor {
    /// Longest first, so that one that contains another is masked whole.
    values: Vec<String>,
}

impl Redactor {
    pub(super) fn new(secrets: &BTreeMap<String, String>) -> Self {
        let mut values: Vec<String> = vec![];
        for secret in secrets.values().filter(|secret| !secret.is_empty()) {
            values.push(secret.clone());
            // As it stands in a Python string of either quotes, in JSON, or line by line in a log.
            let escaped = secret.replace('\\', "\\\\").replace('\n', "\\n");
            values.push(escaped.replace('\'', "\\'"));
            values.push(escaped);
            values.push(secret.escape_default().to_string());
            values.extend(
                serde_json::to_string(secret).map(|text| text.trim_matches('"').to_owned()),
            );
            values.extend(
                secret
                    .lines()
                    .filter(|line| line.len() >= 8)
                    .map(str::to_owned),
            );
        }
        values.sort_by_key(|value| (std::cmp::Reverse(value.len()), value.clone()));
        values.dedup();
        Self { values }
    }

    pub(super) fn mask(&self, text: &str) -> String {
        let mut masked = text.to_owned();
        for value in &self.values {
            if masked.contains(value.as_str()) {
                masked = masked.replace(value.as_str(), MASK);
            }
        }
        masked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_secret_is_masked() {
        let secrets = [("A", "sk-12\"34\nline-of-a-key"), ("B", "sk-12"), ("C", "")];
        let secrets = secrets.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let redactor = Redactor::new(&BTreeMap::from(secrets));
        for (text, masked) in [
            ("it is sk-12\"34\nline-of-a-key.", "it is ***."),
            (
                r#"{"key": "sk-12\"34\nline-of-a-key"}"#,
                r#"{"key": "***"}"#,
            ),
            ("sk-12 and line-of-a-key", "*** and ***"),
            (r#"('sk-12"34\nline-of-a-key',)"#, "('***',)"),
            ("nothing here", "nothing here"),
        ] {
            assert_eq!(redactor.mask(text), masked);
        }
    }
}
