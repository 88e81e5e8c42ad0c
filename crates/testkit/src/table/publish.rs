//! Publishing staged files, with the conflict rules of Lance's `DataReplacement`.

use std::collections::BTreeSet;

use lance_backfill_core::checkpoint::StagedColumnFile;
use lance_backfill_core::ids::{FieldId, FragmentId};
use lance_backfill_core::table::FileView;
use lance_backfill_ports::table::{PublishNote, PublishOutcome};
use lance_backfill_ports::{Error, ErrorKind, Result};

use super::disk::Disk;
use super::manifest::{Manifest, Operation};

/// Publishes on the newest version what was made on `base`, if nothing in between forbids it.
///
/// Like Lance, it looks at the versions that are still there: one that was cleaned up forbids nothing.
pub(super) fn publish(
    disk: &mut Disk,
    base: &Manifest,
    columns: &[String],
    files: &[(FragmentId, StagedColumnFile)],
    note: &PublishNote,
) -> Result<PublishOutcome> {
    let names = columns.join("', '");
    let doing = format!("cannot publish {} files of '{names}'", files.len());
    let Some((_, first)) = files.first() else {
        return Err(Error::invalid(doing));
    };
    let fields = fields_of(first)?;
    for (_, file) in files {
        if fields_of(file)? != fields {
            return Err(Error::invalid(format!(
                "{doing}: they are not of the same columns"
            )));
        }
    }
    let fragments: Vec<FragmentId> = files.iter().map(|(fragment, _)| *fragment).collect();
    let distinct: BTreeSet<&FragmentId> = fragments.iter().collect();
    if distinct.len() != files.len() {
        return Err(Error::invalid(format!(
            "{doing}: two are of the same fragment"
        )));
    }
    for (version, other) in disk.manifests.range(base.view.version + 1..) {
        if let Some(reason) = conflict(&fragments, &fields, other) {
            let reason = format!("version {version} {reason}");
            return Ok(PublishOutcome::Conflict { reason });
        }
    }
    let mut next = disk.newest()?.successor(Operation::Replacement {
        fragments: fragments.clone(),
        fields: fields.repeat(files.len()),
        properties: note.properties.clone(),
    });
    if !all_there(&next, &fields) {
        return Err(Error::invalid(format!("{doing}: a column is gone")));
    }
    for (fragment, file) in files {
        let view = next.fragment(*fragment)?;
        if view.files.iter().any(|present| present.name == file.name) {
            let reason = format!("file '{}' is in the table already", file.name);
            return Ok(PublishOutcome::Conflict { reason });
        }
        let file = FileView {
            name: file.name.clone(),
            fields: fields.clone().into(),
            columns: (0..).take(fields.len()).collect(),
            size_bytes: None,
        };
        next.put_file(*fragment, file)?;
    }
    let version = disk.commit(next);
    Ok(PublishOutcome::Published { version })
}

/// The fields that a staged file holds, in the order of its columns.
pub(super) fn fields_of(file: &StagedColumnFile) -> Result<Vec<FieldId>> {
    let ids = file.descriptor.split(',').map(str::parse);
    ids.collect::<std::result::Result<_, _>>().map_err(|_| {
        let context = format!("the description of staged file '{}' is damaged", file.name);
        Error::new(ErrorKind::Corrupt, context)
    })
}

fn all_there(manifest: &Manifest, fields: &[FieldId]) -> bool {
    (fields.iter()).all(|id| manifest.view.field_by_id(*id).is_some())
}

/// What a version did to the same place, if anything.
fn conflict(fragments: &[FragmentId], ours: &[FieldId], other: &Manifest) -> Option<&'static str> {
    let hits = |ids: &[FragmentId]| ids.iter().any(|id| fragments.contains(id));
    let touches = |fields: &[FieldId]| fields.iter().any(|id| ours.contains(id));
    match &other.operation {
        Operation::Plain => None,
        Operation::Merge => Some("added columns"),
        Operation::Project => (!all_there(other, ours)).then_some("dropped the column"),
        Operation::Delete { removed } => hits(removed).then_some("removed a fragment"),
        Operation::Update(update) if hits(&update.removed) => Some("removed a fragment"),
        Operation::Update(update) if !hits(&update.touched) => None,
        Operation::Update(update) if !update.in_place => Some("moved rows of a fragment"),
        Operation::Update(update) => update
            .fields
            .as_ref()
            .is_none_or(|fields| touches(fields))
            .then_some("patched the column"),
        Operation::Rewrite { groups } => groups
            .iter()
            .any(|(old, _)| hits(old))
            .then_some("rewrote a fragment"),
        Operation::Replacement {
            fragments, fields, ..
        } => (hits(fragments) && touches(fields)).then_some("replaced the column"),
    }
}
