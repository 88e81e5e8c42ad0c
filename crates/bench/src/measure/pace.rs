//! Pace: how often a long fill commits.

use anyhow::{Context, Result, ensure};

use super::{Bench, say};
use crate::report::{Figure, Nature, Section, Target, Unit};
use crate::table::{Rows, Table};

const FRAGMENTS: u64 = 40;
/// Expensive enough that the fill takes several intervals between commits.
const SQL: &str = "character_length(concat(\
    encode(sha512(CAST(a AS string)), 'hex'), encode(sha512(CAST(b AS string)), 'hex')))";

pub(crate) async fn measure(bench: &Bench) -> Result<Section> {
    let rows = bench.size(8_000_000, 80_000);
    say(&format!("pace: a slow expression on {rows} rows"));
    let path = bench.scratch.join("pace.lance");
    let table = Table::write(path, Rows::Doubles, rows, FRAGMENTS).await?;
    bench.program.declare(&table, "p", SQL, &[])?;
    let before = table.open().await?.version_id();
    let batch = (rows / FRAGMENTS).to_string();
    let refresh = bench.program.refresh(&table, &["--batch-rows", &batch])?;
    let missing = table.count("p IS NULL").await?;
    ensure!(missing == 0, "{missing} rows have no value");
    let seconds = refresh.ran.seconds;
    let commits = table.commits_after(before).await?;
    // The last commit publishes the rest, whenever that is.
    let paced = commits.len().saturating_sub(1);
    let first_to_last =
        commits.last().context("a commit")? - commits.first().context("a commit")?;
    let batches = refresh.ran.number("/columns/0/batches")?;
    let rate = paced as f64 / (seconds / 2.0);
    Ok(Section {
        title: "Pace: commits of a long fill".to_owned(),
        text: vec![
            format!("{rows} rows in {FRAGMENTS} fragments and {batches} batches, with an expression that digests strings, took {seconds:.1} s and {} commits; from the first to the last commit went by {first_to_last:.1} s.", commits.len()),
            "Each commit writes the whole manifest and makes readers look again, so there is at most one in two seconds; the last one publishes the rest and does not count.".to_owned(),
        ],
        figures: vec![Figure::new(
            "Bulk: commits in 2 s",
            Unit::Times,
            Nature::Exact,
            rate,
            Target::AtMost(1.0),
        )],
        ..Section::default()
    })
}
