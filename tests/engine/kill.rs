//! kill -9 at any moment, and a refresh afterwards: nothing is lost, nothing is wrong, and nothing is
//! computed again that was finished.

use std::process::{Child, Stdio};
use std::time::Duration;

use crate::fill::product;
use crate::support::dice::Dice;
use crate::support::program::{command, say, setting};
use crate::support::watch::{CheckpointLog, rows_called};
use crate::support::{Row, Scenario, Shape};

mod stage;
mod strike;

use stage::{Before, STAGES, Stage};
use strike::{Moment, refresh_and_kill};

/// Asks for more kills than the ordinary run has.
const KILLS: &str = "LANCE_BACKFILL_KILLS";
/// Kills at random moments in an ordinary run, beside those that are aimed at a stage.
const RANDOM_KILLS: u64 = 6;
/// In each stage there must be at least so many kills.
const KILLS_PER_STAGE: u64 = 3;
/// A stage that is not hit after so many attempts a wanted kill is a failure.
const ATTEMPTS_PER_KILL: u64 = 12;

/// Work that a foreign writer or an edit makes.
struct Change {
    rows: u64,
    /// Rows per batch: below a fragment's rows, so that there are parts and folds, or not.
    batch_rows: &'static str,
}

/// A column `p` = `a * b + addend` that is settled before each kill and after it.
struct Victim {
    scenario: Scenario,
    addend: i64,
    rows: u64,
    kills: Vec<Stage>,
}

impl Victim {
    async fn new(shape: Shape) -> Self {
        let scenario = Scenario::standard(shape.fragments_of(150), 600).await;
        scenario.add("p", "a * b", &[]);
        scenario.refresh();
        Self {
            scenario,
            addend: 0,
            rows: 600,
            kills: vec![],
        }
    }

    async fn append(&mut self, batch_rows: &'static str) -> Change {
        self.scenario.append(100).await;
        self.rows += 100;
        Change {
            rows: 100,
            batch_rows,
        }
    }

    fn recompute(&mut self, batch_rows: &'static str) -> Change {
        self.addend += 1;
        let sql = format!("a * b + {}", self.addend);
        (self.scenario).alter("p", &["--sql", &sql, "--on-change", "recompute_all"]);
        Change {
            rows: self.rows,
            batch_rows,
        }
    }

    /// Kills a refresh, looks at what it left, and refreshes to the end.
    async fn kill(&mut self, change: Change, moment: Moment) -> Stage {
        let scenario = &self.scenario;
        let before = Before::of(scenario).await;
        let options = ["--batch-rows", change.batch_rows];
        // A kill that comes late finds checkpoint manifests collected: they are noted as they appear.
        let log = CheckpointLog::start(scenario);
        refresh_and_kill(scenario, &options, moment, &before);
        let seen = rows_called(&log.finish());
        let mut scene = before.examine(scenario).await;
        scene.rows_finished = scene.rows_finished.max(seen);
        say(&format!(
            "kill {:>3}: {moment}: {scene}",
            self.kills.len() + 1
        ));
        self.kills.push(scene.stage);
        let log = CheckpointLog::start(scenario);
        let report = scenario.refresh_with(&options);
        let again = rows_called(&log.finish());
        // What was collected before it was noted makes the bound wider, never narrower.
        let unfinished = change.rows - scene.rows_finished;
        assert!(
            again <= unfinished && report.assigned("p") <= unfinished,
            "{again} rows computed: only what had no checkpoint manifest may be: {scene}"
        );
        let addend = self.addend;
        let expected = |row: &Row| Some(product(row)? + addend);
        let rows = scenario.check_int("p", expected).await as u64;
        assert_eq!(rows, self.rows);
        let report = scenario.expect_rest().await;
        assert_eq!(report.column("p").rows_current, rows, "no row is lost");
        scene.stage
    }

