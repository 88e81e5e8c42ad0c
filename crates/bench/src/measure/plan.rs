//! Plan: what finding out that nothing is to be done takes on a settled table of many fragments.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use super::{Bench, bar, say};
use crate::alone::Alone;
use crate::child;
use crate::opened::{self, Kind};
use crate::plot::{Chart, Owner};
use crate::report::{Figure, Nature, Section, Target, Unit};
use crate::stats::Samples;
use crate::table::{Rows, Table};

const FRAGMENT_ROWS: u64 = 10;
/// What a plan of a settled table may open, each once, and the ledger's tail.
const ALLOWED: [Kind; 3] = [Kind::Manifest, Kind::Snapshot, Kind::Ledger];

pub(crate) async fn measure(bench: &Bench) -> Result<Section> {
    let fragments = bench.size(100_000, 400);
    say(&format!("plan: filling a table of {fragments} fragments"));
    let path = bench.scratch.join("plan.lance");
    let rows = fragments * FRAGMENT_ROWS;
    let table = Table::write(path, Rows::Doubles, rows, fragments).await?;
    bench.program.declare(&table, "p", "a * b", &[])?;
    let fill = bench.program.refresh(&table, &[])?;
    say(&format!("  filled in {:.0} s", fill.ran.seconds));
    let uri = table.uri();
    let (mut starts, mut plans, mut opens) =
        (Samples::default(), Samples::default(), Samples::default());
    let mut peak = Samples::default();
    for round in bench.rounds() {
        let start = bench.program.start()?;
        let plan = child::run(&mut bench.program.command(&["plan", &uri]))?;
        let unsettled = plan.number("/columns/0/fragments_unsettled")?;
        ensure!(unsettled == 0.0, "{unsettled} fragments are not settled");
        let open = Alone::Open {
            table: table.path.clone(),
        };
        let open = child::run(&mut open.command()?)?.number("/seconds")?;
        say(&format!(
            "  round {round}: plan {:.3} s, open {open:.3} s",
            plan.seconds - start
        ));
        if round > 0 {
            starts.push(start);
            plans.push(plan.seconds - start);
            opens.push(open);
            peak.push(plan.peak_bytes.map_or(f64::NAN, |bytes| bytes as f64));
        }
    }
    let ours = opened::count(&bench.program.command(&["plan", &uri]), &table.path)?;
    let lance = Alone::Open {
        table: table.path.clone(),
    };
    let lance = opened::count(&lance.command()?, &table.path)?;
    let mut section = Section {
        title: format!(
            "Plan: a settled table of {} fragments, from a cold process",
            Unit::Count.print(fragments as f64)
        ),
        text: vec![
            "The table was filled by one refresh, then nothing changed.".to_owned(),
            "\"Cold\" is the process; the system has the files in memory, for both.".to_owned(),
            format!("Peak memory of the plan: {}.", super::bytes(&peak)),
        ],
        figures: vec![Figure::new(
            "Cold plan of a settled table: time, of that which Lance takes to open it",
            Unit::Times,
            Nature::Timing,
            plans.ratio(&opens).median(),
            Target::AtMost(2.0),
        )],
        head: ["", "Time"].map(str::to_owned).to_vec(),
        rows: vec![
            vec![
                "`lance-backfill plan`, beyond process start".to_owned(),
                Unit::Milliseconds.spread(&plans),
            ],
            vec![
                "Lance opens the newest version".to_owned(),
                Unit::Milliseconds.spread(&opens),
            ],
        ],
        charts: vec![Chart {
            title: "Plan a settled table".to_owned(),
            subtitle: format!(
                "{} fragments, cold process",
                Unit::Count.print(fragments as f64)
            ),
            unit: Unit::Milliseconds,
            bars: vec![
                bar(
                    "plan",
                    Owner::LanceBackfill,
                    &plans,
                    Some(opens.median() * 2.0),
                ),
                bar("Lance opens it", Owner::Limit, &opens, None),
            ],
        }],
    };
    add_files(&mut section, ours, lance);
    Ok(section)
}

type Opened = Result<BTreeMap<Kind, usize>, String>;

fn add_files(section: &mut Section, ours: Opened, lance: Opened) {
    let what = "Cold plan of a settled table: files opened beyond manifest, snapshot and ledger";
    let target = Target::Equals(0.0);
    let (ours, lance) = match (ours, lance) {
        (Ok(ours), Ok(lance)) => (ours, lance),
        (Err(why), _) | (_, Err(why)) => {
            section
                .figures
                .push(Figure::not_measured(what, Unit::Count, target, &why));
            return;
        }
    };
    let beyond: usize = (ours.iter())
        .map(|(kind, opened)| match kind {
            // Lance reads hints and folders by itself, to find the newest version.
            Kind::VersionHint | Kind::Listing => 0,
            Kind::Manifest | Kind::Snapshot => opened.saturating_sub(1),
            kind if ALLOWED.contains(kind) => 0,
            _ => *opened,
        })
        .sum();
    section.figures.push(Figure::new(
        what,
        Unit::Count,
        Nature::Exact,
        beyond as f64,
        target,
    ));
    let list = |opened: &BTreeMap<Kind, usize>| {
        let names: Vec<String> = (opened.iter())
            .map(|(kind, count)| format!("{} {count}", kind.name()))
            .collect();
        names.join(", ")
    };
    section.text.push(format!(
        "Different files that the plan opens below the table, by `strace`: {}.",
        list(&ours)
    ));
    section
        .text
        .push(format!("The same for Lance alone: {}.", list(&lance)));
}
