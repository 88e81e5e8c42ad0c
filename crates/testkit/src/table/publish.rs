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
    column: &str,
    files: &[(FragmentId, StagedColumnFile)],
    note: &PublishNote,
) -> Result<PublishOutcome> {
    let doing = format!("cannot publish {} files of column '{column}'", files.len());
    let Some((_, first)) = files.first() else {
        return Err(Error::invalid(doing));
    };
    let field = field_of(first)?;
    for (_, file) in files {
        if field_of(file)? != field {
            return Err(Error::invalid(format!(
                "{doing}: they are of several columns"
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
        if let Some(reason) = conflict(&fragments, field, other) {
            let reason = format!("version {version} {reason}");
            return Ok(PublishOutcome::Conflict { reason });
        }
    }
    let mut next = disk.newest()?.successor(Operation::Replacement {
        fragments: fragments.clone(),
        fields: vec![field; files.len()],
        properties: note.properties.clone(),
    });
    if next.view.field_by_id(field).is_none() {
        return Err(Error::invalid(format!("{doing}: the column is gone")));
    }
    for (fragment, file) in files {
        let view = next.fragment(*fragment)?;
        if view.files.iter().any(|present| present.name == file.name) {
            let reason = format!("file '{}' is in the table already", file.name);
            return Ok(PublishOutcome::Conflict { reason });
        }
        let file = FileView {
            name: file.name.clone(),
            fields: [field].into(),
            columns: [0].into(),
            size_bytes: None,
        };
        next.put_file(*fragment, file)?;
    }
    let version = disk.commit(next);
    Ok(PublishOutcome::Published { version })
}

fn field_of(file: &StagedColumnFile) -> Result<FieldId> {
    file.descriptor.parse().map_err(|_| {
        let context = format!("the description of staged file '{}' is damaged", file.name);
        Error::new(ErrorKind::Corrupt, context)
    })
}

/// What a version did to the same place, if anything.
fn conflict(fragments: &[FragmentId], field: FieldId, other: &Manifest) -> Option<&'static str> {
    let hits = |ids: &[FragmentId]| ids.iter().any(|id| fragments.contains(id));
    match &other.operation {
        Operation::Plain => None,
        Operation::Merge => Some("added columns"),
        Operation::Project => other
            .view
            .field_by_id(field)
            .is_none()
            .then_some("dropped the column"),
        Operation::Delete { removed } => hits(removed).then_some("removed a fragment"),
        Operation::Update(update) if hits(&update.removed) => Some("removed a fragment"),
        Operation::Update(update) if !hits(&update.touched) => None,
        Operation::Update(update) if !update.in_place => Some("moved rows of a fragment"),
        Operation::Update(update) => update
            .fields
            .as_ref()
            .is_none_or(|fields| fields.contains(&field))
            .then_some("patched the column"),
        Operation::Rewrite { groups } => groups
            .iter()
            .any(|(old, _)| hits(old))
            .then_some("rewrote a fragment"),
        Operation::Replacement {
            fragments, fields, ..
        } => (hits(fragments) && fields.contains(&field)).then_some("replaced the column"),
    }
}
