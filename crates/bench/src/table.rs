//! The tables that are measured, written by Lance as any other program does.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use arrow_array::builder::LargeBinaryBuilder;
use arrow_array::types::Float32Type;
use arrow_array::{
    ArrayRef, FixedSizeListArray, Float64Array, Int64Array, PrimitiveArray, RecordBatch,
    RecordBatchIterator,
};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use lance::Dataset;
use lance::dataset::{NewColumnTransform, WriteMode, WriteParams};

/// Floats of one vector.
pub(crate) const VECTOR_WIDTH: i32 = 128;
/// Bytes of one picture.
pub(crate) const PICTURE_BYTES: u64 = 1_000_000;
/// Rows made at once, so that a large table needs little memory.
const ROWS_AT_ONCE: u64 = 65_536;

/// What the rows of a table look like.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rows {
    /// `id`, and the doubles `a` and `b`.
    Doubles,
    /// `id`, and the vector `v`.
    Vectors,
    /// `id`, and the megabyte `picture`.
    Pictures,
}

/// A table on disk; its folder goes with it.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) path: PathBuf,
}

impl Drop for Table {
    fn drop(&mut self) {
        // What cannot be removed goes with the scratch folder.
        let _ = fs::remove_dir_all(&self.path);
    }
}

impl Table {
    /// Writes a table of `rows` rows in `fragments` fragments of equal size.
    pub(crate) async fn write(path: PathBuf, of: Rows, rows: u64, fragments: u64) -> Result<Self> {
        let table = Self { path };
        table
            .add_rows(of, 0..rows, rows.div_ceil(fragments), WriteMode::Create)
            .await?;
        let found = table.open().await?.get_fragments().len() as u64;
        ensure!(
            found == fragments,
            "the table has {found} fragments instead of {fragments}"
        );
        Ok(table)
    }

    /// Appends rows as one fragment.
    pub(crate) async fn append(&self, of: Rows, ids: std::ops::Range<u64>) -> Result<()> {
        let rows = ids.end - ids.start;
        self.add_rows(of, ids, rows, WriteMode::Append).await
    }

    async fn add_rows(
        &self,
        of: Rows,
        ids: std::ops::Range<u64>,
        fragment_rows: u64,
        mode: WriteMode,
    ) -> Result<()> {
        let schema = of.schema();
        let made = (ids.start..ids.end)
            .step_by(usize::try_from(ROWS_AT_ONCE)?)
            .map(move |start| of.batch(start..ids.end.min(start + ROWS_AT_ONCE)));
        let params = WriteParams {
            mode,
            max_rows_per_file: usize::try_from(fragment_rows)?,
            skip_auto_cleanup: true,
            ..WriteParams::default()
        };
        Dataset::write(
            RecordBatchIterator::new(made, schema),
            &self.uri(),
            Some(params),
        )
        .await?;
        Ok(())
    }

    /// Another table of the same content: immutable files are linked, the others copied.
    pub(crate) fn copy(&self, path: PathBuf) -> Result<Self> {
        let copy = Self { path };
        copy_folder(&self.path, &copy.path, false)?;
        Ok(copy)
    }

    pub(crate) fn uri(&self) -> String {
        self.path.display().to_string()
    }

    pub(crate) async fn open(&self) -> Result<Dataset> {
        Ok(Dataset::open(&self.uri()).await?)
    }

    /// Adds a column without values, which writes no data.
    pub(crate) async fn add_empty_column(&self, name: &str, data_type: DataType) -> Result<()> {
        let schema = Schema::new(vec![Field::new(name, data_type, true)]);
        let mut dataset = self.open().await?;
        (dataset.add_columns(NewColumnTransform::AllNulls(Arc::new(schema)), None, None)).await?;
        Ok(())
    }

    /// Rows for which a filter holds.
    pub(crate) async fn count(&self, filter: &str) -> Result<u64> {
        let rows = self
            .open()
            .await?
            .count_rows(Some(filter.to_owned()))
            .await?;
        Ok(u64::try_from(rows)?)
    }

    /// Bytes of the column files of one column.
    pub(crate) async fn column_bytes(&self, column: &str) -> Result<u64> {
        let dataset = self.open().await?;
        let field = dataset
            .schema()
            .field(column)
            .context("the column is there")?
            .id;
        let mut bytes = 0;
        for fragment in dataset.get_fragments() {
            for file in &fragment.metadata().files {
                if file.fields.contains(&field) {
                    bytes += fs::metadata(self.path.join("data").join(&file.path))?.len();
                }
            }
        }
        Ok(bytes)
    }

