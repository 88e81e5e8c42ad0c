//! Parts: fragments too large for one batch, whose results are folded into column files.

use anyhow::{Result, ensure};

use super::{Bench, say};
use crate::report::{Figure, Nature, Section, Target, Unit};
use crate::table::{Rows, Table, VECTOR_WIDTH};

const FRAGMENTS: u64 = 2;
const BATCHES_PER_FRAGMENT: u64 = 8;

pub(crate) async fn measure(bench: &Bench) -> Result<Section> {
    let rows = bench.size(200_000, 32_000);
    say(&format!("parts: {rows} vectors"));
    let path = bench.scratch.join("parts.lance");
    let table = Table::write(path, Rows::Vectors, rows, FRAGMENTS).await?;
    let width = format!("fixed_size_list<float, {VECTOR_WIDTH}>");
    bench
        .program
        .declare(&table, "w", "coalesce(v, NULL)", &["--type", &width])?;
    let batch = (rows / FRAGMENTS / BATCHES_PER_FRAGMENT).to_string();
    let refresh = bench.program.refresh(&table, &["--batch-rows", &batch])?;
    let wrong = table.count("w IS NULL OR w <> v").await?;
    ensure!(wrong == 0, "{wrong} vectors are wrong");
    let batches = refresh.ran.number("/columns/0/batches")?;
    let column = (rows * u64::from(VECTOR_WIDTH.unsigned_abs()) * 4) as f64;
    let what = "Parts: bytes written, of the column's";
    let target = Target::AtMost(2.1);
    let written = refresh.ran.written_bytes.map(|bytes| bytes as f64 / column);
    let figure = match written {
        Some(ratio) => Figure::new(what, Unit::Times, Nature::Exact, ratio, target),
        None => Figure::not_measured(what, Unit::Times, target, "this system does not tell"),
    };
    let expected = (FRAGMENTS * BATCHES_PER_FRAGMENT + FRAGMENTS) as f64;
    let count = Figure::new(
        "Parts: batches and folds",
        Unit::Count,
        Nature::Exact,
        batches,
        Target::Equals(expected),
    );
    let ratio = written.unwrap_or(f64::NAN);
    Ok(Section {
        title: format!("Parts: {VECTOR_WIDTH} floats a row, {BATCHES_PER_FRAGMENT} batches a fragment"),
        text: vec![
            format!("{rows} vectors in {FRAGMENTS} fragments; the expression hands its input through, so each value is written as it was read."),
            "A batch that is a part of a fragment leaves its values in the state store, and a fold writes them into the column file: each value is written twice.".to_owned(),
            "Counted is all that the process wrote: values, column files, records, manifests.".to_owned(),
        ],
        figures: vec![figure, count],
        charts: vec![super::bytes_chart("8 parts each", ratio, 2.1)],
        ..Section::default()
    })
}
