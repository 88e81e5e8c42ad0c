//! Tables in an object store that speaks S3.

use std::process::Stdio;

use lance_backfill_lance::{ObjectStateStore, OpenOptions};
use lance_backfill_testkit::conformance;

use crate::fill::product;
use crate::support::emulator::Emulator;
use crate::support::program::{command, run};
use crate::support::serving::{Serving, eventually, served, wait_served};
use crate::support::{Scenario, Shape, Table};

async fn standard(emulator: &Emulator, name: &str, shape: Shape, rows: i64) -> Scenario {
    let options = emulator.options();
    Scenario::on(Table::standard_in(emulator.uri(name), options, shape, rows).await)
}

/// With a column `p` = `a * b`, filled.
async fn filled(emulator: &Emulator, name: &str, shape: Shape, rows: i64) -> Scenario {
    let scenario = standard(emulator, name, shape, rows).await;
    scenario.add("p", "a * b", &[]);
    let assigned = scenario.refresh().assigned("p");
    assert_eq!(assigned, u64::try_from(rows).expect("rows"));
    scenario
}

/// A refresh finds nothing to do and leaves no trace.
async fn expect_rest(emulator: &Emulator, scenario: &Scenario, name: &str) {
    let keys = emulator.keys(name);
    assert!(keys.iter().any(|key| key.contains("/_backfill/")), "state");
    scenario.expect_rest().await;
    assert_eq!(emulator.keys(name), keys);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_in_an_object_store_is_kept_as_one_on_disk() {
    let Some(emulator) = Emulator::start() else {
        return;
    };
    for (shape, name) in Shape::both()
        .into_iter()
        .zip(["plain.lance", "stable.lance"])
    {
        let scenario = filled(&emulator, name, shape.fragments_of(40), 100).await;
        scenario.append(50).await;
        let refreshed = scenario.refresh_with(&["--batch-rows", "15"]);
        assert_eq!(refreshed.assigned("p"), 50);
        expect_rest(&emulator, &scenario, name).await;
        scenario.update("s", "'other'", "id < 20").await;
        scenario.delete("id % 10 = 7").await;
        assert!(scenario.compact().await);
        scenario.expect_computed_nothing();
        scenario.cleanup().await;
        scenario.expect_computed_nothing();
        scenario.update("a", "a + 1", "id < 10 AND id <> 3").await;
        assert_eq!(scenario.refresh().assigned("p"), 8);
        let options = ["p", "--where", "id < 30", "--recompute"];
        let job = scenario.run(&["backfill"], &options).expect_code(0).json();
        assert_eq!(job["columns"][0]["rows_assigned"], 27);
        scenario.run(&["reconcile"], &["--no-grace"]).expect_code(0);
        assert_eq!(scenario.check_int("p", product).await, 135);
        expect_rest(&emulator, &scenario, name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_an_object_store_processes_share_the_work_and_survive_each_other() {
    let Some(emulator) = Emulator::start() else {
        return;
    };
    let name = "shared.lance";
    let scenario = standard(&emulator, name, Shape::default().fragments_of(100), 600).await;
    scenario.add("p", "a * b", &[]);
    let arguments = scenario.arguments(&["refresh"], &["--batch-rows", "20", "--json"]);
    let start = || {
        let mut call = command(&arguments);
        let call = call.stdout(Stdio::piped()).stderr(Stdio::null());
        call.spawn().expect("the binary starts")
    };
    let mut victim = start();
    eventually("a batch is finished", async || {
        let keys = emulator.keys(name);
        keys.iter().any(|key| key.contains("/checkpoints/"))
    })
    .await;
    victim.kill().expect("kills");
    victim.wait().expect("ends");
    let refreshing = [start(), start()];
    for child in refreshing {
        let ended = child.wait_with_output().expect("ends");
        assert_eq!(ended.status.code(), Some(0), "{ended:#?}");
    }
    assert_eq!(scenario.check_int("p", product).await, 600);
    assert_eq!(scenario.status().column("p").rows_current, 600);
    scenario.expect_computed_nothing();
    expect_rest(&emulator, &scenario, name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_in_an_object_store_are_served_by_looking_at_them() {
    let Some(emulator) = Emulator::start() else {
        return;
    };
    let one = filled(&emulator, "folder/one.lance", Shape::default(), 100).await;
    let two = standard(&emulator, "folder/two.lance", Shape::stable(), 30).await;
    let mut arguments = one.arguments(&["serve"], &["--poll-s", "1"]);
    let folder = emulator.uri("folder");
    arguments[1] = &folder;
    let serving = Serving::start(&arguments);
    one.append(50).await;
    two.add("p", "a * b", &[]);
    for scenario in [&one, &two] {
        eventually("'p' converges", async || {
            let rows = scenario.rows().await;
            rows.iter().all(|row| row.int("p") == product(row))
        })
        .await;
    }
    wait_served(&serving, &one.uri, "p", 50);
    wait_served(&serving, &two.uri, "p", 30);
    let document = serving.stop("-TERM", 143);
    assert_eq!(served(&document, &one.uri, "p"), 50, "{document:#}");
    assert_eq!(served(&document, &two.uri, "p"), 30, "{document:#}");
    one.expect_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_store_that_does_not_serve_us_is_an_error_that_says_what_to_do() {
    let Some(emulator) = Emulator::start() else {
        return;
    };
    let scenario = filled(&emulator, "told.lance", Shape::default(), 20).await;
    let keys = emulator.keys("told.lance");
    let options = scenario.storage_arguments();
    for (uri, about) in [
        ("s3://tables/none.lance", "no lance table at"),
        ("s3://nobody/told.lance", "there is no such bucket"),
    ] {
        for words in [
            &["refresh", uri][..],
            &["status", uri],
            &["column", "list", uri],
        ] {
            run(&[words, &options[..]].concat()).expect_refusal(&[2], about);
        }
    }
    let elsewhere = ["--storage-option", "aws_endpoint=http://127.0.0.1:1"];
    let outcome = scenario.run(&["refresh"], &elsewhere);
    outcome.expect_refusal(&[1], "cannot be reached");
    assert_eq!(emulator.keys("told.lance"), keys);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_store_in_an_object_store_does_what_state_stores_do() {
    let Some(emulator) = Emulator::start() else {
        return;
    };
    let options = OpenOptions {
        storage_options: emulator.options(),
        branch: None,
    };
    let store = ObjectStateStore::open(&emulator.uri("some/prefix"), &options).await;
    let store = store.expect("it can be reached");
    conformance::state_store(&store).await.expect("conforms");
}
