//! `serve`: tables stay converged without anybody calling refresh.

use std::fs;
use std::sync::Arc;

use crate::fill::product;
use crate::support::serving::{Serving, eventually, now, served, wait_served};
use crate::support::table::standard;
use crate::support::{Row, Scenario, Shape, Table};

/// Waits until each row of a column holds what it must.
async fn converged(table: &Table, column: &str, expected: impl Fn(&Row) -> Option<i64>) {
    eventually(&format!("'{column}' converges"), async || {
        let rows = table.rows().await;
        rows.iter().all(|row| row.int(column) == expected(row))
    })
    .await;
}

/// A table in a given folder, under a given name.
async fn table_in(folder: &std::path::Path, name: &str, rows: i64) -> Table {
    let mut table = Table::standard(Shape::default(), rows).await;
    let place = folder.join(name);
    fs::rename(&table.uri, &place).expect("moves");
    table.uri = place.display().to_string();
    table
}

#[tokio::test(flavor = "multi_thread")]
async fn appended_rows_get_their_values_without_a_refresh() {
    for shape in Shape::both() {
        let scenario = Scenario::filled(shape, 100).await;
        scenario.add("q", "p + 1", &["--where", "id % 3 <> 1"]);
        let serving = Serving::table(&scenario);
        for _ in 0..3 {
            scenario.append(50).await;
            let dependent = |row: &Row| Some(product(row)? + 1).filter(|_| row.id() % 3 != 1);
            converged(&scenario, "q", dependent).await;
            converged(&scenario, "p", product).await;
        }
        // An update is as good as an append.
        scenario.update("a", "a + 1", "id < 10").await;
        converged(&scenario, "p", product).await;
        let changed = 9; // Row 3 has no `a`.
        wait_served(&serving, &scenario.uri, "p", 150 + changed);
        let document = serving.stop("-TERM", 143);
        assert_eq!(
            served(&document, &scenario.uri, "p"),
            150 + changed,
            "{document:#}"
        );
        scenario.expect_rest().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_is_declared_or_changed_while_serving_is_taken_up() {
    let scenario = Scenario::standard(Shape::default(), 100).await;
    let serving = Serving::table(&scenario);
    scenario.add("p", "a * b", &[]);
    converged(&scenario, "p", product).await;
    let options = ["--sql", "a * b + 1", "--on-change", "recompute_all"];
    scenario.alter("p", &options);
    let changed = |row: &Row| Some(product(row)? + 1);
    converged(&scenario, "p", changed).await;
    scenario.run(&["column", "pause"], &["p"]).expect_code(0);
    scenario.add("q", "a + b", &[]);
    scenario.append(10).await;
    converged(&scenario, "q", |row| Some(row.int("a")? + row.int("b")?)).await;
    let paused = (scenario.rows().await.iter())
        .filter(|row| row.id() >= 100)
        .all(|row| row.int("p").is_none());
    assert!(paused, "a paused column is left alone");
    scenario.run(&["column", "resume"], &["p"]).expect_code(0);
    converged(&scenario, "p", changed).await;
    serving.stop("-INT", 130);
    scenario.expect_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_table_does_not_stop_the_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let sound = Scenario::on(table_in(folder.path(), "sound.lance", 100).await);
    let damaged = Scenario::on(table_in(folder.path(), "damaged.lance", 100).await);
    for scenario in [&sound, &damaged] {
        scenario.add("p", "a * b", &[]);
        scenario.refresh();
    }
    let ledger: Vec<_> = (damaged.state_files().into_keys())
        .filter(|path| path.to_string_lossy().contains("/ledger/"))
        .collect();
    assert!(!ledger.is_empty());
    for path in &ledger {
        fs::write(path, "not a ledger").expect("writes");
    }
    let serving = Serving::folder(folder.path(), &sound);
    serving.wait_line("damaged.lance: p: state file 'ledger/");
    for round in 1..=3 {
        damaged.append(10).await;
        sound.append(10).await;
        converged(&sound, "p", product).await;
        assert_eq!(
            serving.count("damaged.lance: p:"),
            1,
            "told once, round {round}"
        );
    }
    ledger
        .iter()
        .for_each(|path| fs::remove_file(path).expect("removes"));
    eventually("the repaired table converges", async || {
        damaged.append(1).await;
        let rows = damaged.rows().await;
        let old = rows.iter().filter(|row| row.id() < 130);
        old.into_iter().all(|row| row.int("p") == product(row))
    })
    .await;
    serving.wait_line("damaged.lance: p: works again");
    converged(&damaged, "p", product).await;
    wait_served(&serving, &sound.uri, "p", 30);
    let document = serving.stop("-TERM", 143);
    assert_eq!(served(&document, &sound.uri, "p"), 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_found_when_they_appear_and_forgotten_when_they_vanish() {
    let folder = tempfile::tempdir().expect("a folder");
    let other = Scenario::on(Table::standard(Shape::default(), 20).await);
    fs::create_dir(folder.path().join("written.lance")).expect("a folder");
    let serving = Serving::folder(folder.path(), &other);
    assert_eq!(serving.count("no tables yet"), 1);
    // One is moved in as a whole, the other is written into a folder that was there before.
    let moved = Scenario::on(table_in(folder.path(), "moved.lance", 50).await);
    let written = Table::write_at(&folder.path().join("written.lance"), standard(0..60)).await;
    let written = Scenario::on(written);
    for scenario in [&moved, &written] {
        serving.wait_line(&format!("{}: watched", scenario.uri));
        scenario.add("p", "a * b", &[]);
        converged(scenario, "p", product).await;
        scenario.append_batch(standard(500..520)).await;
        converged(scenario, "p", product).await;
    }
    fs::remove_dir_all(&written.uri).expect("removes");
    serving.wait_line(&format!("{}: gone", written.uri));
    let again = Table::write_at(&folder.path().join("written.lance"), standard(0..30)).await;
    let again = Scenario::on(again);
    again.add("p", "b * 2", &[]);
    converged(&again, "p", |row| Some(row.int("b")? * 2)).await;
    wait_served(&serving, &moved.uri, "p", 70);
    wait_served(&serving, &again.uri, "p", 30);
    let document = serving.stop("-TERM", 143);
    assert_eq!(served(&document, &moved.uri, "p"), 70);
    assert_eq!(served(&document, &again.uri, "p"), 30, "{document:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_serves_compute_each_row_once() {
    let scenario = Scenario::standard(Shape::stable().fragments_of(100), 400).await;
    scenario.add("p", "a * b", &[]);
    scenario.add("q", "p + 1", &[]);
    let serving = [Serving::table(&scenario), Serving::table(&scenario)];
    for _ in 0..10 {
        scenario.append(60).await;
    }
    converged(&scenario, "q", |row| Some(product(row)? + 1)).await;
    let documents = serving.map(|serving| serving.stop("-TERM", 143));
    for column in ["p", "q"] {
        let assigned: u64 = (documents.iter())
            .map(|document| served(document, &scenario.uri, column))
            .sum();
        // One that is stopped before it has counted its last rows says less.
        let some = 1..=1_000;
        assert!(some.contains(&assigned), "{column}: {documents:#?}");
    }
    scenario.refresh();
    scenario.check_int("p", product).await;
    scenario.expect_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_serve_that_is_stopped_at_work_leaves_everything_in_order() {
    let scenario = Scenario::standard(Shape::default().fragments_of(10), 3_000).await;
    scenario.add("p", "a * b", &[]);
    let serving = Serving::table(&scenario);
    serving.stop("-TERM", 143);
    scenario.refresh();
    scenario.check_int("p", product).await;
    scenario.expect_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn polling_finds_what_no_event_told() {
    let scenario = Scenario::standard(Shape::default(), 50).await;
    scenario.add("p", "a * b", &[]);
    let serving = Serving::start(&scenario.arguments(&["serve"], &["--poll-s", "1"]));
    converged(&scenario, "p", product).await;
    // A pause changes no version of the table, and its end is no event either.
    scenario.run(&["pause"], &[]).expect_code(0);
    scenario.append(10).await;
    serving.wait_line("p: the table is paused");
    scenario.run(&["pause"], &["--for", "1s"]).expect_code(0);
    converged(&scenario, "p", product).await;
    serving.wait_line("p: works again");
    wait_served(&serving, &scenario.uri, "p", 60);
    let document = serving.stop("-TERM", 143);
    assert_eq!(served(&document, &scenario.uri, "p"), 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn serving_nothing_is_refused() {
    let scenario = Scenario::standard(Shape::default(), 10).await;
    let file = scenario.folder.path().join("file");
    fs::write(&file, "").expect("writes");
    let missing = scenario.folder.path().join("missing");
    for path in [file, missing] {
        let path = path.display().to_string();
        let mut arguments = scenario.arguments(&["serve"], &[]);
        arguments[1] = &path;
        let outcome = crate::support::program::run(&arguments);
        outcome.expect_refusal(&[2], "neither a table nor a folder");
    }
}

/// Not in the ordinary run: it measures, and the machine may be busy. Run it alone, with
/// `cargo test --release -p lance-backfill-tests latency -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures the latency of 200 appends; run it alone"]
async fn latency_from_append_to_visible_value() {
    let scenario = Arc::new(Scenario::filled(Shape::default().fragments_of(1_000), 10_000).await);
    let serving = Serving::table(&scenario);
    let mut times_ms = vec![];
    let mut rows = 10_000;
    for _ in 0..200 {
        scenario.append(1_000).await;
        let committed = now();
        rows += 1_000;
        let visible = format!("id >= {} AND a IS NOT NULL AND p IS NULL", rows - 1_000);
        loop {
            let dataset = scenario.open().await;
            if dataset
                .count_rows(Some(visible.clone()))
                .await
                .expect("counts")
                == 0
            {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        times_ms.push(committed.elapsed().as_millis());
    }
    times_ms.sort_unstable();
    eprintln!(
        "append to visible value, 1,000 rows: p50 {} ms, p99 {} ms, most {} ms; memory {}",
        times_ms[100],
        times_ms[197],
        times_ms[199],
        serving.memory()
    );
    let document = serving.stop("-TERM", 143);
    assert_eq!(served(&document, &scenario.uri, "p"), 200_000);
}
