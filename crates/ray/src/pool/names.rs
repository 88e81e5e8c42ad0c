//! What Kubernetes takes for a name.

/// Longest name of a label's value, of a group and of most objects.
const LONGEST_LABEL: usize = 63;
const LONGEST_SUBDOMAIN: usize = 253;

/// A name by RFC 1035: a letter first, then letters, digits and `-`, all of them small.
pub(super) fn is_dns_1035(name: &str) -> bool {
    is_dns_1123(name) && name.starts_with(|first: char| first.is_ascii_lowercase())
}

/// The same that may begin with a digit.
pub(super) fn is_dns_1123(name: &str) -> bool {
    let inner =
        |letter: u8| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == b'-';
    !name.is_empty()
        && name.len() <= LONGEST_LABEL
        && name.bytes().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// Several of these joined by dots.
pub(super) fn is_subdomain(name: &str) -> bool {
    name.len() <= LONGEST_SUBDOMAIN && name.split('.').all(is_dns_1123)
}

/// A key of labels, annotations and taints: a name, perhaps after a domain and `/`.
pub(super) fn is_qualified(key: &str) -> bool {
    match key.split_once('/') {
        Some((domain, name)) => is_subdomain(domain) && is_word(name),
        None => is_word(key),
    }
}

/// A value of a label.
pub(super) fn is_label_value(value: &str) -> bool {
    value.is_empty() || is_word(value)
}

/// A name of an environment variable.
pub(super) fn is_variable(name: &str) -> bool {
    let inner = |letter: u8| letter.is_ascii_alphanumeric() || b"_-.".contains(&letter);
    !name.is_empty()
        && name.bytes().all(inner)
        && !name.starts_with(|first: char| first.is_ascii_digit())
}

fn is_word(name: &str) -> bool {
    let inner = |letter: u8| letter.is_ascii_alphanumeric() || b"_-.".contains(&letter);
    let outer = |letter: Option<u8>| letter.is_some_and(|letter| letter.is_ascii_alphanumeric());
    name.len() <= LONGEST_LABEL
        && name.bytes().all(inner)
        && outer(name.bytes().next())
        && outer(name.bytes().last())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_kubernetes_takes() {
        assert!(is_dns_1035("a-1") && !is_dns_1035("1-a") && !is_dns_1035("a-"));
        assert!(is_dns_1123("1-a") && !is_dns_1123("A") && !is_dns_1123(""));
        assert!(!is_dns_1123(&"a".repeat(64)));
        assert!(is_qualified("nvidia.com/gpu") && is_qualified("Team") && !is_qualified("/gpu"));
        assert!(is_label_value("") && is_label_value("v1.2_x") && !is_label_value("a b"));
        assert!(is_variable("AWS_REGION") && !is_variable("1A") && !is_variable("A B"));
    }
}
