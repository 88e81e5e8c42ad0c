//! Hosts and workers that are killed from outside, at random moments: the table is as if they were not.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::dice::Dice;
use crate::support::program::{say, setting};
use crate::support::{Functions, Report, Row, Scenario, Shape};

const CODE: &str = r#"
@udf
def scalar(id: int) -> int:
    note("row", id)
    time.sleep(0.002)
    return id * 3

@udf(data_type=pa.int64(), batch_size=20)
def batched(id: pa.Array) -> pa.Array:
    for row in id.to_pylist(): note("row", row)
    time.sleep(0.02)
    return pc.multiply(id, 3)
"#;

/// Kills in the ordinary run; the soak sets more.
const KILLS: u64 = 8;
const ROWS: i64 = 400;

/// Processes whose parent this is.
fn children(parent: u32) -> Vec<u32> {
    let path = format!("/proc/{parent}/task/{parent}/children");
    let all = |task: &Path| std::fs::read_to_string(task.join("children")).unwrap_or_default();
    let tasks = std::fs::read_dir(format!("/proc/{parent}/task"));
    let mut found = std::fs::read_to_string(path).unwrap_or_default();
    for task in tasks.into_iter().flatten().flatten() {
        found += &all(&task.path());
    }
    let mut found: Vec<u32> = found
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

fn kill(pid: u32) {
    // One that is gone already is as dead.
    let _ = Command::new("kill")
        .args(["-9", &pid.to_string()])
        .stderr(Stdio::null())
        .status();
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_hosts_and_workers_cost_nothing_but_time() {
    let mut dice = Dice::for_test("killed_hosts_and_workers_cost_nothing_but_time");
    let wanted = setting("LANCE_BACKFILL_KILLS")
        .map_or(KILLS, |kills| kills / 2)
        .max(KILLS);
    let (mut hosts, mut workers) = (0, 0);
    for round in 0..wanted {
        let Some(functions) = Functions::new(CODE) else {
            return;
        };
        let function = dice.pick(&["scalar", "batched"]);
        let shape = Shape::default().fragments_of(dice.pick(&[100, 400]));
        let scenario = Scenario::standard(shape, ROWS).await;
        functions.add(&scenario, "p", function, &[]);
        let batch_rows = dice.pick(&["30", "1000"]);
        let mut worker = functions
            .command(&scenario, &["refresh"], &["--batch-rows", batch_rows])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary starts");
        std::thread::sleep(Duration::from_millis(300 + dice.roll(900)));
        let of_host = dice.roll(2) == 0;
        match (of_host, children(worker.id()).as_slice()) {
            (true, all @ [_, ..]) => {
                hosts += 1;
                kill(all[usize::try_from(dice.roll(all.len() as u64)).expect("small")]);
                worker.wait().expect("ends");
            }
            _ => {
                workers += 1;
                worker.kill().expect("kills");
                worker.wait().expect("ends");
                functions.take_log();
                let finished = rows_finished(&scenario);
                // A host may outlive its worker by the second after which it looks for it.
                std::thread::sleep(Duration::from_millis(1_500));
                functions.take_log();
                let outcome = functions.run(&scenario, &["refresh"], &[]).expect_code(0);
                let called = functions.calls().len() as u64;
                assert!(
                    called + finished <= u64::try_from(ROWS).expect("rows"),
                    "round {round}: {called} rows called, {finished} had a checkpoint manifest"
                );
                Report::read(outcome.json());
            }
        }
        functions.run(&scenario, &["refresh"], &[]).expect_code(0);
        scenario
            .check_int("p", |row: &Row| Some(row.id() * 3))
            .await;
        assert_eq!(
            scenario.failures("p"),
            [],
            "round {round}: a kill is no row's fault"
        );
        scenario.expect_rest().await;
    }
    say(&format!("{hosts} hosts and {workers} workers killed"));
}

/// Rows whose results are safe: published, or named by a checkpoint manifest.
fn rows_finished(scenario: &Scenario) -> u64 {
    let status = scenario.status();
    let plan = scenario.plan("p");
    let column = status.column("p");
    // What is neither in need nor in flight is finished.
    let open = plan["rows_in_flight"].as_u64().expect("a number");
    column.rows_total - column.rows_remaining.max(open)
}
