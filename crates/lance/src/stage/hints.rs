//! What we tell the encoder of a column file that the table does not say.
//!
//! Hints are for one write alone and stand in the file that it writes; what the table says of a field
//! comes first and stays.

use std::collections::HashSet;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type};
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;
use lance::Dataset;
use lance_core::datatypes::Field;

/// What a table says of how a field is encoded.
const ENCODING_PREFIX: &str = "lance-encoding:";
/// Lance considers runs where there are fewer than this share of the values.
const RUNS_THRESHOLD: &str = "lance-encoding:rle-threshold";
const COMPRESSION: &str = "lance-encoding:compression";

/// Values that Lance packs with one width.
const PACKED_TOGETHER: usize = 1_024;
/// Packing is worth its time when it leaves out more than one bit in so many. A sixteenth keeps a file
/// within 1.07 times what packing makes of it; with it a fill takes a twelfth longer.
const ONE_BIT_IN: usize = 16;
/// Values that are compared with each other, at most, as many as Lance looks at.
const COMPARED: usize = 4_096;

/// The same version, with hints for who encodes the columns, of which these are the first values.
///
/// - Not to consider runs where no two neighbours are equal. They could not win there, and Lance
///   spends a tenth of a fill on the sizes.
/// - Not to pack floats that use nearly all of their bits.
pub(super) fn hinted(
    dataset: &Dataset,
    columns: &[String],
    first: Option<&RecordBatch>,
) -> Dataset {
    let mut dataset = dataset.clone();
    let schema = &mut Arc::make_mut(&mut dataset.manifest).schema;
    for (place, column) in columns.iter().enumerate() {
        let first = first.and_then(|first| first.columns().get(place));
        let plain = first.is_some_and(|first| fills_its_bits(first.as_ref()));
        let fields = schema
            .fields
            .iter_mut()
            .filter(|field| field.name == *column);
        fields.for_each(|field| {
            let said = (field.metadata.keys()).any(|key| key.starts_with(ENCODING_PREFIX));
            if plain && !said {
                (field.metadata).insert(COMPRESSION.to_owned(), "none".to_owned());
            }
            hint_runs(field);
        });
    }
    dataset
}

fn hint_runs(field: &mut Field) {
    (field.metadata.entry(RUNS_THRESHOLD.to_owned())).or_insert_with(|| "1".to_owned());
    field.children.iter_mut().for_each(hint_runs);
}

/// Whether these are floats that neither packing, runs nor a dictionary make notably smaller.
fn fills_its_bits(values: &dyn Array) -> bool {
    if values.null_count() > 0 {
        return false;
    }
    match values.data_type() {
        DataType::Float64 => {
            let values = values.as_primitive::<Float64Type>().values();
            fill(64, values.iter().map(|value| value.to_bits()))
        }
        DataType::Float32 => {
            let values = values.as_primitive::<Float32Type>().values();
            fill(32, values.iter().map(|value| u64::from(value.to_bits())))
        }
        _ => false,
    }
}

fn fill(width: usize, values: impl ExactSizeIterator<Item = u64> + Clone) -> bool {
    let all = values.len();
    if all < PACKED_TOGETHER {
        return false;
    }
    let (mut packed, mut runs) = (0, 0);
    let (mut seen, mut together) = (0_u64, 0);
    let mut last = None;
    for value in values.clone() {
        runs += usize::from(last != Some(value));
        last = Some(value);
        seen |= value;
        together += 1;
        if together == PACKED_TOGETHER {
            packed += together * used(seen);
            (seen, together) = (0, 0);
        }
    }
    packed += together * used(seen);
    let left_out = all * width - packed;
    // Equal values far apart are what a dictionary lives on; a run takes its length beside its value.
    let compared = values.step_by(all.div_ceil(COMPARED));
    let number = compared.len();
    let different = compared.collect::<HashSet<_>>().len();
    left_out * ONE_BIT_IN < all * width && runs * 8 > all * 7 && different * 50 > number * 49
}

/// Bits up to the highest that is set.
const fn used(bits: u64) -> usize {
    (u64::BITS - bits.leading_zeros()) as usize
}

#[cfg(test)]
mod tests {
    use arrow_array::{Float32Array, Float64Array, Int64Array};

    use super::*;

    /// Doubles from 0 to 1 that look random.
    fn scattered(rows: u32) -> impl Iterator<Item = f64> {
        (0..rows).map(|row| f64::from(row.wrapping_mul(2_654_435_761)) / f64::from(u32::MAX))
    }

    #[test]
    fn floats_that_use_their_bits_are_written_as_they_are() {
        let doubles = Float64Array::from_iter_values(scattered(4_000));
        assert!(fills_its_bits(&doubles));
        let floats = |most: f64| scattered(4_000).map(move |value| (value * most) as f32);
        assert!(fills_its_bits(&Float32Array::from_iter_values(floats(4.0))));
        // Two bits of 32 are always zero.
        assert!(!fills_its_bits(&Float32Array::from_iter_values(floats(
            1.0
        ))));
    }

    #[test]
    fn what_packing_or_runs_make_smaller_is_left_to_lance() {
        let mostly_zero = scattered(4_096).zip(0..);
        let mostly_zero = mostly_zero.map(|(value, row)| if row < 1_024 { value } else { 0.0 });
        assert!(!fills_its_bits(&Float64Array::from_iter_values(
            mostly_zero
        )));
        let in_runs = scattered(2_048).flat_map(|value| [value, value]);
        assert!(!fills_its_bits(&Float64Array::from_iter_values(in_runs)));
        let few_values = (0..200).flat_map(|_| scattered(20));
        assert!(!fills_its_bits(&Float64Array::from_iter_values(few_values)));
        let with_nulls: Float64Array = scattered(4_000)
            .map(|value| (value > 0.5).then_some(value))
            .collect();
        assert!(!fills_its_bits(&with_nulls));
        assert!(!fills_its_bits(&Float64Array::from_iter_values(scattered(
            100
        ))));
        assert!(!fills_its_bits(&Int64Array::from_iter_values(0..4_000)));
    }
}
