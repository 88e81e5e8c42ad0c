//! Identities: digests that say which bytes a value was made from.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::ids::FieldId;
use crate::table::{FieldView, FragmentView};

/// Digest of the files and columns that hold some fields of one fragment.
///
/// No base path goes in: branches and clones name the same files by another base and must not look
/// changed. Names of data files are random, so equal identities mean equal bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Identity(u128);

/// Why a text is not an identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not an identity of 32 hexadecimal digits")]
pub struct InvalidIdentity(String);

impl fmt::Display for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.0)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Identity({:032x})", self.0)
    }
}

impl FromStr for Identity {
    type Err = InvalidIdentity;

    fn from_str(text: &str) -> Result<Self, InvalidIdentity> {
        // Only the digits that are printed: a sign or capitals would make two names for one identity.
        match u128::from_str_radix(text, 16).map(Self) {
            Ok(identity) if identity.to_string() == text => Ok(identity),
            _ => Err(InvalidIdentity(text.to_owned())),
        }
    }
}

impl TryFrom<String> for Identity {
    type Error = InvalidIdentity;

    fn try_from(text: String) -> Result<Self, InvalidIdentity> {
        text.parse()
    }
}

impl From<Identity> for String {
    fn from(identity: Identity) -> String {
        identity.to_string()
    }
}

/// Where the outputs of a fragment stand: the identity, and the file when it is exactly one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// Digest over files and columns.
    pub identity: Identity,
    /// Name of the data file that holds all of it, when there is one and nothing patches it.
    pub file: Option<String>,
}

/// Identity of the given fields in a fragment; absent columns count as such.
pub fn of_fields<'a>(
    fragment: &FragmentView,
    fields: impl IntoIterator<Item = &'a FieldView>,
) -> Identity {
    let mut text = Vec::with_capacity(128);
    for field in fields {
        describe_field(&mut text, fragment, &field.tree_ids);
        text.push(b'/');
    }
    Identity(xxh3_128(&text))
}

/// Identity of the filter's columns together with the filter itself; `None` without a filter.
pub fn of_filter<'a>(
    fragment: &FragmentView,
    filter: Option<&str>,
    fields: impl IntoIterator<Item = &'a FieldView>,
) -> Option<Identity> {
    let filter = filter?;
    let Identity(columns) = of_fields(fragment, fields);
    let mut text = filter.as_bytes().to_vec();
    text.extend_from_slice(&columns.to_le_bytes());
    Some(Identity(xxh3_128(&text)))
}

/// Where the output fields stand in a fragment, or `None` when no file holds any of them.
pub fn place_of(fragment: &FragmentView, fields: &[&FieldView]) -> Option<Place> {
    let mut files = fragment
        .files
        .iter()
        .chain(&fragment.overlays)
        .filter(|file| file.fields.iter().any(|id| holds(fields, *id)));
    let first = files.next()?;
    let holds_all = (fields.iter()).all(|field| {
        let one = std::slice::from_ref(field);
        first.fields.iter().any(|id| holds(one, *id))
    });
    let only_one = files.next().is_none() && holds_all;
    Some(Place {
        identity: of_fields(fragment, fields.iter().copied()),
        file: only_one.then(|| first.name.clone()),
    })
}

/// Short digest of all that a fragment's state depends on; the coverage snapshot compares these.
pub fn fingerprint(
    fragment: &FragmentView,
    in_id: Identity,
    elig_id: Option<Identity>,
    out: Option<Identity>,
) -> u64 {
    let mut text = describe_identities(fragment.id, in_id, elig_id, out);
    if let Some(deletion) = &fragment.deletion {
        text.extend_from_slice(deletion.token.as_bytes());
    }
    xxh3_64(&text)
}

/// Name of the folder of records that belong to a fragment in exactly this state.
pub fn record_key(
    fragment: u64,
    in_id: Identity,
    elig_id: Option<Identity>,
    out: Option<Identity>,
) -> Identity {
    Identity(xxh3_128(&describe_identities(
        fragment, in_id, elig_id, out,
    )))
}

fn describe_identities(
    fragment: u64,
    in_id: Identity,
    elig_id: Option<Identity>,
    out: Option<Identity>,
) -> Vec<u8> {
    let mut text = Vec::with_capacity(96);
    text.extend_from_slice(&fragment.to_le_bytes());
    for part in [Some(in_id), elig_id, out] {
        match part {
            Some(Identity(value)) => text.extend_from_slice(&value.to_le_bytes()),
            None => text.push(b'-'),
        }
    }
    text
}

