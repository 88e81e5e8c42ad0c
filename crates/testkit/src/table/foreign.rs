//! What other programs do to a table in memory, with the traces that Lance would leave.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, UInt32Array};
use arrow_select::concat::concat;
use arrow_select::interleave::interleave;
use arrow_select::take::take;
use lance_backfill_core::history::Update;
use lance_backfill_core::ids::{FieldId, FragmentId};
use lance_backfill_core::rows::RowSet;
use lance_backfill_core::table::FileView;
use lance_backfill_ports::{Error, Result};

use super::disk::{Disk, SharedDisk};
use super::manifest::{Manifest, Operation};
use super::{MemTable, Selection};

impl MemTable {
    /// Creates a table with one fragment for each batch; names of its files follow from the seed.
    pub fn create(
        uri: &str,
        seed: u64,
        fragments: &[RecordBatch],
        stable_row_ids: bool,
    ) -> Result<Self> {
        let disk = SharedDisk::new(seed);
        let mut manifest = Manifest::empty(stable_row_ids).successor(Operation::Plain);
        if let Some(first) = fragments.first() {
            for field in first.schema().fields() {
                manifest.add_field(field)?;
            }
        }
        for rows in fragments {
            append(&mut disk.lock(), &mut manifest, rows)?;
        }
        disk.lock().commit(manifest);
        Ok(Self {
            uri: uri.to_owned(),
            disk,
        })
    }

    /// Appends rows as one fragment; columns that the batch leaves out have no file there.
    pub fn append(&self, rows: &RecordBatch) -> Result<u64> {
        let mut disk = self.disk.lock();
        let mut next = disk.newest()?.successor(Operation::Plain);
        append(&mut disk, &mut next, rows)?;
        Ok(disk.commit(next))
    }

    /// Live rows whose `Int64` column has one of the values.
    pub fn rows_where(&self, column: &str, values: &[i64]) -> Result<Selection> {
        let disk = self.disk.lock();
        let newest = disk.newest()?;
        let field = newest.field(column)?;
        let mut found = Selection::new();
        for fragment in &newest.view.fragments {
            let array = newest.column(&disk.files, fragment, field)?;
            let keys = array
                .as_any()
                .downcast_ref::<Int64Array>()
                .ok_or_else(|| Error::invalid(format!("column '{column}' is not int64")))?;
            let rows: RowSet = (0_u32..)
                .zip(keys)
                .filter(|(_, key)| key.is_some_and(|key| values.contains(&key)))
                .map(|(offset, _)| offset)
                .collect();
            let rows = rows.intersection(&newest.live_rows(fragment));
            if !rows.is_empty() {
                found.insert(fragment.id, rows);
            }
        }
        Ok(found)
    }

    /// Deletes rows; a fragment that has none left goes.
    pub fn delete(&self, rows: &Selection) -> Result<u64> {
        let mut disk = self.disk.lock();
        let mut next = disk
            .newest()?
            .successor(Operation::Delete { removed: vec![] });
        let (removed, _) = remove_rows(&mut disk, &mut next, rows)?;
        next.operation = Operation::Delete { removed };
        Ok(disk.commit(next))
    }

    /// Updates rows the way `UPDATE … SET` does: they move into a new fragment with other values.
    ///
    /// Values come in the order of the selection, one per row and column.
    pub fn update(&self, rows: &Selection, set: &[(&str, ArrayRef)]) -> Result<u64> {
        let mut disk = self.disk.lock();
        let newest = disk.newest()?;
        let mut next = newest.successor(Operation::Plain);
        let (mut file, row_ids, count) = gather(&mut disk, &newest, rows)?;
        let mut columns = disk
            .files
            .remove(&file.name)
            .map(Arc::unwrap_or_clone)
            .unwrap_or_default();
        let mut fields = vec![];
        for (name, values) in set {
            let id = newest.field(name)?.id;
            fields.push(id);
            let place = file.fields.iter().position(|field| *field == id);
            if let Some(column) = place.and_then(|place| columns.get_mut(place)) {
                *column = values.clone();
            }
        }
        file = disk.write(&file.fields, columns);
        let (removed, touched) = remove_rows(&mut disk, &mut next, rows)?;
        next.add_fragment(file, count, newest.view.stable_row_ids.then_some(row_ids));
        next.operation = Operation::Update(Update {
            in_place: false,
            fields: Some(fields),
            touched,
            removed,
            offsets: Selection::new(),
        });
        Ok(disk.commit(next))
    }

