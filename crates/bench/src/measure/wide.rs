//! Wide: the memory of a fill whose inputs are a megabyte each, in pages as large as their fragments.

use anyhow::{Result, ensure};

use super::{Bench, say};
use crate::report::{Figure, Nature, Section, Target, Unit};
use crate::table::{PICTURE_BYTES, Rows, Table};

const FRAGMENTS: u64 = 3;

pub(crate) async fn measure(bench: &Bench) -> Result<Section> {
    let rows = bench.size(1_500, 600);
    let all = Unit::Bytes.print((rows * PICTURE_BYTES) as f64);
    say(&format!("wide: {all} of pictures"));
    let path = bench.scratch.join("wide.lance");
    let table = Table::write(path, Rows::Pictures, rows, FRAGMENTS).await?;
    let sql = "octet_length(picture)";
    bench.program.declare(&table, "size", sql, &[])?;
    let refresh = bench.program.refresh(&table, &[])?;
    let wrong = format!("size IS NULL OR size <> {PICTURE_BYTES}");
    let wrong = table.count(&wrong).await?;
    ensure!(wrong == 0, "{wrong} rows are wrong");
    let what = format!("Wide: peak memory for {all} of inputs");
    let target = Target::AtMost((1_u64 << 30) as f64);
    let figure = match refresh.ran.peak_bytes {
        Some(peak) => Figure::new(&what, Unit::Bytes, Nature::Exact, peak as f64, target),
        None => Figure::not_measured(&what, Unit::Bytes, target, "this system does not tell"),
    };
    Ok(Section {
        title: format!("Wide: {sql} of a megabyte each"),
        text: vec![
            format!("{rows} rows in {FRAGMENTS} fragments, the values in an ordinary binary column; each fragment was written at once, so its values are one page."),
            "What is in memory is bounded by bytes, not by rows or pages: Lance's own scan of such a column needs more than its largest page.".to_owned(),
        ],
        figures: vec![figure],
        ..Section::default()
    })
}
