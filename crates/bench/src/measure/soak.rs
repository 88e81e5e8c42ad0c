//! Soak: the memory of a fill that is many times larger than what fits.

use anyhow::{Result, ensure};

use super::{Bench, say};
use crate::report::{Figure, Nature, Section, Target, Unit};
use crate::table::{Rows, Table};

const FRAGMENTS: u64 = 100;

pub(crate) async fn measure(bench: &Bench) -> Result<Section> {
    let rows = bench.size(100_000_000, 2_000_000);
    say(&format!("soak: {rows} rows"));
    let path = bench.scratch.join("soak.lance");
    let table = Table::write(path, Rows::Doubles, rows, FRAGMENTS).await?;
    bench.program.declare(&table, "p", "a * b", &[])?;
    let refresh = bench.program.refresh(&table, &[])?;
    let wrong = table.count("p IS NULL OR p <> a * b").await?;
    ensure!(wrong == 0, "{wrong} rows are wrong");
    let what = format!("Soak: peak memory for {} million rows", rows / 1_000_000);
    let target = Target::AtMost((1_u64 << 30) as f64);
    let figure = match refresh.ran.peak_bytes {
        Some(peak) => Figure::new(&what, Unit::Bytes, Nature::Exact, peak as f64, target),
        None => Figure::not_measured(&what, Unit::Bytes, target, "this system does not tell"),
    };
    Ok(Section {
        title: format!(
            "Soak: p = a * b for {} million rows in {FRAGMENTS} fragments",
            rows / 1_000_000
        ),
        text: vec![format!("The fill took {:.1} s.", refresh.ran.seconds)],
        figures: vec![figure],
        ..Section::default()
    })
}
