//! kill -9 at any moment, and a refresh afterwards: nothing is lost, nothing is wrong.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::process::Stdio;
use std::time::Duration;

use crate::fill::product;
use crate::support::program::{command, setting};
use crate::support::{Scenario, Shape};

/// Runs that are killed in the ordinary test; `LANCE_BACKFILL_TEST_KILLS` asks for more.
const KILLS: u64 = 12;
/// A full refresh of the scenario takes a few hundred milliseconds: kills fall anywhere in it.
const LONGEST_LIFE_US: u64 = 400_000;

/// Numbers that a seed decides (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }
}

fn seed() -> u64 {
    setting("LANCE_BACKFILL_TEST_SEED")
        .unwrap_or_else(|| RandomState::new().build_hasher().finish())
}

/// Starts a refresh and kills it after a while; says whether it was still running.
fn refresh_and_kill(scenario: &Scenario, batch_rows: &str, after: Duration) -> bool {
    let mut child = command(&scenario.arguments(&["refresh"], &["--batch-rows", batch_rows]))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    // The moment is the point of the test.
    std::thread::sleep(after);
    let running = child.try_wait().expect("a child").is_none();
    child.kill().expect("kills");
    child.wait().expect("ends");
    running
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_refresh_loses_nothing() {
    let seed = seed();
    eprintln!("repeat with LANCE_BACKFILL_TEST_SEED={seed}");
    let mut dice = Dice(seed);
    let kills = setting("LANCE_BACKFILL_TEST_KILLS").unwrap_or(KILLS);
    let shape = Shape {
        stable_row_ids: dice.roll(2) == 0,
        ..Shape::default()
    };
    let scenario = Scenario::standard(shape.fragments_of(150), 600).await;
    scenario.add("p", "a * b", &[]);
    scenario.add("q", "p + 1", &["--where", "id % 3 <> 1"]);
    let mut addend = 0;
    let mut in_time = 0;
    for _ in 0..kills {
        match dice.roll(4) {
            0 => {
                addend += 1;
                let sql = format!("a * b + {addend}");
                scenario.alter("p", &["--sql", &sql, "--on-change", "recompute_all"]);
            }
            1 => {
                scenario
                    .delete(&format!("id % 97 = {}", dice.roll(97)))
                    .await
            }
            _ => scenario.append(100).await,
        }
        let batch_rows = ["10", "40", "1000"][usize::try_from(dice.roll(3)).expect("small")];
        let life = Duration::from_micros(20_000 + dice.roll(LONGEST_LIFE_US));
        in_time += u64::from(refresh_and_kill(&scenario, batch_rows, life));
    }
    eprintln!("{in_time} of {kills} were killed at work");
    scenario.refresh_with(&["--batch-rows", "40"]);
    let shifted = |row: &crate::support::Row| Some(product(row)? + addend);
    let rows = scenario.check_int("p", shifted).await as u64;
    scenario
        .check_int("q", |row| {
            Some(shifted(row)? + 1).filter(|_| row.id() % 3 != 1)
        })
        .await;
    let report = scenario.expect_rest().await;
    assert_eq!(report.column("p").rows_current, rows, "no row is lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminated_refresh_says_so_and_can_be_resumed() {
    let scenario = Scenario::standard(Shape::default().fragments_of(300), 3_000).await;
    scenario.add("p", "a * b", &[]);
    let child =
        command(&scenario.arguments(&["refresh"], &["--batch-rows", "2", "--workers", "1"]))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
    // Once a batch has ended, the refresh is at work.
    let started = || {
        (scenario.state_files().keys()).any(|path| path.to_string_lossy().contains("checkpoints"))
    };
    while !started() {
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