    fn count(&self, stage: Stage) -> u64 {
        self.kills.iter().filter(|kill| **kill == stage).count() as u64
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_refresh_loses_nothing_and_repeats_nothing_in_any_stage() {
    let mut dice =
        Dice::for_test("a_killed_refresh_loses_nothing_and_repeats_nothing_in_any_stage");
    let wanted = setting(KILLS).unwrap_or(RANDOM_KILLS + 5 * KILLS_PER_STAGE);
    let per_stage = KILLS_PER_STAGE.max(wanted / 10);
    let shape = Shape {
        stable_row_ids: dice.roll(2) == 0,
        ..Shape::default()
    };
    let mut victim = Victim::new(shape).await;
    // How long the work takes that is going to be killed.
    let change = victim.recompute("40");
    let longest = strike::duration(&victim.scenario, &["--batch-rows", change.batch_rows]);
    say(&format!(
        "{wanted} kills, {shape:?}; a whole refresh takes {} ms",
        longest.as_millis()
    ));
    for stage in STAGES {
        let mut attempts = 0;
        while victim.count(stage) < per_stage {
            attempts += 1;
            assert!(
                attempts <= per_stage * ATTEMPTS_PER_KILL,
                "no kill hits the stage '{stage}'"
            );
            let change = match dice.roll(3) {
                0 => victim.recompute("1000"),
                1 => victim.recompute("40"),
                _ => victim.append("1000").await,
            };
            victim.kill(change, Moment::Sight(stage)).await;
        }
    }
    let mut random = 0;
    while random < RANDOM_KILLS || (victim.kills.len() as u64) < wanted {
        random += 1;
        let change = match dice.roll(4) {
            0 => victim.recompute("1000"),
            1 | 2 => victim.recompute("40"),
            _ => victim.append("40").await,
        };
        let longest = u64::try_from(longest.as_micros()).expect("microseconds");
        let life = Duration::from_micros(dice.roll(longest + longest / 8));
        victim.kill(change, Moment::After(life)).await;
    }
    say(&format!(
        "{} kills, {random} of them at random, by stage:",
        victim.kills.len()
    ));
    for stage in [Stage::Start].iter().chain(&STAGES).chain(&[Stage::Over]) {
        say(&format!("{:>6}  {stage}", victim.count(*stage)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_of_columns_survives_kills_between_deletes_appends_and_edits() {
    let mut dice =
        Dice::for_test("a_chain_of_columns_survives_kills_between_deletes_appends_and_edits");
    let kills = setting(KILLS).map_or(RANDOM_KILLS, |kills| kills / 4);
    let shape = Shape {
        stable_row_ids: dice.roll(2) == 0,
        ..Shape::default()
    };
    let scenario = Scenario::standard(shape.fragments_of(150), 600).await;
    scenario.add("p", "a * b", &[]);
    scenario.add("q", "p + 1", &["--where", "id % 3 <> 1"]);
    let before = Before::of(&scenario).await;
    let longest = strike::duration(&scenario, &["--batch-rows", "40"]);
    let longest = u64::try_from(longest.as_micros()).expect("microseconds");
    let mut addend = 0;
    for _ in 0..kills {
        match dice.roll(4) {
            0 => {
                addend += 1;
                let sql = format!("a * b + {addend}");
                scenario.alter("p", &["--sql", &sql, "--on-change", "recompute_all"]);
            }
            1 => {
                let rest = dice.roll(97);
                scenario.delete(&format!("id % 97 = {rest}")).await;
            }
            _ => scenario.append(100).await,
        }
        let batch_rows = dice.pick(&["10", "40", "1000"]);
        let life = Duration::from_micros(dice.roll(longest));
        let options = ["--batch-rows", batch_rows];
        refresh_and_kill(&scenario, &options, Moment::After(life), &before);
    }
    scenario.refresh_with(&["--batch-rows", "40"]);
    let shifted = |row: &Row| Some(product(row)? + addend);
    let rows = scenario.check_int("p", shifted).await as u64;
    let next = |row: &Row| Some(shifted(row)? + 1).filter(|_| row.id() % 3 != 1);
    scenario.check_int("q", next).await;
    let report = scenario.expect_rest().await;
    assert_eq!(report.column("p").rows_current, rows, "no row is lost");
}

/// Starts a refresh whose output is of interest.
fn start(scenario: &Scenario, options: &[&str]) -> Child {
    command(&scenario.arguments(&["refresh"], options))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminated_refresh_says_so_and_can_be_resumed() {
    let scenario = Scenario::standard(Shape::default().fragments_of(300), 3_000).await;
    scenario.add("p", "a * b", &[]);
    let mut child = start(&scenario, &["--batch-rows", "2", "--workers", "1"]);
    // Once a batch has ended, the refresh is at work.
    let started = || {
        (scenario.state_files().keys()).any(|path| path.to_string_lossy().contains("checkpoints"))
    };
    while !started() {
        assert!(child.try_wait().expect("a child").is_none(), "it ended");
        std::thread::sleep(Duration::from_millis(5));
    }
    let killed = std::process::Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status()
        .expect("kill");
    assert!(killed.success());
    let output = child.wait_with_output().expect("ends");
    assert_eq!(output.status.code(), Some(143), "{output:?}");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("run the command again"), "{stderr}");
    scenario.refresh();
    scenario.check_int("p", product).await;
    scenario.expect_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_that_were_finished_before_a_kill_are_folded_and_not_computed_again() {
    for shape in Shape::both() {
        let scenario = Scenario::standard(shape.fragments_of(1_000), 2_000).await;
        scenario.add("p", "a * b", &[]);
        let before = Before::of(&scenario).await;
        let mut child = start(&scenario, &["--batch-rows", "10", "--workers", "1"]);
        // Some parts of a fragment have a checkpoint manifest, their siblings are in flight.
        while before.checkpoints_since(&scenario) < 20 {
            assert!(child.try_wait().expect("a child").is_none(), "it ended");
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().expect("kills");
        child.wait().expect("ends");
        let scene = before.examine(&scenario).await;
        let finished = scene.rows_finished;
        assert!((200..2_000).contains(&finished), "{scene}");
        let status = scenario.status();
        let current = status.column("p").rows_current;
        assert_eq!(status.column("p").rows_remaining, 2_000 - current);
        let log = CheckpointLog::start(&scenario);
        let report = scenario.refresh_with(&["--batch-rows", "10"]);
        assert!(rows_called(&log.finish()) <= 2_000 - finished, "{scene}");
        assert_eq!(report.column("p").rows_current, 2_000);
        scenario.check_int("p", product).await;
        scenario.expect_rest().await;
    }
}
