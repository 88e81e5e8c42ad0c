//! The stored form of a snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{UInt32Type, UInt64Type};
use arrow_array::{Array, ArrayRef, RecordBatch, StringArray, UInt32Array, UInt64Array};
use arrow_ipc::CompressionType;
use arrow_ipc::reader::FileReader;
use arrow_ipc::writer::{FileWriter, IpcWriteOptions};
use arrow_schema::{DataType, Field, Schema};
use xxhash_rust::xxh3::xxh3_64;

use super::{CoverageSnapshot, Entry, OUTCOMES};
use crate::format::FormatError;
use crate::ids::FragmentId;

const WHAT: &str = "a coverage snapshot";
const VERSION: u32 = 1;
/// Bytes of the digest behind the Arrow file.
const DIGEST_BYTES: usize = 8;

impl CoverageSnapshot {
    /// Writes the stored form: a compressed Arrow IPC file, and its digest behind it.
    pub fn encode(&self) -> Result<Vec<u8>, FormatError> {
        let damaged = |error: &dyn std::fmt::Display| FormatError::Damaged {
            what: WHAT,
            reason: error.to_string(),
        };
        let column = |pick: &dyn Fn(&Entry) -> u32| -> ArrayRef {
            Arc::new(UInt32Array::from_iter_values(
                self.entries.values().map(pick),
            ))
        };
        let others = self
            .entries
            .values()
            .map(|entry| match entry.others.is_empty() {
                true => Ok(None),
                false => serde_json::to_string(&entry.others).map(Some),
            })
            .collect::<Result<StringArray, _>>()
            .map_err(|error| damaged(&error))?;
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(UInt64Array::from_iter_values(self.entries.keys().copied())),
            Arc::new(UInt64Array::from_iter_values(
                self.entries.values().map(|entry| entry.fingerprint),
            )),
            column(&|entry| entry.live),
            column(&|entry| entry.filtered),
        ];
        for outcome in 0..OUTCOMES.len() {
            columns.push(column(&|entry| entry.rows[outcome]));
        }
        columns.push(Arc::new(others));
        let head = serde_json::to_string(&self.head).map_err(|error| damaged(&error))?;
        let schema = Schema::new_with_metadata(
            fields(),
            [
                ("version".to_owned(), VERSION.to_string()),
                ("head".to_owned(), head),
            ]
            .into(),
        );
        let batch =
            RecordBatch::try_new(Arc::new(schema), columns).map_err(|error| damaged(&error))?;
        let options = IpcWriteOptions::default()
            .try_with_compression(Some(CompressionType::ZSTD))
            .map_err(|error| damaged(&error))?;
        let mut bytes = Vec::new();
        let mut writer = FileWriter::try_new_with_options(&mut bytes, &batch.schema(), options)
            .map_err(|error| damaged(&error))?;
        writer.write(&batch).map_err(|error| damaged(&error))?;
        writer.finish().map_err(|error| damaged(&error))?;
        drop(writer);
        bytes.extend_from_slice(&xxh3_64(&bytes).to_le_bytes());
        Ok(bytes)
    }

    /// Reads the stored form.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let damaged = |reason: String| FormatError::Damaged { what: WHAT, reason };
        let file = checked(bytes).map_err(|reason| damaged(reason.to_owned()))?;
        let reader = FileReader::try_new(std::io::Cursor::new(file), None)
            .map_err(|error| damaged(error.to_string()))?;
        let schema = reader.schema();
        let found: u32 = schema
            .metadata()
            .get("version")
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| damaged("it has no version".to_owned()))?;
        if found > VERSION {
            return Err(FormatError::Newer {
                what: WHAT,
                found,
                known: VERSION,
            });
        }
        if found == 0 {
            return Err(damaged("format 0 never existed".to_owned()));
        }
        if *schema.fields() != fields().into() {
            return Err(damaged(
                "its columns are not those of a snapshot".to_owned(),
            ));
        }
        let head = schema
            .metadata()
            .get("head")
            .ok_or_else(|| damaged("it has no head".to_owned()))?;
        let head = serde_json::from_str(head).map_err(|error| damaged(error.to_string()))?;
        let mut snapshot = Self {
            head,
            entries: BTreeMap::new(),
        };
        for batch in reader {
            let batch = batch.map_err(|error| damaged(error.to_string()))?;
            read_batch(&batch, &mut snapshot.entries).map_err(damaged)?;
        }
        Ok(snapshot)
    }
}

/// The Arrow file in front of its digest.
///
/// Arrow's reader trusts what it reads: lengths from a damaged file make it panic, or allocate until
/// the process is killed. So it only ever gets to see the very bytes that were written.
fn checked(bytes: &[u8]) -> Result<&[u8], &'static str> {
    let (file, digest) = bytes
        .split_last_chunk::<DIGEST_BYTES>()
        .ok_or("it is cut off")?;
    if xxh3_64(file) == u64::from_le_bytes(*digest) {
        Ok(file)
    } else {
        Err("its digest does not match")
    }
}

impl Entry {
    fn adds_up(&self) -> bool {
        let Self {
            fingerprint: _,
            live,
            filtered,
            rows,
            others,
        } = self;
        let assigned = rows.iter().chain(others.iter().map(|other| &other.rows));
        let sum: u64 = assigned.map(|rows| u64::from(*rows)).sum();
        u64::from(*live) == u64::from(*filtered) + sum
    }
}

fn read_batch(
    batch: &RecordBatch,
    entries: &mut BTreeMap<FragmentId, Entry>,
) -> Result<(), String> {
    let [fragment, fingerprint, numbers @ .., others] = batch.columns() else {
        return Err("it has too few columns".to_owned());
    };
    let fragment = fragment.as_primitive::<UInt64Type>();
    let fingerprint = fingerprint.as_primitive::<UInt64Type>();
    let numbers: Vec<&UInt32Array> = numbers
        .iter()
        .map(|column| column.as_primitive::<UInt32Type>())
        .collect();
    let others = others.as_string::<i32>();
    let mut read = Vec::with_capacity(batch.num_rows());
    for row in 0..batch.num_rows() {
        let mut entry = Entry {
            fingerprint: fingerprint.value(row),
            ..Entry::default()
        };
        for (place, column) in numbers.iter().enumerate() {
            let slot = match place {
                0 => &mut entry.live,
                1 => &mut entry.filtered,
                _ => entry
                    .rows
                    .get_mut(place - 2)
                    .ok_or("it has too many columns")?,
            };
            *slot = column.value(row);
        }
        if others.is_valid(row) {
            entry.others =
                serde_json::from_str(others.value(row)).map_err(|error| error.to_string())?;
        }
        if !entry.adds_up() {
            return Err(format!(
                "the rows of fragment {} do not add up",
                fragment.value(row)
            ));
        }
        read.push((fragment.value(row), entry));
    }
    entries.extend(read);
    Ok(())
}

fn fields() -> Vec<Field> {
    let number = |name: &str| Field::new(name, DataType::UInt32, false);
    vec![
        Field::new("fragment", DataType::UInt64, false),
        Field::new("fingerprint", DataType::UInt64, false),
        number("live"),
        number("filtered"),
        number("value"),
        number("null"),
        number("failed"),
        number("supplied"),
        number("unknown"),
        Field::new("others", DataType::Utf8, true),
    ]
}
