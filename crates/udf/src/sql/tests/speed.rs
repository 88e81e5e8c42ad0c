//! What a batch costs beyond its arithmetic.

#![expect(clippy::disallowed_methods, reason = "these tests measure real time")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::{ArrayRef, Float64Array, RecordBatch};
use datafusion::arrow::compute::kernels::numeric::mul;

use super::{super::SqlFilter, SqlFunction};

/// The least time of many runs, which noise only lengthens.
fn least_time(mut run: impl FnMut()) -> Duration {
    (0..200)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed()
        })
        .min()
        .unwrap()
}

fn batch(names: &[&str]) -> RecordBatch {
    let values = Float64Array::from_iter_values((0..65_536).map(f64::from));
    let column: ArrayRef = Arc::new(values);
    RecordBatch::try_from_iter(names.iter().map(|name| (*name, Arc::clone(&column)))).unwrap()
}

#[test]
fn a_product_costs_what_the_kernel_costs() {
    for names in [&["a", "b"][..], &["z", "b", "y", "a"]] {
        let batch = batch(names);
        let function = SqlFunction::compile("a * b", &batch.schema(), None).unwrap();
        let column = batch.column(0);
        let kernel = least_time(|| drop(black_box(mul(column, column))));
        let whole = least_time(|| drop(black_box(function.evaluate(&batch))));
        // Some microseconds of overhead are allowed; planning again would take hundreds.
        let bound = kernel * 2 + Duration::from_micros(20);
        assert!(
            whole < bound,
            "{names:?}: {whole:?} where the kernel takes {kernel:?}"
        );
        println!("{names:?}: evaluate {whole:?}, kernel {kernel:?}");
    }
}

#[test]
fn a_filter_of_comparisons_costs_no_more_than_a_few_passes() {
    let batch = batch(&["a", "b"]);
    let filter = SqlFilter::compile("a > 100 AND b < 60000", &batch.schema()).unwrap();
    let column = batch.column(0);
    let kernel = least_time(|| drop(black_box(mul(column, column))));
    let whole = least_time(|| drop(black_box(filter.select(&batch))));
    println!("select {whole:?}, kernel {kernel:?}");
    assert!(whole < kernel * 10 + Duration::from_micros(50), "{whole:?}");
}