    /// When each version after the given one was written, in seconds; one commit each.
    pub(crate) async fn commits_after(&self, version: u64) -> Result<Vec<f64>> {
        let versions = self.open().await?.versions().await?;
        Ok(versions
            .into_iter()
            .filter(|found| found.version > version)
            .map(|found| found.timestamp.timestamp_micros() as f64 / 1e6)
            .collect())
    }

    /// Bytes in the state store beside the table.
    pub(crate) fn state_bytes(&self) -> Result<u64> {
        folder_bytes(&self.path.join("_backfill"))
    }
}

fn copy_folder(from: &Path, to: &Path, immutable: bool) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy_folder(&source, &target, entry.file_name() == "data")?;
        } else if immutable {
            fs::hard_link(source, target)?;
        } else {
            fs::copy(source, target)?;
        }
    }
    Ok(())
}

fn folder_bytes(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        bytes += match entry.file_type()?.is_dir() {
            true => folder_bytes(&entry.path())?,
            false => entry.metadata()?.len(),
        };
    }
    Ok(bytes)
}

impl Rows {
    fn schema(self) -> SchemaRef {
        let mut fields = vec![Field::new("id", DataType::Int64, false)];
        match self {
            Self::Doubles => {
                fields.push(Field::new("a", DataType::Float64, true));
                fields.push(Field::new("b", DataType::Float64, true));
            }
            Self::Vectors => fields.push(Field::new("v", vector_type(), true)),
            Self::Pictures => fields.push(Field::new("picture", DataType::LargeBinary, true)),
        }
        Arc::new(Schema::new(fields))
    }

    fn batch(self, ids: std::ops::Range<u64>) -> Result<RecordBatch, ArrowError> {
        let numbers = ids.clone().map(|id| i64::try_from(id).unwrap_or(i64::MAX));
        let mut columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from_iter_values(numbers))];
        match self {
            Self::Doubles => {
                columns.push(Arc::new(doubles(ids.clone(), 1)));
                columns.push(Arc::new(doubles(ids, 2)));
            }
            Self::Vectors => {
                let width = u64::from(VECTOR_WIDTH.unsigned_abs());
                let places = ids.start * width..ids.end * width;
                let values = PrimitiveArray::<Float32Type>::from_iter_values(
                    places.map(|place| random(place, 3) as f32),
                );
                let vectors =
                    FixedSizeListArray::try_new(item(), VECTOR_WIDTH, Arc::new(values), None)?;
                columns.push(Arc::new(vectors));
            }
            Self::Pictures => {
                let words = (0..PICTURE_BYTES / 8).map(|place| random(place, 4).to_bits());
                let mut picture: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
                let mut pictures = LargeBinaryBuilder::new();
                for id in ids {
                    picture.splice(..8, id.to_le_bytes());
                    pictures.append_value(&picture);
                }
                columns.push(Arc::new(pictures.finish()));
            }
        }
        RecordBatch::try_new(self.schema(), columns)
    }
}

fn item() -> Arc<Field> {
    Arc::new(Field::new("item", DataType::Float32, true))
}

fn vector_type() -> DataType {
    DataType::FixedSizeList(item(), VECTOR_WIDTH)
}

fn doubles(ids: std::ops::Range<u64>, column: u64) -> Float64Array {
    Float64Array::from_iter_values(ids.map(|id| random(id, column)))
}

/// A number in [0, 1) that looks random, so that no encoding makes the column small (SplitMix64).
fn random(place: u64, column: u64) -> f64 {
    let mut bits = place
        .wrapping_add(column << 48)
        .wrapping_add(1)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((bits ^ (bits >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_numbers_are_spread_and_differ_between_columns() {
        let mean = (0..10_000).map(|place| random(place, 1)).sum::<f64>() / 10_000.0;
        assert!((0.48..0.52).contains(&mean), "{mean}");
        assert!((0..10_000).all(|place| (0.0..1.0).contains(&random(place, 2))));
        assert!((0..100).all(|place| random(place, 1) != random(place, 2)));
    }
}
