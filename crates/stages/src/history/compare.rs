//! Comparing values of rows before and after a change.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{
    ArrayRef, FixedSizeBinaryArray, GenericBinaryArray, OffsetSizeTrait, RecordBatch,
};
use arrow_ord::ord::make_comparator;
use arrow_schema::{DataType, Field, Schema, SortOptions};
use arrow_select::concat::concat_batches;
use futures::TryStreamExt;
use lance_backfill_core::history::{ChangedRows, Move};
use lance_backfill_core::ids::{FieldId, FragmentId};
use lance_backfill_core::rows::RowSet;
use lance_backfill_core::table::FieldView;
use lance_backfill_ports::table::TableVersion;
use lance_backfill_ports::{Error, Result};
use sha2::{Digest, Sha256};

use super::Step;
use crate::column::Column;
use crate::outputs::null_everywhere;

/// Rows compared at once: bounds memory for wide inputs.
const ROWS_AT_ONCE: usize = 16_384;
/// Stretches of a rewrite of which a row is compared.
const SAMPLES: usize = 8;

/// What somebody wrote into the output column, or into one of several.
pub(super) struct Written {
    /// Rows with a value that differs from the old one.
    pub(super) values: RowSet,
    /// Rows that became NULL, in all of several columns.
    pub(super) nulls: RowSet,
}