    /// Patches columns in place the way an upsert of some columns does: rows keep their offsets.
    ///
    /// Values come in the order of the selection, one per row and column.
    pub fn patch(&self, rows: &Selection, set: &[(&str, ArrayRef)]) -> Result<u64> {
        let mut disk = self.disk.lock();
        let newest = disk.newest()?;
        let ids: Vec<FieldId> = set
            .iter()
            .map(|(name, _)| Ok(newest.field(name)?.id))
            .collect::<Result<_>>()?;
        let mut next = newest.successor(Operation::Update(Update {
            in_place: true,
            fields: Some(ids.clone()),
            touched: rows.keys().copied().collect(),
            removed: vec![],
            // Lance tells which rows only where they have stable ids.
            offsets: match newest.view.stable_row_ids {
                true => rows.clone(),
                false => Selection::new(),
            },
        }));
        let mut used = 0;
        for (fragment, offsets) in rows {
            let view = newest.fragment(*fragment)?;
            let mut columns = vec![];
            for (name, values) in set {
                let old = newest.column(&disk.files, view, newest.field(name)?)?;
                let mut next_value = used;
                let picks: Vec<(usize, usize)> = (0..old.len())
                    .zip(0_u32..)
                    .map(|(place, offset)| {
                        if !offsets.contains(offset) {
                            return (0, place);
                        }
                        next_value += 1;
                        (1, next_value - 1)
                    })
                    .collect();
                columns.push(interleave(&[&old, values], &picks).map_err(arrow)?);
            }
            used += usize::try_from(offsets.len()).unwrap_or(usize::MAX);
            let file = disk.write(&ids, columns);
            next.put_file(*fragment, file)?;
        }
        Ok(disk.commit(next))
    }

    /// Compacts fragments into one: their live rows in order, all columns in one file.
    pub fn compact(&self, fragments: &[FragmentId]) -> Result<u64> {
        let mut disk = self.disk.lock();
        let newest = disk.newest()?;
        let mut rows = Selection::new();
        for fragment in fragments {
            rows.insert(*fragment, newest.live_rows(newest.fragment(*fragment)?));
        }
        let (file, row_ids, count) = gather(&mut disk, &newest, &rows)?;
        let mut next = newest.successor(Operation::Plain);
        let old: Vec<FragmentId> = rows.keys().copied().collect();
        next.remove_fragments(&old);
        let new = next.add_fragment(file, count, newest.view.stable_row_ids.then_some(row_ids));
        next.operation = Operation::Rewrite {
            groups: vec![(old, vec![new])],
        };
        Ok(disk.commit(next))
    }

    /// Renames a column.
    pub fn rename_column(&self, from: &str, to: &str) -> Result<u64> {
        let mut disk = self.disk.lock();
        let newest = disk.newest()?;
        newest.field(from)?;
        let mut next = newest.successor(Operation::Project);
        for field in &mut next.view.fields {
            if field.name == from {
                to.clone_into(&mut field.name);
            }
        }
        Ok(disk.commit(next))
    }

    /// Removes all versions but the newest, and the files that only they named.
    pub fn clean_up(&self) -> Result<()> {
        self.disk.lock().clean_up()
    }
}

fn append(disk: &mut Disk, next: &mut Manifest, rows: &RecordBatch) -> Result<FragmentId> {
    let mut fields = vec![];
    for field in rows.schema().fields() {
        fields.push(next.field(field.name())?.id);
    }
    let file = disk.write(&fields, rows.columns().to_vec());
    let count = u32::try_from(rows.num_rows()).unwrap_or(u32::MAX);
    Ok(next.add_fragment(file, count, None))
}

/// Deletes rows; returns the fragments that went and those that lost some.
fn remove_rows(
    disk: &mut Disk,
    next: &mut Manifest,
    rows: &Selection,
) -> Result<(Vec<FragmentId>, Vec<FragmentId>)> {
    let (mut removed, mut touched) = (vec![], vec![]);
    for (fragment, gone) in rows {
        let live = next.live_rows(next.fragment(*fragment)?);
        if live.is_subset(gone) {
            removed.push(*fragment);
            continue;
        }
        let mut deleted = next.deleted.get(fragment).cloned().unwrap_or_default();
        deleted.extend(&live.intersection(gone));
        disk.set_deleted(next, *fragment, deleted)?;
        touched.push(*fragment);
    }
    next.remove_fragments(&removed);
    Ok((removed, touched))
}

/// Writes the selected rows, all columns, into one file.
fn gather(
    disk: &mut Disk,
    newest: &Manifest,
    rows: &Selection,
) -> Result<(FileView, Vec<u64>, u32)> {
    let mut columns = vec![];
    for field in &newest.view.fields {
        let mut parts = vec![];
        for (fragment, offsets) in rows {
            let values = newest.column(&disk.files, newest.fragment(*fragment)?, field)?;
            let offsets: UInt32Array = offsets.iter().collect::<Vec<_>>().into();
            parts.push(take(&values, &offsets, None).map_err(arrow)?);
        }
        let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
        columns.push(concat(&parts).map_err(arrow)?);
    }
    let ids: Vec<FieldId> = newest.view.fields.iter().map(|field| field.id).collect();
    let mut row_ids = vec![];
    for (fragment, offsets) in rows {
        let Some(all) = newest.row_ids.get(fragment) else {
            continue;
        };
        let kept = (0_u32..)
            .zip(all)
            .filter(|(offset, _)| offsets.contains(*offset));
        row_ids.extend(kept.map(|(_, id)| *id));
    }
    let count: u64 = rows.values().map(RowSet::len).sum();
    let file = disk.write(&ids, columns);
    Ok((file, row_ids, u32::try_from(count).unwrap_or(u32::MAX)))
}

fn arrow(error: arrow_schema::ArrowError) -> Error {
    Error::invalid("the values do not fit the table in memory").with_source(error)
}
