//! The coverage snapshot: a compact cache of which fragments are settled, one entry a fragment.
//!
//! It is only ever a shortcut: an entry counts while its fingerprint equals the fragment's, and
//! what it says can always be found again in the coverage records.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{UInt32Type, UInt64Type};
use arrow_array::{Array, ArrayRef, RecordBatch, StringArray, UInt32Array, UInt64Array};
use arrow_ipc::CompressionType;
use arrow_ipc::reader::FileReader;
use arrow_ipc::writer::{FileWriter, IpcWriteOptions};
use arrow_schema::{DataType, Field, Schema};
use serde::{Deserialize, Serialize};

use crate::coverage::{CoverageRecord, Outcome};
use crate::definition::{Definition, OnUnknown};
use crate::format::FormatError;
use crate::ids::{FragmentId, GenerationId};
use crate::rows::RowSet;
use crate::state::Counts;

const WHAT: &str = "a coverage snapshot";
const VERSION: u32 = 1;

/// Entries of settled fragments, and what the last planner saw.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CoverageSnapshot {
    /// What is not per fragment.
    pub head: Head,
    /// By fragment.
    pub entries: BTreeMap<FragmentId, Entry>,
}

/// The part of a snapshot that is not per fragment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Newest table version whose changes are accounted for.
    pub table_version: u64,
    /// Highest fragment of that version.
    pub max_fragment: Option<FragmentId>,
    /// Generation of rows that no entry names another one for.
    pub generation: Option<GenerationId>,
    /// Measured speed of that generation.
    pub rate: Option<Rate>,
}

/// Measured speed of one worker.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Rows computed.
    pub rows: u64,
    /// In this time.
    pub elapsed_ms: u64,
}

/// What a fragment's live rows hold, in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// Digest of identities and deletions for which this holds.
    pub fingerprint: u64,
    /// Live rows.
    pub live: u32,
    /// Rows that the filter does not select.
    pub filtered: u32,
    /// Rows by outcome under the head's generation, in the order of [`OUTCOMES`].
    pub rows: [u32; 5],
    /// Rows of other generations.
    pub others: Vec<OtherGeneration>,
}

/// Rows of a generation that is not the head's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OtherGeneration {
    /// What computed them.
    pub generation: GenerationId,
    /// How they came out.
    pub outcome: Outcome,
    /// How many.
    pub rows: u32,
}

/// Order of the numbers in [`Entry::rows`].
pub const OUTCOMES: [Outcome; 5] = [
    Outcome::Value,
    Outcome::Null,
    Outcome::Failed,
    Outcome::Supplied,
    Outcome::Unknown,
];

impl Entry {
    /// Sums up a record for the live rows; `None` if a row is unassigned or computed from other inputs.
    pub fn of(
        record: &CoverageRecord,
        fingerprint: u64,
        live: &RowSet,
        head_generation: Option<&GenerationId>,
    ) -> Option<Self> {
        let mut entry = Self {
            fingerprint,
            live: small(live.len())?,
            ..Self::default()
        };
        let eligible = live.difference(&record.filtered);
        entry.filtered = small(live.len() - eligible.len())?;
        let mut counted = 0;
        for run in &record.runs {
            let rows = small(eligible.intersection(&run.rows).len())?;
            if rows == 0 {
                continue;
            }
            counted += rows;
            match &run.generation {
                Some(_) if run.in_id != record.in_id => return None,
                Some(generation) if Some(generation) != head_generation => {
                    entry.others.push(OtherGeneration {
                        generation: generation.clone(),
                        outcome: run.outcome,
                        rows,
                    });
                }
                _ => *entry.slot(run.outcome) += rows,
            }
        }
        (u64::from(counted) == eligible.len()).then_some(entry)
    }

    fn slot(&mut self, outcome: Outcome) -> &mut u32 {
        let [value, null, failed, supplied, unknown] = &mut self.rows;
        match outcome {
            Outcome::Value => value,
            Outcome::Null => null,
            Outcome::Failed => failed,
            Outcome::Supplied => supplied,
            Outcome::Unknown => unknown,
        }
    }

    /// Whether some rows failed.
    pub fn has_failures(&self) -> bool {
        let [_, _, failed, ..] = self.rows;
        failed > 0
            || self
                .others
                .iter()
                .any(|other| other.outcome == Outcome::Failed)
    }

    /// The rows by state if the entry leaves nothing to do under this definition.
    pub fn settled_counts(
        &self,
        head_generation: Option<&GenerationId>,
        definition: &Definition,
        generation: &GenerationId,
    ) -> Option<Counts> {
        let mut counts = Counts {
            total: self.live.into(),
            filtered: self.filtered.into(),
            ..Counts::default()
        };
        let own = OUTCOMES
            .iter()
            .zip(self.rows)
            .map(|(outcome, rows)| (head_generation, *outcome, rows));
        let others = self
            .others
            .iter()
            .map(|other| (Some(&other.generation), other.outcome, other.rows));
        for (made_by, outcome, rows) in own.chain(others).filter(|(_, _, rows)| *rows > 0) {
            let is_own = made_by == Some(generation);
            let accepted = is_own
                || made_by.is_some_and(|made| definition.accepted_generations.contains(made));
            let slot = match outcome {
                Outcome::Value | Outcome::Null if accepted => &mut counts.current,
                Outcome::Failed if is_own => &mut counts.failed,
                Outcome::Supplied => &mut counts.current,
                Outcome::Unknown if definition.on_unknown == OnUnknown::Trust => {
                    &mut counts.unknown
                }
                Outcome::Value | Outcome::Null | Outcome::Failed | Outcome::Unknown => return None,
            };
            *slot += u64::from(rows);
        }
        Some(counts)
    }
}

fn small(rows: u64) -> Option<u32> {
    u32::try_from(rows).ok()
}

impl CoverageSnapshot {
    /// Lays newer entries over this snapshot.
    pub fn apply(&mut self, newer: Self) {
        if newer.head.generation != self.head.generation {
            // The numbers of older entries speak of the older head's generation.
            self.rebase(newer.head.generation.as_ref());
        }
        self.head = newer.head;
        self.entries.extend(newer.entries);
    }

    fn rebase(&mut self, generation: Option<&GenerationId>) {
        let Some(old) = self.head.generation.clone() else {
            return;
        };
        for entry in self.entries.values_mut() {
            for (outcome, rows) in OUTCOMES.into_iter().zip(&mut entry.rows).take(3) {
                let rows = std::mem::take(rows);
                if rows > 0 {
                    entry.others.push(OtherGeneration {
                        generation: old.clone(),
                        outcome,
                        rows,
                    });
                }
            }
            let (own, others) = std::mem::take(&mut entry.others)
                .into_iter()
                .partition(|other| Some(&other.generation) == generation);
            entry.others = others;
            let own: Vec<OtherGeneration> = own;
            for other in own {
                *entry.slot(other.outcome) += other.rows;
            }
        }
    }

    /// Writes the stored form: an Arrow IPC file, compressed.
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
        Ok(bytes)
    }

    /// Reads the stored form.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let damaged = |reason: String| FormatError::Damaged { what: WHAT, reason };
        let reader = FileReader::try_new(std::io::Cursor::new(bytes), None)
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

#[cfg(test)]
mod tests;
