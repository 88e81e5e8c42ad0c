//! Jobs: a chosen part of a column computed by hand, called off, taken up again.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::fill::product;
use crate::support::program::{Outcome, command};
use crate::support::serving::{Serving, eventually};
use crate::support::table::{batch, ints, standard};
use crate::support::{Report, Scenario, Shape};

/// How often we look before something that must happen within seconds counts as not happening.
const LOOKS: u32 = 1_000;
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

fn backfill(scenario: &Scenario, options: &[&str]) -> Value {
    let mut all = vec!["p"];
    all.extend_from_slice(options);
    let outcome = scenario.run(&["backfill"], &all).expect_code(0);
    let document = outcome.json();
    Report::read(document.clone());
    document
}

fn assigned(document: &Value) -> u64 {
    document["columns"][0]["rows_assigned"]
        .as_u64()
        .expect("a number")
}

fn jobs(scenario: &Scenario) -> Vec<Value> {
    let document = scenario.run(&["jobs", "list"], &[]).expect_code(0).json();
    document["jobs"].as_array().expect("jobs").clone()
}

fn planned(scenario: &Scenario, options: &[&str]) -> u64 {
    let mut all = vec!["--column", "p"];
    all.extend_from_slice(options);
    let document = scenario.run(&["plan"], &all).expect_code(0).json();
    document["columns"][0]["rows_planned"]
        .as_u64()
        .expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filtered_range_is_computed_again_and_nothing_else() {
    for shape in Shape::both() {
        let scenario = Scenario::filled(shape.fragments_of(400), 1_000).await;
        let range = ["--where", "id >= 350 AND id < 450"];
        assert_eq!(planned(&scenario, &range), 0, "no row is in need");
        let none = backfill(&scenario, &range);
        assert_eq!((assigned(&none), &none["job_id"]), (0, &Value::Null));
        let again = [&range[..], &["--recompute"]].concat();
        assert_eq!(planned(&scenario, &again), 100);
        let version = scenario.version().await;
        let done = backfill(&scenario, &again);
        assert_eq!(
            (assigned(&done), &done["rows_selected"]),
            (100, &Value::from(100))
        );
        assert_eq!(done["job_state"], "done");
        assert_eq!(scenario.version().await, version + 1, "one commit");
        scenario.check_int("p", product).await;
        scenario.expect_rest().await;
        // The same rows again, by who made them.
        let job = done["job_id"].as_str().expect("a job");
        let by_job = backfill(&scenario, &["--job", job, "--recompute"]);
        assert_eq!(assigned(&by_job), 100);
        scenario.expect_rest().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_what_the_job_then_takes() {
    let scenario = Scenario::standard(Shape::default().fragments_of(300), 1_000).await;
    scenario.add("p", "a * b", &["--where", "b < 5"]);
    scenario.refresh();
    scenario.append(200).await;
    for options in [
        &["--where", "id % 2 = 0"][..],
        &["--where", "id < 100", "--ignore-filter"],
        &["--where", "id < 100", "--recompute"],
        &[
            "--where",
            "id > 900 AND s LIKE 's9%'",
            "--recompute",
            "--ignore-filter",
        ],
        &["--recompute"],
    ] {
        let rows = planned(&scenario, options);
        let done = backfill(&scenario, options);
        assert_eq!((rows, assigned(&done)), (rows, rows), "{options:?}");
        assert!(rows > 0, "{options:?}");
    }
    scenario.refresh();
    let rest = scenario.expect_rest().await;
    let column = rest.column("p");
    assert_eq!(column.rows_filtered, 1_200 - column.rows_current);
    let filtered_but_computed = |row: &crate::support::Row| {
        let taken = row.int("b") < Some(5)
            || row.id() < 100
            || row.id() > 900 && row.text("s").is_some_and(|s| s.starts_with("s9"));
        product(row).filter(|_| taken)
    };
    scenario.check_int("p", filtered_but_computed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_overrides_what_was_written_before_it_and_not_what_is_written_after() {
    for shape in Shape::both() {
        let scenario = Scenario::filled(shape, 100).await;
        scenario.update("p", "7777", "id IN (10, 11)").await;
        scenario.refresh();
        let kept = |row: &crate::support::Row| match row.id() {
            10 | 11 => Some(7_777),
            _ => product(row),
        };
        scenario.check_int("p", kept).await;
        let done = backfill(&scenario, &["--where", "id = 10", "--recompute"]);
        assert_eq!(assigned(&done), 1);
        let overridden = |row: &crate::support::Row| match row.id() {
            11 => Some(7_777),
            _ => product(row),
        };
        scenario.check_int("p", overridden).await;
        scenario.expect_rest().await;
        scenario.update("p", "8888", "id = 10").await;
        scenario.refresh();
        let corrected = |row: &crate::support::Row| match row.id() {
            10 => Some(8_888),
            11 => Some(7_777),
            _ => product(row),
        };
        scenario.check_int("p", corrected).await;
        scenario.expect_rest().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_overrides_also_what_nobody_looked_at_before_it() {
    for shape in Shape::both() {
        let scenario = Scenario::filled(shape, 100).await;
        scenario.update("p", "7777", "id IN (10, 11)").await;
        let ids = 100..105_i64;
        let mut rows = standard(ids.clone()).columns().to_vec();
        rows.push(ints(ids.map(|_| Some(5_555))));
        let names = ["id", "a", "b", "s", "p"];
        let columns: Vec<_> = names.into_iter().zip(rows).collect();
        scenario.append_batch(batch(&columns)).await;
        let done = backfill(&scenario, &["--where", "id IN (10, 102)", "--recompute"]);
        assert_eq!(assigned(&done), 2);
        let overridden = |row: &crate::support::Row| match row.id() {
            11 => Some(7_777),
            100 | 101 | 103 | 104 => Some(5_555),
            _ => product(row),
        };
        scenario.check_int("p", overridden).await;
        scenario.expect_rest().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_one_generation_are_computed_again() {
    let scenario = Scenario::filled(Shape::default(), 100).await;
    let old = scenario.status().column("p").generations.clone();
    let old = old.keys().next().expect("one generation").clone();
    scenario.alter("p", &["--sql", "a * b + 1"]);
    scenario.append(50).await;
    scenario.refresh();
    let both = scenario.status().column("p").generations.clone();
    assert_eq!((both.len(), both[&old]), (2, 100), "{both:?}");
    let options = ["--generation", &old, "--where", "id < 30", "--recompute"];
    assert_eq!(planned(&scenario, &options), 30);
    assert_eq!(assigned(&backfill(&scenario, &options)), 30);
    let both = scenario.status().column("p").generations.clone();
    assert_eq!(both[&old], 70, "{both:?}");
    let changed = |row: &crate::support::Row| {
        let new = row.id() < 30 || row.id() >= 100;
        Some(product(row)? + i64::from(new))
    };
    scenario.check_int("p", changed).await;
    scenario.expect_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_takes_exactly_the_failed_rows() {
    let scenario = Scenario::standard(Shape::default().fragments_of(30), 70).await;
    scenario.add("p", "100 / b", &["--max-failed-fraction", "1"]);
    let report = scenario.refresh();
    assert_eq!(
        (report.assigned("p"), report.column("p").rows_failed),
        (60, 10)
    );
    scenario.expect_rest().await;
    let outcome = scenario.run(&["retry"], &["p"]).expect_code(0).json();
    assert_eq!(outcome["rows_selected"], 10);
    assert_eq!(
        (&outcome["rows_failed_in_job"], assigned(&outcome)),
        (&Value::from(10), 0)
    );
    assert_eq!(scenario.failures("p").len(), 10);
    scenario.expect_rest().await;
    // With other inputs three of them succeed; the others fail again and stay on record.
    let ids = [0, 7, 14];
    let mended = batch(&[
        ("id", ints(ids.map(Some))),
        ("b", ints(ids.map(|_| Some(4)))),
    ]);
    scenario.patch(mended).await;
    let report = scenario.refresh();
    assert_eq!(
        (report.assigned("p"), report.column("p").rows_failed),
        (3, 7)
    );
    let outcome = scenario.run(&["retry"], &["p"]).expect_code(0).json();
    assert_eq!(outcome["rows_selected"], 7);
    scenario.expect_rest().await;
}

/// Starts a recompute of all rows in very many batches, and waits until its job is known.
fn start(scenario: &Scenario) -> (Child, String) {
    start_with(scenario, &[])
}

fn start_with(scenario: &Scenario, more: &[&str]) -> (Child, String) {
    let options = [&["p", "--recompute", "--batch-rows", "2"], more].concat();
    let mut child = command(&scenario.arguments(&["backfill"], &options))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    for _ in 0..LOOKS {
        let open = jobs(scenario)
            .into_iter()
            .find(|job| job["state"] == "open");
        if let Some(job) = open {
            return (child, job["job_id"].as_str().expect("an id").to_owned());
        }
        std::thread::sleep(BETWEEN_LOOKS);
    }
    child.kill().expect("kills");
    child.wait().expect("ends");
    panic!("the job is not seen");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_process_is_killed_is_taken_up_by_the_next_refresh() {
    let scenario = Scenario::filled(Shape::default().fragments_of(500), 4_000).await;
    let (mut child, job) = start(&scenario);
    child.kill().expect("kills");
    child.wait().expect("ends");
    let open = jobs(&scenario);
    let left = open[0]["rows_remaining"].as_u64().expect("a number");
    let report = scenario.refresh();
    assert!(report.assigned("p") <= left, "{report:#?} of {left}");
    let ended = jobs(&scenario);
    assert_eq!(
        (&ended[0]["job_id"], &ended[0]["state"]),
        (&Value::from(job), &Value::from("done"))
    );
    assert_eq!(ended[0]["rows_assigned"], 4_000);
    scenario.check_int("p", product).await;
    scenario.expect_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_called_off_stops_within_seconds_and_keeps_what_it_finished() {
    let scenario = Scenario::filled(Shape::default().fragments_of(500), 20_000).await;
    let (mut child, job) = start(&scenario);
    scenario.run(&["jobs", "cancel"], &[&job]).expect_code(0);
    let mut looks = 0;
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child") {
            break status;
        }
        assert!(looks < LOOKS, "it goes on");
        looks += 1;
        std::thread::sleep(BETWEEN_LOOKS);
    };
    assert_eq!(
        status.code(),
        Some(1),
        "its caller learns that it was called off"
    );
    let ended = jobs(&scenario);
    assert_eq!(ended[0]["state"], "cancelled", "{ended:#?}");
    let report = scenario.refresh();
    assert_eq!(report.assigned("p"), 0, "nothing of it is left to do");
    let by_job = ["--job", &job, "--recompute"];
    assert!(
        planned(&scenario, &by_job) < 20_000,
        "not all of it was done"
    );
    scenario.check_int("p", product).await;
    scenario.expect_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_cannot_be_done_any_more_is_told_once_until_it_is_called_off() {
    let scenario = Scenario::filled(Shape::default().fragments_of(500), 4_000).await;
    let (mut child, job) = start_with(&scenario, &["--where", "s <> 'x'"]);
    eventually("a batch is finished", async || {
        let files = scenario.state_files().into_keys();
        let mut folders = files.flat_map(|path| path.parent().map(Path::to_owned));
        folders.any(|folder| folder.ends_with("checkpoints"))
    })
    .await;
    child.kill().expect("kills");
    child.wait().expect("ends");
    scenario.drop_column("s").await;
    let told = format!("job {job} cannot go on: ");
    let outcome = scenario.run(&["refresh"], &[]).expect_code(0);
    assert_eq!(outcome.stderr.matches(&told).count(), 1, "{outcome:#?}");
    assert!(outcome.stderr.contains("'jobs cancel'"), "{outcome:#?}");
    let broken = outcome.json()["columns"][0]["broken_jobs"].clone();
    assert_eq!(broken.as_array().map(Vec::len), Some(1), "{broken}");
    let finished = planned(&scenario, &["--job", &job, "--recompute"]);
    assert!(finished > 0);
    let serving = Serving::table(&scenario);
    serving.wait_line(&told);
    for _ in 0..2 {
        scenario.update("b", "b + 1", "id < 5").await;
        eventually("the update is followed", async || {
            let rows = scenario.rows().await;
            rows.iter().all(|row| row.int("p") == product(row))
        })
        .await;
    }
    assert_eq!(serving.count(&told), 1);
    serving.stop("-TERM", 143);
    let ended = scenario.run(&["jobs", "cancel"], &[&job]).expect_code(0);
    assert_eq!(ended.json()["rows_assigned"], finished);
    let outcome = scenario.run(&["refresh"], &[]).expect_code(0);
    assert!(!outcome.stderr.contains("cannot go on"), "{outcome:#?}");
    scenario.expect_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_called_off_without_a_look_at_the_table() {
    let scenario = Scenario::filled(Shape::default().fragments_of(500), 4_000).await;
    let (mut child, job) = start(&scenario);
    child.kill().expect("kills");
    child.wait().expect("ends");
    // Whoever surveys the column finds what cannot be read.
    let records = scenario.state_files().into_keys();
    let records = records.filter(|path| path.to_string_lossy().contains("/coverage/"));
    let records: Vec<_> = records
        .map(|path| (std::fs::read(&path).expect("reads"), path))
        .collect();
    for (_, path) in &records {
        std::fs::write(path, b"not a record").expect("writes");
    }
    let listed = scenario.run(&["jobs", "list"], &[]);
    assert_ne!(listed.code, 0, "{listed:#?}");
    let ended = scenario.run(&["jobs", "cancel"], &[&job]).expect_code(0);
    assert_eq!(ended.json()["state"], "cancelled");
    for (bytes, path) in &records {
        std::fs::write(path, bytes).expect("writes");
    }
    assert_eq!(jobs(&scenario)[0], ended.json());
    let again = scenario.run(&["jobs", "cancel"], &[&job]).expect_code(0);
    assert_eq!(again.json(), ended.json());
    assert_eq!(scenario.refresh().column("p").rows_remaining, 0);
    scenario.check_int("p", product).await;
    scenario.expect_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_grace_only_what_counts_is_left_in_the_state_store() {
    let scenario = Scenario::filled(Shape::default().fragments_of(100), 1_000).await;
    backfill(
        &scenario,
        &["--where", "id < 150", "--recompute", "--batch-rows", "30"],
    );
    scenario.run(&["reconcile"], &["--no-grace"]).expect_code(0);
    let mut left: Vec<String> = (scenario.state_files().into_keys())
        .filter_map(|path| {
            let path = path.strip_prefix(scenario.state_folder()).ok()?;
            let mut parts = path.iter().skip(1);
            Some(parts.next()?.to_str()?.to_owned())
        })
        .collect();
    left.sort();
    left.dedup();
    assert_eq!(left, ["coverage", "ledger", "snapshot"]);
    let ledger = scenario.state_files().into_keys();
    let ledger = ledger.filter(|path| path.iter().any(|part| part == "ledger"));
    assert_eq!(ledger.count(), 1, "the newest entry");
    scenario.expect_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_makes_no_sense_is_refused_and_changes_nothing() {
    let scenario = Scenario::filled(Shape::default(), 50).await;
    let version = scenario.version().await;
    let files = scenario.state_files();
    let refused = |words: &[&str], options: &[&str], about: &str| -> Outcome {
        scenario.run(words, options).expect_refusal(&[2], about)
    };
    refused(&["backfill"], &["p", "--where", "nothing > 1"], "nothing");
    refused(&["backfill"], &["p", "--where", "id +"], "id +");
    refused(&["backfill"], &["p", "--where", "id + 1"], "true or false");
    refused(
        &["backfill"],
        &["p", "--where", "id / 0 = 1", "--recompute"],
        "zero",
    );
    refused(&["backfill"], &["p", "--where", "random() > 0.5"], "random");
    refused(&["backfill"], &["id"], "not a computed column");
    refused(&["retry"], &["id"], "not a computed column");
    refused(&["plan"], &["--recompute"], "--column");
    refused(&["jobs", "show"], &["7-nobody"], "7-nobody");
    refused(&["jobs", "cancel"], &["7-nobody"], "7-nobody");
    scenario
        .run(&["backfill"], &["p", "--generation", "x"])
        .expect_code(2);
    scenario
        .run(&["backfill"], &["p", "--job", "../x"])
        .expect_code(2);
    assert_eq!(scenario.version().await, version);
    assert_eq!(scenario.state_files(), files);
}
