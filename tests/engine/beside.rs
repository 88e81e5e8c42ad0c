//! Readers and a compaction beside a fill that takes its time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::fill::product;
use crate::support::program::{Outcome, run, say, setting};
use crate::support::watch::{CheckpointLog, rows_called};
use crate::support::{Report, Row, Scenario, Shape};

/// Asks for longer fills, in seconds.
const SOAK_S: &str = "LANCE_BACKFILL_SOAK_S";
/// How long a fill takes in an ordinary run: long enough for some commits and compactions.
const FILL_S: u64 = 7;
/// The engine's least time between two commits in bulk; also how often others compact.
const INTERVAL: Duration = Duration::from_secs(2);
/// Rows of a fragment and of a batch: one fragment at a time can be published.
const FRAGMENT: i64 = 50;
const OPTIONS: [&str; 4] = ["--batch-rows", "50", "--workers", "1"];

#[expect(
    clippy::disallowed_methods,
    reason = "how long the real program takes is measured by the real clock"
)]
fn now() -> Instant {
    Instant::now()
}

/// `a * b`, or -1 where that is NULL, and as much pointless work per row as `repeats` says.
fn slow(repeats: u64, addend: i64) -> String {
    format!("coalesce(a * b, -1) + length(md5(repeat(s, {repeats}))) - 32 + {addend}")
}

fn value(row: &Row) -> i64 {
    product(row).unwrap_or(-1)
}

/// How often a text has to be repeated for one worker to need this long for a row.
async fn repeats_for(per_row: Duration) -> u64 {
    let (rows, repeats) = (64, 100_000);
    let scenario = Scenario::standard(Shape::default(), rows).await;
    let mut took = [0, repeats].map(|repeats| {
        scenario.run(&["column", "drop"], &["p", "--drop-values"]);
        scenario.add("p", &slow(repeats, 0), &[]);
        let started = now();
        scenario.refresh_with(&["--workers", "1"]);
        started.elapsed()
    });
    took.reverse();
    let work = took[0]
        .saturating_sub(took[1])
        .max(Duration::from_millis(1));
    let each = work.as_secs_f64() / f64::from(i32::try_from(rows).expect("few"));
    let factor = per_row.as_secs_f64() / each;
    // Chunks of rows are held in memory, so a text has its limits. On a machine that does much else the
    // difference may come out too large, and the fill would be over before anything happens beside it.
    ((repeats as f64 * factor) as u64).clamp(400_000, 1_000_000)
}

/// A table whose fill takes about so many seconds, and the expression that makes it take them.
async fn sluggish(shape: Shape, seconds: u64) -> (Scenario, u64) {
    let rows = FRAGMENT * 40 * i64::try_from(seconds.div_ceil(20)).expect("few");
    let scenario = Scenario::standard(shape.fragments_of(50), rows).await;
    let per_row = Duration::from_secs(seconds).div_f64(rows as f64);
    (scenario, repeats_for(per_row).await)
}

/// A refresh in a process of its own, and how long it took.
fn refreshing(scenario: &Arc<Scenario>) -> tokio::task::JoinHandle<(Outcome, Duration)> {
    let scenario = scenario.clone();
    tokio::task::spawn_blocking(move || {
        let started = now();
        let outcome = run(&scenario.arguments(&["refresh"], &OPTIONS));
        (outcome, started.elapsed())
    })
}

