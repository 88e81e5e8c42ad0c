//! One seed from the first row to the last check.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::ensure;
use arrow_schema::DataType;
use lance_backfill_core::definition::BINDING_KEY;
use lance_backfill_ports::state_store::StateStore;
use lance_backfill_ports::table::{Edit, EditOutcome, NewColumn, Table};
use lance_backfill_stages::survey::{Survey, Unsettled};
use lance_backfill_testkit::{ManualClock, MemStateStore, MemTable, Random};

use crate::column::{BINDING, Product};
use crate::foreigner::{Foreigner, Hardship, rows};
use crate::process::Process;
use crate::trace::Trace;

/// Rows of the first fragments, three of them.
const FIRST_ROWS: i64 = 20;

pub(crate) struct Run {
    seed: u64,
    hardship: Hardship,
    trace: Trace,
}

impl Run {
    pub(crate) fn new(seed: u64, hardship: Hardship, trace: &Trace) -> Self {
        Self {
            seed,
            hardship,
            trace: trace.clone(),
        }
    }

    /// Plays the seed; an error says what went wrong.
    pub(crate) async fn play(self) -> anyhow::Result<()> {
        let Self {
            seed,
            hardship,
            trace,
        } = self;
        let mut random = Random::new(seed);
        let stable_row_ids = random.below(2) == 0;
        let filtered = random.below(3) == 0;
        trace.tell(format!("stable ids {stable_row_ids}, filter {filtered}"));
        let table = table(random.next_u64(), stable_row_ids).await?;
        let clock = ManualClock::at(1_000_000);
        let state = MemStateStore::new(clock.clone());
        let function = Arc::new(Product::default());
        let process = |name, seed| {
            let shared = (&table, &state, &clock);
            Process::new(name, seed, shared, filtered, &function, &trace)
        };
        let mut one = process("one", random.next_u64());
        let mut two = process("two", random.next_u64());
        let mut last = process("last", random.next_u64());
        last.begin().await?;
        let mut others = Foreigner::new(&table, random.next_u64(), 3 * FIRST_ROWS, &trace);
        for _ in 0..1 + random.below(3) {
            let (steps, times) = (2 + random.below(12), random.below(6));
            let together = async {
                let all =
                    futures::join!(one.run(steps), two.run(steps), others.run(times, hardship));
                all.0.and(all.1).and(all.2)
            };
            Box::pin(together).await?;
            Box::pin(settle(&mut last, &others, filtered)).await?;
            match random.below(8) {
                0 | 1 => others.correct().await?,
                2 => {
                    trace.tell("other cleans up");
                    table.clean_up()?;
                }
                4 if !filtered => {
                    trace.tell("somebody orders all rows again");
                    if random.below(2) == 0 {
                        // What nobody of ours noticed yet is ordered again too.
                        others.supply().await?;
                    }
                    last.order().await?;
                    others.give_up_corrections();
                }
                3 if hardship == Hardship::LostState => {
                    trace.tell("the state is lost");
                    lose(&state).await?;
                    others.forget_origins();
                    Box::pin(settle(&mut last, &others, filtered)).await?;
                }
                _ => {}
            }
        }
        Box::pin(settle(&mut last, &others, filtered)).await?;
        Box::pin(compaction_is_free(&mut last, &mut others, &function)).await?;
        Box::pin(settle(&mut last, &others, filtered)).await
    }
}

async fn table(seed: u64, stable_row_ids: bool) -> anyhow::Result<MemTable> {
    let fragments = [0, 1, 2].map(|place| rows(place * FIRST_ROWS, FIRST_ROWS));
    let fragments = fragments.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    let table = MemTable::create("memory", seed, &fragments, stable_row_ids)?;
    let column = NewColumn {
        name: "p".to_owned(),
        data_type: DataType::Int64,
        metadata: BTreeMap::from([(BINDING_KEY.to_owned(), BINDING.to_owned())]),
    };
    let columns = vec![column];
    let added = table.edit(&Edit::AddColumns { columns }).await?;
    ensure!(matches!(added, EditOutcome::Done { .. }), "{added:?}");
    Ok(table)
}

/// Deletes all of the state.
async fn lose(state: &MemStateStore) -> anyhow::Result<()> {
    for object in state.list("").await? {
        state.delete(&object.path).await?;
    }
    Ok(())
}

/// Converges, and compares with the model.
async fn settle(last: &mut Process, others: &Foreigner, filtered: bool) -> anyhow::Result<()> {
    let survey = last.converge().await?;
    let remaining = survey.counts.remaining();
    ensure!(
        remaining == 0,
        "{remaining} rows remain: {:?}; {}",
        survey.counts,
        stuck(&survey)
    );
    let wrong = others.differences(filtered).await?;
    ensure!(wrong.is_empty(), "{}", wrong.join("; "));
    Ok(())
}

/// Where rows are that nobody hands out.
fn stuck(survey: &Survey) -> String {
    let told = |(fragment, found): (&u64, &Unsettled)| {
        format!(
            "fragment {fragment}: in need {:?}, open {:?}, done {:?}, parts {:?} of {:?}, fold open {}, {} finished",
            found.state.in_need(),
            found.open,
            found.done,
            found.parts,
            found.part_rows,
            found.fold_open,
            found.finished.len()
        )
    };
    let all: Vec<String> = survey.unsettled.iter().map(told).collect();
    all.join("; ")
}

/// *No needless work*: a compaction of settled rows computes nothing.
async fn compaction_is_free(
    last: &mut Process,
    others: &mut Foreigner,
    function: &Arc<Product>,
) -> anyhow::Result<()> {
    let before = function.rows();
    others.compact().await?;
    last.converge().await?;
    let computed = function.rows() - before;
    ensure!(
        computed == 0,
        "a compaction made {computed} rows compute again"
    );
    Ok(())
}