/// Whether a few rows have the inputs that the mapping says they have.
pub(super) async fn samples_agree(
    step: &Step,
    column: &Column,
    moves: &BTreeMap<(FragmentId, FragmentId), Vec<Move>>,
) -> Result<bool> {
    for (pair, stretches) in moves {
        let spread = stretches.len().div_ceil(SAMPLES).max(1);
        let sample: Vec<Move> = stretches
            .iter()
            .step_by(spread)
            .map(|stretch| Move {
                rows: stretch.rows.min(1),
                ..*stretch
            })
            .collect();
        if !rows_with_other_inputs(step, column, *pair, &sample)
            .await?
            .any
            .is_empty()
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Moved rows, by new offset, whose inputs are not what they were, for each generation that counts.
pub(super) async fn rows_with_other_inputs(
    step: &Step,
    column: &Column,
    pair: (FragmentId, FragmentId),
    moves: &[Move],
) -> Result<ChangedRows> {
    let bound = &column.bound;
    let in_both = |field: &&FieldView| {
        let versions = [&step.before, &step.after];
        (versions.iter()).all(|version| version.view().field_by_id(field.id).is_some())
    };
    // What is gone from the newest version changes no more.
    let there = bound.watched.iter().filter(|field| !field.is_gone());
    let (fields, missing): (Vec<&FieldView>, Vec<&FieldView>) = there.partition(in_both);
    let mut other: BTreeMap<FieldId, RowSet> = BTreeMap::new();
    // An input did not exist before: nothing is the same.
    for field in missing {
        let rows = moves
            .iter()
            .map(|it| RowSet::range(it.new..it.new + it.rows));
        let all = other.entry(field.id).or_default();
        rows.for_each(|rows| all.extend(&rows));
    }
    let pieces = match fields.is_empty() {
        true => vec![],
        false => pieces(moves),
    };
    for piece in pieces {
        let Some((old, new, offsets)) = read_both(step, &fields, pair, &piece).await? else {
            continue;
        };
        for ((field, old), new) in fields.iter().zip(old.columns()).zip(new.columns()) {
            let rows = other.entry(field.id).or_default();
            for (place, offset) in offsets.iter().enumerate() {
                if !values_equal(old, new, place)? {
                    rows.insert(*offset);
                }
            }
        }
    }
    let of = |fields: &[FieldView]| {
        let mut rows = RowSet::new();
        for changed in fields.iter().filter_map(|field| other.get(&field.id)) {
            rows.extend(changed);
        }
        rows
    };
    let older = bound.older.iter();
    Ok(ChangedRows {
        own: of(&bound.inputs),
        older: older
            .map(|(generation, older)| (generation.clone(), of(&older.inputs)))
            .collect(),
        any: of(&bound.watched),
    })
}

/// Among `rows` (new offsets), what was written into the output: values that differ, and NULLs.
pub(super) async fn written_values(
    step: &Step,
    column: &Column,
    pair: (FragmentId, FragmentId),
    moves: &[Move],
    rows: &RowSet,
) -> Result<Written> {
    let outputs: Vec<&FieldView> = column.bound.outputs.iter().collect();
    let mut written = Written {
        values: RowSet::new(),
        nulls: RowSet::new(),
    };
    for piece in pieces(moves) {
        let piece: Vec<(u32, u32)> = piece
            .into_iter()
            .filter(|(_, new)| rows.contains(*new))
            .collect();
        if piece.is_empty() {
            continue;
        }
        let both = read_both(step, &outputs, pair, &piece).await?;
        let Some((old, new, offsets)) = both else {
            continue;
        };
        let nulls = null_everywhere(new.columns());
        for (place, offset) in offsets.iter().enumerate() {
            if rows_equal(&old, &new, place)? {
                continue;
            }
            let is_null = nulls.as_ref().is_some_and(|nulls| nulls.is_null(place));
            let set = if is_null {
                &mut written.nulls
            } else {
                &mut written.values
            };
            set.insert(*offset);
        }
    }
    Ok(written)
}

/// Pairs of old and new offsets, in pieces.
fn pieces(moves: &[Move]) -> Vec<Vec<(u32, u32)>> {
    let mut pairs: Vec<(u32, u32)> = moves
        .iter()
        .flat_map(|stretch| (0..stretch.rows).map(|row| (stretch.old + row, stretch.new + row)))
        .collect();
    // Reads come back in file order; sorting by the old offset keeps one side in step.
    pairs.sort_unstable();
    pairs
        .chunks(ROWS_AT_ONCE)
        .map(<[(u32, u32)]>::to_vec)
        .collect()
}

/// The rows of a piece before and after, in the same order, with their new offsets.
async fn read_both(
    step: &Step,
    fields: &[&FieldView],
    (old_fragment, new_fragment): (FragmentId, FragmentId),
    piece: &[(u32, u32)],
) -> Result<Option<(RecordBatch, RecordBatch, Vec<u32>)>> {
    let names = |version: &dyn TableVersion| -> Option<Vec<String>> {
        fields
            .iter()
            .map(|field| Some(version.view().field_by_id(field.id)?.name.clone()))
            .collect()
    };
    let (Some(old_names), Some(new_names)) =
        (names(step.before.as_ref()), names(step.after.as_ref()))
    else {
        return Ok(None);
    };
    let old_rows: RowSet = piece.iter().map(|(old, _)| *old).collect();
    let new_rows: RowSet = piece.iter().map(|(_, new)| *new).collect();
    let old = read_all(step.before.as_ref(), old_fragment, &old_names, &old_rows).await?;
    let new = read_all(step.after.as_ref(), new_fragment, &new_names, &new_rows).await?;
    // `new` is in order of the new offsets; bring it into the order of the old ones.
    let places: BTreeMap<u32, u32> = new_rows.iter().zip(0..).collect();
    let order: arrow_array::UInt32Array = piece
        .iter()
        .map(|(_, new)| places.get(new).copied())
        .collect();
    let columns = new
        .columns()
        .iter()
        .map(|values| arrow_select::take::take(values.as_ref(), &order, None))
        .collect::<std::result::Result<Vec<_>, _>>()
        .and_then(|columns| RecordBatch::try_new(new.schema(), columns))
        .map_err(|error| Error::internal("cannot order rows").with_source(error))?;
    Ok(Some((
        old,
        columns,
        piece.iter().map(|(_, new)| *new).collect(),
    )))
}

async fn read_all(
    version: &dyn TableVersion,
    fragment: FragmentId,
    names: &[String],
    rows: &RowSet,
) -> Result<RecordBatch> {
    let batches: Vec<RecordBatch> = version
        .read(
            fragment,
            names,
            rows,
            u32::try_from(ROWS_AT_ONCE).unwrap_or(u32::MAX),
        )
        .await?
        .and_then(|batch| std::future::ready(condensed(&batch)))
        .try_collect()
        .await?;
    let schema = batches
        .first()
        .map(RecordBatch::schema)
        .ok_or_else(|| Error::internal("rows were read without a batch"))?;
    concat_batches(&schema, &batches)
        .map_err(|error| Error::internal("cannot join rows").with_source(error))
}

/// The batch with digests in place of bytes: thousands of blobs would not fit into memory together.
fn condensed(batch: &RecordBatch) -> Result<RecordBatch> {
    let columns: Vec<ArrayRef> = (batch.columns().iter())
        .map(|values| match values.data_type() {
            DataType::Binary => digests(values.as_binary::<i32>()),
            DataType::LargeBinary => digests(values.as_binary::<i64>()),
            _ => Ok(values.clone()),
        })
        .collect::<Result<_>>()?;
    let fields = (batch.schema().fields().iter().zip(&columns))
        .map(|(field, values)| Field::new(field.name(), values.data_type().clone(), true))
        .collect::<Vec<_>>();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
        .map_err(|error| Error::internal("cannot condense rows").with_source(error))
}

fn digests<Offset: OffsetSizeTrait>(values: &GenericBinaryArray<Offset>) -> Result<ArrayRef> {
    const BYTES: i32 = 32;
    let digests = values.iter().map(|bytes| bytes.map(Sha256::digest));
    FixedSizeBinaryArray::try_from_sparse_iter_with_size(digests, BYTES)
        .map(|digests| Arc::new(digests) as ArrayRef)
        .map_err(|error| Error::internal("cannot condense bytes").with_source(error))
}

/// Whether all columns of two batches agree at one place.
fn rows_equal(old: &RecordBatch, new: &RecordBatch, place: usize) -> Result<bool> {
    for (old, new) in old.columns().iter().zip(new.columns()) {
        if !values_equal(old, new, place)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn values_equal(old: &ArrayRef, new: &ArrayRef, place: usize) -> Result<bool> {
    Ok(
        match make_comparator(old.as_ref(), new.as_ref(), SortOptions::default()) {
            Ok(compare) => compare(place, place).is_eq(),
            // Types without an order: equality of the data will do.
            Err(_) => old.slice(place, 1).to_data() == new.slice(place, 1).to_data(),
        },
    )
}