/// Scans the newest version again and again: each row is `old` or `new`, and new rows stay new.
async fn read_along(
    scenario: Arc<Scenario>,
    done: Arc<AtomicBool>,
    old: impl Fn(&Row) -> Option<i64>,
    new: impl Fn(&Row) -> Option<i64>,
) -> (usize, usize) {
    let (mut scans, mut mixed) = (0, 0);
    let mut seen: BTreeMap<i64, bool> = BTreeMap::new();
    loop {
        let last = done.load(Ordering::Acquire);
        let rows = scenario.rows().await;
        let mut fresh = 0;
        for row in &rows {
            let found = row.int("p");
            let is_new = found == new(row);
            assert!(is_new || found == old(row), "neither old nor new: {row:?}");
            let was_new = seen.insert(row.id(), is_new);
            assert!(is_new || was_new != Some(true), "old again: {row:?}");
            fresh += usize::from(is_new);
        }
        scans += 1;
        mixed += usize::from(fresh > 0 && fresh < rows.len());
        if last {
            return (scans, mixed);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_in_a_loop_sees_each_row_old_or_new_and_commits_are_paced() {
    let seconds = setting(SOAK_S).map_or(FILL_S, |soak| soak / 4);
    let (scenario, repeats) = sluggish(Shape::default(), seconds).await;
    let rows = scenario.rows().await.len();
    scenario.add("p", &slow(repeats, 0), &[]);
    let scenario = Arc::new(scenario);
    let mut watched = 0;
    for turn in 0..2 {
        if turn == 1 {
            let sql = slow(repeats, 1);
            scenario.alter("p", &["--sql", &sql, "--on-change", "recompute_all"]);
        }
        let version = scenario.version().await;
        let done = Arc::new(AtomicBool::new(false));
        let reader = tokio::spawn(read_along(
            scenario.clone(),
            done.clone(),
            move |row| (turn == 1).then(|| value(row)),
            move |row| Some(value(row) + turn),
        ));
        let (outcome, took) = refreshing(&scenario).await.expect("runs");
        done.store(true, Ordering::Release);
        let (scans, mixed) = reader.await.expect("no scan fails");
        let report = Report::read(outcome.expect_code(0).json());
        assert_eq!(report.assigned("p"), rows as u64);
        let commits = scenario.version().await - version;
        say(&format!(
            "{scans} scans beside a fill of {} ms with {commits} commits; {mixed} saw old and new rows",
            took.as_millis()
        ));
        let most = took.as_millis() / INTERVAL.as_millis() + 1;
        assert!(u128::from(commits) <= most, "{commits} in {took:?}");
        watched += mixed;
        scenario.check_int("p", |row| Some(value(row) + turn)).await;
        scenario.expect_rest().await;
    }
    // After a slow commit the next one may be far off: not each fill has one on the way.
    assert!(watched > 0, "no scan fell between two commits of a fill");
}

#[tokio::test(flavor = "multi_thread")]
async fn compaction_every_two_seconds_during_a_fill_costs_no_computed_row_with_stable_row_ids() {
    compact_during_a_fill(Shape::stable()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn compaction_every_two_seconds_during_a_fill_costs_no_computed_row_without_them_either() {
    compact_during_a_fill(Shape::default()).await;
}

async fn compact_during_a_fill(shape: Shape) {
    let seconds = setting(SOAK_S).unwrap_or(FILL_S);
    let (scenario, repeats) = sluggish(shape, seconds).await;
    let mut rows = scenario.rows().await.len() as u64;
    scenario.add("p", &slow(repeats, 0), &[]);
    let scenario = Arc::new(scenario);
    let log = CheckpointLog::start(&scenario);
    let fill = refreshing(&scenario);
    let (mut tried, mut compacted) = (0, 0);
    loop {
        std::thread::sleep(INTERVAL);
        // Three times as long as it takes undisturbed: a fill that makes no progress ends then.
        if fill.is_finished() || tried * INTERVAL.as_secs() > seconds * 3 {
            break;
        }
        // Small fragments: a compaction always finds something to do.
        scenario.append(FRAGMENT).await;
        rows += FRAGMENT as u64;
        tried += 1;
        // A compaction that loses a race gives up, as its user would see it.
        if scenario.try_compact().await.unwrap_or(false) {
            compacted += 1;
        }
    }
    let (outcome, took) = fill.await.expect("runs");
    assert!([0, 1].contains(&outcome.code), "{outcome:#?}");
    Report::read(outcome.json());
    scenario.refresh();
    let computed = rows_called(&log.finish());
    say(&format!(
        "{compacted} of {tried} compactions succeeded beside a fill of {} ms, {shape:?}: {computed} \
         rows computed for {rows} in the table",
        took.as_millis()
    ));
    assert_eq!(
        scenario.check_int("p", |row| Some(value(row))).await as u64,
        rows
    );
    scenario.expect_rest().await;
    assert!(compacted >= 1, "a compaction succeeds");
    assert!(computed <= rows, "no row is computed twice: {computed}");
}
