//! Which of the existing names an identifier means.

use std::collections::BTreeSet;

/// The most names that an error suggests.
const SUGGESTIONS: usize = 3;
/// Up to this many names an error lists them all when none is close.
const LIST_ALL: usize = 8;

/// Why an identifier means none of the names.
#[derive(Debug, PartialEq)]
pub(super) enum NoSuchName {
    /// No name equals it; these are the closest.
    Unknown(Vec<String>),
    /// These names equal it when ASCII case is ignored, and none equals it exactly.
    Ambiguous(Vec<String>),
}

/// The index of the name that `identifier` means: the equal one or, unless the identifier was
/// `quoted`, the only one equal when ASCII case is ignored.
pub(super) fn find_name(
    identifier: &str,
    quoted: bool,
    names: &[&str],
) -> Result<usize, NoSuchName> {
    let mut exact = positions(names, |name| name == identifier);
    if let Some(index) = exact.next() {
        return match exact.next() {
            None => Ok(index),
            Some(_) => Err(NoSuchName::Ambiguous(vec![identifier.to_owned(); 2])),
        };
    }
    if quoted {
        return Err(NoSuchName::Unknown(close_names(identifier, names)));
    }
    let folded: Vec<usize> =
        positions(names, |name| name.eq_ignore_ascii_case(identifier)).collect();
    match folded.as_slice() {
        [] => Err(NoSuchName::Unknown(close_names(identifier, names))),
        [index] => Ok(*index),
        several => Err(NoSuchName::Ambiguous(
            several
                .iter()
                .filter_map(|index| names.get(*index))
                .map(|name| (*name).to_owned())
                .collect(),
        )),
    }
}

/// The names closest to `name`, the best first; all of them when they are few and none is close.
pub(super) fn close_names(name: &str, names: &[&str]) -> Vec<String> {
    let wanted = name.to_lowercase();
    let bound = (wanted.chars().count() / 3).max(1);
    let mut scored: BTreeSet<(usize, &str)> = BTreeSet::new();
    for candidate in names {
        let folded = candidate.to_lowercase();
        // Names of much different lengths cannot be close, and the distance is costly for long ones.
        if folded.chars().count().abs_diff(wanted.chars().count()) <= bound {
            let distance = edit_distance(&wanted, &folded);
            if distance <= bound {
                scored.insert((distance, candidate));
            }
        }
    }
    if scored.is_empty() && names.len() <= LIST_ALL {
        return names.iter().map(|name| (*name).to_owned()).collect();
    }
    scored
        .into_iter()
        .take(SUGGESTIONS)
        .map(|(_, name)| name.to_owned())
        .collect()
}

fn positions<'a>(
    names: &'a [&str],
    accept: impl Fn(&str) -> bool + 'a,
) -> impl Iterator<Item = usize> + 'a {
    names
        .iter()
        .enumerate()
        .filter(move |(_, name)| accept(name))
        .map(|(index, _)| index)
}

/// How many characters must be inserted, removed or replaced to turn one text into the other.
fn edit_distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, character) in left.chars().enumerate() {
        let mut diagonal = index;
        let mut before = index + 1;
        for (cell, other) in row.iter_mut().skip(1).zip(&right) {
            let replaced = diagonal + usize::from(*other != character);
            diagonal = *cell;
            before = replaced.min(diagonal + 1).min(before + 1);
            *cell = before;
        }
        if let Some(first) = row.first_mut() {
            *first = index + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exact_name_wins_over_names_in_another_case() {
        assert_eq!(find_name("Price", false, &["price", "Price"]), Ok(1));
        assert_eq!(find_name("PRICE", false, &["size", "Price"]), Ok(1));
    }

    #[test]
    fn two_names_that_differ_in_case_alone_are_ambiguous() {
        let found = find_name("PRICE", false, &["price", "Price"]);
        let both = vec!["price".to_owned(), "Price".to_owned()];
        assert_eq!(found, Err(NoSuchName::Ambiguous(both)));
    }

    #[test]
    fn a_quoted_name_matches_exactly_or_not_at_all() {
        assert_eq!(find_name("Price", true, &["Price"]), Ok(0));
        let close = vec!["Price".to_owned()];
        assert_eq!(
            find_name("price", true, &["Price", "a_very_different_name"]),
            Err(NoSuchName::Unknown(close))
        );
    }

    #[test]
    fn the_distance_counts_insertions_removals_and_replacements() {
        for (left, right, distance) in [
            ("", "", 0),
            ("abc", "", 3),
            ("", "abc", 3),
            ("kitten", "sitting", 3),
            ("flaw", "lawn", 2),
        ] {
            assert_eq!(edit_distance(left, right), distance, "{left} {right}");
        }
    }
}