fn holds(fields: &[&FieldView], id: FieldId) -> bool {
    id >= 0 && fields.iter().any(|field| field.tree_ids.contains(&id))
}

fn describe_field(text: &mut Vec<u8>, fragment: &FragmentView, tree_ids: &[FieldId]) {
    for (kind, files) in [(b'f', &fragment.files), (b'o', &fragment.overlays)] {
        for file in files {
            for (id, column) in file.fields.iter().zip(file.columns.iter()) {
                // The position within the tree, not the id: an id may be given anew.
                let Some(leaf) = tree_ids
                    .iter()
                    .position(|tree_id| tree_id == id && *id >= 0)
                else {
                    continue;
                };
                text.push(kind);
                text.extend_from_slice(file.name.as_bytes());
                text.extend_from_slice(&(leaf as u64).to_le_bytes());
                text.extend_from_slice(&column.to_le_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(id: FieldId) -> FieldView {
        FieldView {
            id,
            name: format!("c{id}"),
            data_type: "double".to_owned(),
            nullable: true,
            metadata: Default::default(),
            tree_ids: vec![id],
        }
    }

    fn file(name: &str, fields: &[FieldId]) -> crate::table::FileView {
        crate::table::FileView {
            name: name.to_owned(),
            fields: fields.into(),
            columns: (0..i32::try_from(fields.len()).expect("few"))
                .collect::<Vec<_>>()
                .into(),
            size_bytes: None,
        }
    }

    fn fragment(files: Vec<crate::table::FileView>) -> FragmentView {
        FragmentView {
            id: 1,
            physical_rows: 10,
            deletion: None,
            files,
            overlays: vec![],
        }
    }

    #[test]
    fn another_columns_file_changes_nothing() {
        let before = fragment(vec![file("a", &[0, 1])]);
        let after = fragment(vec![file("a", &[0, 1]), file("b", &[2])]);
        assert_eq!(
            of_fields(&before, [&field(0)]),
            of_fields(&after, [&field(0)])
        );
    }

    #[test]
    fn a_replaced_input_changes_the_identity() {
        let before = fragment(vec![file("a", &[0, 1])]);
        let after = fragment(vec![file("a", &[-2, 1]), file("b", &[0])]);
        assert_ne!(
            of_fields(&before, [&field(0)]),
            of_fields(&after, [&field(0)])
        );
        assert_eq!(
            of_fields(&before, [&field(1)]),
            of_fields(&after, [&field(1)])
        );
    }

    #[test]
    fn an_overlay_on_an_input_changes_the_identity() {
        let before = fragment(vec![file("a", &[0])]);
        let mut after = before.clone();
        after.overlays.push(file("o", &[0]));
        assert_ne!(
            of_fields(&before, [&field(0)]),
            of_fields(&after, [&field(0)])
        );
        assert_eq!(
            place_of(&after, &[&field(0)]).and_then(|place| place.file),
            None
        );
    }

    #[test]
    fn an_absent_column_has_no_place() {
        let view = fragment(vec![file("a", &[0, -2])]);
        assert_eq!(place_of(&view, &[&field(2)]), None);
        assert_eq!(
            place_of(&view, &[&field(0)]).and_then(|place| place.file),
            Some("a".to_owned())
        );
    }

    #[test]
    fn a_group_has_a_file_only_where_one_holds_all_of_it() {
        let group = [&field(1), &field(2)];
        let place = |files| place_of(&fragment(files), &group);
        let both = place(vec![file("a", &[0]), file("b", &[1, 2])]).expect("a place");
        assert_eq!(both.file.as_deref(), Some("b"));
        let one = place(vec![file("a", &[0, 2])]).expect("a place");
        assert_eq!(one.file, None);
        let two = place(vec![file("b", &[-2, 2]), file("c", &[1])]).expect("a place");
        assert_eq!(two.file, None);
        assert_ne!(both.identity, two.identity);
        assert_eq!(place(vec![file("a", &[0])]), None);
    }

    #[test]
    fn identity_reads_back_what_it_prints() {
        let identity = of_fields(&fragment(vec![file("a", &[0])]), [&field(0)]);
        assert_eq!(identity.to_string().parse(), Ok(identity));
        assert!("xyz".parse::<Identity>().is_err());
        assert!(
            "+0000000000000000000000000000001"
                .parse::<Identity>()
                .is_err()
        );
        assert!(
            "0000000000000000000000000000000A"
                .parse::<Identity>()
                .is_err()
        );
    }
}
