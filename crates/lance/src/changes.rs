//! What versions did, from their transactions.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use lance::Dataset;
use lance::dataset::transaction::{Operation, Transaction, UpdateMode};
use lance_backfill_core::definition::BINDING_KEY;
use lance_backfill_core::history::{Change, ChangeKind, Update};
use lance_backfill_core::ids::FieldId;
use lance_backfill_core::rows::RowSet;
use lance_backfill_ports::Result;

use crate::error::from_lance;

/// Transactions read at once.
const READ_AT_ONCE: usize = 16;

/// The changes of the versions after `after` up to `upto`, oldest first.
pub(crate) async fn between(dataset: &Arc<Dataset>, after: u64, upto: u64) -> Result<Vec<Change>> {
    stream::iter(after + 1..=upto)
        .map(|version| async move {
            let kind = match dataset.read_version_transaction(version).await {
                Ok(read) => read
                    .transaction
                    .map_or(ChangeKind::Lost, |transaction| kind(&transaction)),
                Err(error) if is_gone(&error) => ChangeKind::Lost,
                Err(error) => {
                    return Err(from_lance(
                        error,
                        &format!("cannot read what version {version} did"),
                    ));
                }
            };
            Ok(Change { version, kind })
        })
        .buffered(READ_AT_ONCE)
        .try_collect()
        .await
}

/// Whether the error says that a version is not there any more.
pub(crate) fn is_gone(error: &lance::Error) -> bool {
    matches!(
        error,
        lance::Error::DatasetNotFound { .. }
            | lance::Error::NotFound { .. }
            | lance::Error::VersionNotFound { .. }
    )
}

fn kind(transaction: &Transaction) -> ChangeKind {
    match &transaction.operation {
        Operation::Rewrite { groups, .. } => ChangeKind::Rewrite {
            groups: groups
                .iter()
                .map(|group| {
                    let ids = |fragments: &[lance_table::format::Fragment]| {
                        fragments
                            .iter()
                            .map(|fragment| fragment.id)
                            .collect::<Vec<_>>()
                    };
                    (ids(&group.old_fragments), ids(&group.new_fragments))
                })
                .collect(),
        },
        Operation::Update {
            removed_fragment_ids,
            updated_fragments,
            fields_modified,
            fields_for_preserving_frag_bitmap,
            update_mode,
            updated_fragment_offsets,
            ..
        } => {
            let in_place = matches!(update_mode, Some(UpdateMode::RewriteColumns));
            let fields = if in_place {
                fields_modified
            } else {
                fields_for_preserving_frag_bitmap
            };
            let offsets = updated_fragment_offsets
                .iter()
                .flat_map(|offsets| &offsets.0)
                .map(|(fragment, rows)| (*fragment, RowSet::from_bitmap(rows.clone())))
                .collect::<BTreeMap<_, _>>();
            ChangeKind::Update(Update {
                in_place,
                fields: (!fields.is_empty()).then(|| {
                    fields
                        .iter()
                        .filter_map(|field| FieldId::try_from(*field).ok())
                        .collect()
                }),
                touched: updated_fragments
                    .iter()
                    .map(|fragment| fragment.id)
                    .collect(),
                removed: removed_fragment_ids.clone(),
                offsets,
            })
        }
        Operation::DataReplacement { replacements } => ChangeKind::Replacement {
            fragments: replacements.iter().map(|group| group.0).collect(),
            fields: replacements
                .iter()
                .flat_map(|group| group.1.fields.iter().copied())
                .collect(),
            binding: transaction
                .transaction_properties
                .as_ref()
                .and_then(|properties| properties.get(BINDING_KEY)?.parse().ok()),
        },
        Operation::DataOverlay { groups } => ChangeKind::Replacement {
            fragments: groups.iter().map(|group| group.fragment_id).collect(),
            // Which cells are patched is in the overlay; taking all of them is safe.
            fields: groups
                .iter()
                .flat_map(|group| &group.overlays)
                .flat_map(|overlay| overlay.data_file.fields.iter().copied())
                .collect(),
            binding: None,
        },
        Operation::Append { .. }
        | Operation::Delete { .. }
        | Operation::Overwrite { .. }
        | Operation::CreateIndex { .. }
        | Operation::Merge { .. }
        | Operation::Restore { .. }
        | Operation::ReserveFragments { .. }
        | Operation::Project { .. }
        | Operation::UpdateConfig { .. }
        | Operation::UpdateMemWalState { .. }
        | Operation::Clone { .. }
        | Operation::UpdateBases { .. } => ChangeKind::Other,
        Operation::Unknown { .. } => ChangeKind::Lost,
    }
}
