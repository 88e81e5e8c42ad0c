//! Damaged, missing and newer files of ours.

use std::path::{Path, PathBuf};

use crate::fill::product;
use crate::support::{Scenario, Shape};

/// A table with files of every kind in its state store, and new rows to compute.
async fn worked_on() -> Scenario {
    let scenario = Scenario::standard(Shape::default().fragments_of(200), 600).await;
    let options = ["--where", "id >= 5", "--max-failed-fraction", "1"];
    scenario.add(
        "p",
        "CASE WHEN id = 9 THEN 1 / (b - b) ELSE a * b END",
        &options,
    );
    scenario.refresh_with(&["--batch-rows", "90"]);
    scenario.append(50).await;
    scenario
}

async fn check(scenario: &Scenario) {
    scenario
        .check_int("p", |row| {
            product(row).filter(|_| row.id() >= 5 && row.id() != 9)
        })
        .await;
}

fn state_files(scenario: &Scenario, folder: &str) -> Vec<PathBuf> {
    (scenario.state_files().into_keys())
        .filter(|path| path.to_string_lossy().contains(&format!("/{folder}/")))
        .collect()
}

/// How a file is damaged: a name, and what becomes of its bytes.
type Damage = (&'static str, fn(&[u8]) -> Vec<u8>);

const DAMAGES: &[Damage] = &[
    ("empty", |_| vec![]),
    ("truncated", |bytes| bytes[..bytes.len() / 2].to_vec()),
    ("garbage", |_| b"\x00\xff not a state file".to_vec()),
    ("newer", |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let newer = text.replacen("\"version\":1", "\"version\":99", 1);
        newer
            .replacen("\"version\": 1", "\"version\": 99", 1)
            .into_bytes()
    }),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_state_file_stops_us_by_name_and_deleting_it_helps() {
    for folder in [
        "ledger",
        "checkpoints",
        "coverage/id",
        "coverage/file",
        "snapshot",
    ] {
        for (damage, spoil) in DAMAGES {
            if folder == "snapshot" && *damage == "newer" {
                // Not JSON: its format number is covered by the unit tests of the core.
                continue;
            }
            let scenario = worked_on().await;
            if folder == "coverage/id" {
                // What is learned without a new file makes records of this kind.
                scenario.alter("p", &["--where", "id > 4"]);
                scenario.run(&["status"], &[]).expect_code(0);
            }
            if folder.starts_with("coverage") {
                // While the snapshot knows, nobody asks the records.
                state_files(&scenario, "snapshot")
                    .iter()
                    .for_each(|path| remove(path));
            }
            if folder == "checkpoints" {
                leave_unpublished(&scenario).await;
            }
            let damaged = state_files(&scenario, folder);
            assert!(!damaged.is_empty(), "there is a file in {folder}");
            for path in &damaged {
                let bytes = std::fs::read(path).expect("reads");
                let spoiled = spoil(&bytes);
                assert_ne!(spoiled, bytes, "{damage} {folder}");
                std::fs::write(path, spoiled).expect("writes");
            }
            let version = scenario.version().await;
            let about = match *damage {
                "newer" => "newer",
                _ => folder,
            };
            for words in ["refresh", "status", "plan"] {
                let outcome = scenario.run(&[words], &[]);
                assert_ne!(
                    outcome.code, 0,
                    "{words} of {damage} {folder}: {outcome:#?}"
                );
                outcome.expect_refusal(&[1, 2], about);
            }
            assert_eq!(scenario.version().await, version, "{damage} {folder}");
            // The message says so: what is deleted is worked out again.
            damaged.iter().for_each(|path| remove(path));
            scenario.refresh();
            check(&scenario).await;
            scenario.expect_rest().await;
        }
    }
}

/// Computes new rows and publishes none: their checkpoint manifests stay.
async fn leave_unpublished(scenario: &Scenario) {
    scenario.append(30).await;
    scenario.run(&["pause"], &[]).expect_code(0);
    scenario.run(&["refresh"], &[]).expect_code(1);
    scenario.run(&["resume"], &[]).expect_code(0);
}

fn remove(path: &Path) {
    std::fs::remove_file(path).expect("removes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_checkpoint_manifest_is_worked_out_again_at_once() {
    let scenario = worked_on().await;
    leave_unpublished(&scenario).await;
    let lost = state_files(&scenario, "checkpoints");
    assert!(!lost.is_empty());
    lost.iter().for_each(|path| remove(path));
    let report = scenario.refresh();
    assert_eq!(report.assigned("p"), 80);
    check(&scenario).await;
    scenario.expect_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_or_newer_definition_is_refused_and_left_as_it_is() {
    for damage in [
        "",
        "{",
        "null",
        "{\"version\": 99, \"new\": true}",
        "{\"version\": 1}",
    ] {
        let scenario = Scenario::filled(Shape::default(), 50).await;
        let mut dataset = scenario.open().await;
        let keys: Vec<String> = dataset
            .metadata()
            .keys()
            .filter(|key| key.starts_with("backfill.column."))
            .cloned()
            .collect();
        assert_eq!(keys.len(), 1);
        let entries = keys.iter().map(|key| (key.as_str(), damage));
        dataset.update_metadata(entries).await.expect("writes");
        let version = scenario.version().await;
        scenario
            .run(&["refresh"], &[])
            .expect_refusal(&[1, 2], &keys[0]);
        scenario
            .run(&["status"], &[])
            .expect_refusal(&[1, 2], &keys[0]);
        scenario
            .try_add("q", "a", &[])
            .expect_refusal(&[1, 2], &keys[0]);
        assert_eq!(scenario.version().await, version, "{damage}");
        scenario.check_int("p", product).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_without_our_records_are_trusted() {
    for shape in Shape::both() {
        let scenario = Scenario::filled(shape.fragments_of(60), 150).await;
        std::fs::remove_dir_all(scenario.state_folder()).expect("removes");
        let with_value = (scenario.rows().await.iter())
            .filter(|row| product(row).is_some())
            .count() as u64;
        let status = scenario.status();
        assert_eq!(status.column("p").rows_unknown, with_value);
        let report = scenario.refresh();
        assert_eq!(report.assigned("p"), 150 - with_value, "only what is NULL");
        assert_eq!(report.column("p").rows_unknown, with_value);
        scenario.check_int("p", product).await;
        scenario.expect_rest().await;
        scenario.append(40).await;
        assert_eq!(scenario.refresh().assigned("p"), 40);
        scenario.check_int("p", product).await;
        scenario.expect_rest().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_without_our_records_are_computed_again_on_request() {
    for shape in Shape::both() {
        let scenario = Scenario::filled(shape.fragments_of(60), 150).await;
        std::fs::remove_dir_all(scenario.state_folder()).expect("removes");
        let lost = scenario.status().column("p").rows_unknown;
        let told = scenario.alter("p", &["--on-unknown", "recompute"]);
        assert_eq!(told["rows_stale_if_only_new"], lost);
        let status = scenario.status();
        assert_eq!(status.column("p").rows_unknown, lost);
        assert_eq!(status.column("p").state, "in need");
        let plan = scenario.run(&["plan"], &[]).expect_code(0).json();
        let planned = &plan["columns"][0];
        assert_eq!(planned["rows_by_reason"]["unknown"], lost);
        assert_eq!(planned["rows_planned"], 150);
        let report = scenario.refresh();
        assert_eq!(report.assigned("p"), 150);
        assert_eq!(report.column("p").rows_unknown, 0);
        scenario.check_int("p", product).await;
        scenario.expect_rest().await;
        // Whose origin is known is computed no more, whatever becomes of the others.
        let told = scenario.alter("p", &["--on-unknown", "trust"]);
        assert_eq!(told["rows_stale_if_only_new"], 0);
        assert_eq!(scenario.refresh().assigned("p"), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_staged_file_that_vanished_is_computed_again() {
    for options in [&["--batch-rows", "50"][..], &[][..]] {
        let scenario = Scenario::standard(Shape::default().fragments_of(100), 300).await;
        scenario.add("p", "a * b", &[]);
        let before = crate::support::table::files_below(&scenario.root().join("data"));
        scenario.refresh_with(options);
        // Back to before the commit, as a crash between checkpoint and commit would leave it: staged
        // and checkpointed, not published; then the staged files are lost.
        let (undone, filled) = (2, scenario.version().await);
        let versions = scenario.root().join("_versions");
        for version in undone + 2..=filled {
            remove(&versions.join(format!("{:020}.manifest", u64::MAX - version)));
        }
        let hint = versions.join("latest_version_hint.json");
        if hint.exists() {
            remove(&hint);
        }
        let staged = crate::support::table::files_below(&scenario.root().join("data"));
        staged
            .keys()
            .filter(|path| !before.contains_key(*path))
            .for_each(|path| remove(path));
        assert_eq!(scenario.version().await, undone + 1);
        let report = scenario.refresh_with(options);
        assert_eq!(report.column("p").rows_current, 300, "{report:#?}");
        scenario.check_int("p", product).await;
        scenario.expect_rest().await;
    }
}
