//! Clones, branches, copied and moved folders: only one place computes without being asked.

use crate::fill::product;
use crate::support::table::files_below;
use crate::support::{Scenario, Shape, Table};

/// A table of 400 rows whose column is filled, with a failed row and an empty fragment at its end.
async fn original(shape: Shape) -> Scenario {
    let scenario = Scenario::standard(shape.fragments_of(150), 400).await;
    scenario.add("p", "a * b", &[]);
    scenario.add("q", "CASE WHEN id = 7 THEN 1 / (b - b) ELSE p + 1 END", &[]);
    scenario.add("n", "CASE WHEN id < 0 THEN a END", &[]);
    let report = scenario.refresh();
    assert_eq!(report.assigned("p"), 400);
    assert_eq!(report.assigned("q"), 399);
    assert_eq!(report.assigned("n"), 400);
    scenario
}

fn note_of(copy: &Scenario) -> String {
    copy.run(&["status"], &[]).expect_code(0).stderr
}

/// A copy shows what the original knew, and nothing happens in it or because of it.
async fn expect_quiet(copy: &Scenario, original: &Scenario, rows: u64, known: u64) {
    let version = copy.version().await;
    let files = files_below(&copy.root());
    let state = original.state_files();
    let status = copy.status();
    for column in ["p", "q", "n"] {
        let failed = u64::from(column == "q");
        let found = status.column(column);
        assert_eq!(found.rows_total, rows, "{found:#?}");
        assert_eq!(found.rows_current, known - failed, "{found:#?}");
        assert_eq!(found.rows_failed, failed, "{found:#?}");
        assert_eq!(found.rows_remaining, rows - known, "{found:#?}");
    }
    assert!(note_of(copy).contains("claim"), "{}", note_of(copy));
    for (command, options) in [("status", &[][..]), ("plan", &[]), ("failures", &["p"])] {
        let told = copy.run(&[command], options).expect_code(0).json();
        assert!(
            told["copy_of"]["at"]["table"].is_string(),
            "{command}: {told}"
        );
        let own = original.run(&[command], options).expect_code(0).json();
        assert!(own.get("copy_of").is_none(), "{command}: {own}");
    }
    assert_eq!(copy.plan("p")["rows_remaining"], rows - known);
    assert_eq!(copy.failures("q").len(), 1);
    copy.run(&["refresh"], &[])
        .expect_refusal(&[2], "is a copy of");
    copy.try_add("r", "a + b", &[])
        .expect_refusal(&[2], "claim");
    assert_eq!(copy.version().await, version, "the copy is untouched");
    assert_eq!(files_below(&copy.root()), files, "no file is written");
    assert_eq!(original.state_files(), state, "the original is untouched");
}

/// A copy that was claimed keeps its values and fills what is new, on its own.
async fn expect_own_life(copy: &Scenario, original: &Scenario) {
    let there = original.version().await;
    let state = original.state_files();
    let told = copy.run(&["claim"], &[]).expect_code(0).json();
    assert_eq!(told["claimed"], true);
    assert!(told["copy_of"]["at"]["table"].is_string(), "{told}");
    let report = copy.refresh();
    for column in ["p", "q", "n"] {
        assert_eq!(report.assigned(column), 0, "{column} is not recomputed");
    }
    assert_eq!(report.column("q").rows_failed, 1);
    copy.expect_rest().await;
    copy.append(30).await;
    let report = copy.refresh();
    for column in ["p", "q", "n"] {
        assert_eq!(report.assigned(column), 30, "{column}");
    }
    copy.check_int("p", product).await;
    copy.expect_rest().await;
    let updated = copy.rows().await.iter().filter(|row| row.id() < 20).count();
    copy.update("b", "b + 1", "id < 20").await;
    let report = copy.refresh();
    assert_eq!(report.assigned("p"), updated as u64);
    copy.check_int("p", product).await;
    copy.compact().await;
    copy.expect_computed_nothing();
    copy.alter("p", &["--sql", "a + b", "--on-change", "recompute_all"]);
    assert_eq!(copy.refresh().assigned("p"), 430);
    copy.expect_rest().await;
    let again = copy.run(&["claim"], &[]).expect_code(0).json();
    assert_eq!(again["claimed"], false);
    assert_eq!(original.version().await, there, "the original is untouched");
    assert_eq!(original.state_files(), state, "and so is its state store");
    let report = original.expect_rest().await;
    assert_eq!(report.column("p").rows_current, 400);
    original.append(10).await;
    assert_eq!(original.refresh().assigned("p"), 10);
    original.check_int("p", product).await;
    assert_eq!(copy.refresh().assigned("p"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shallow_clone_spends_nothing_until_it_is_claimed() {
    for shape in Shape::both() {
        let original = original(shape).await;
        let copy = Scenario::on(original.table.shallow_clone().await);
        expect_quiet(&copy, &original, 400, 400).await;
        expect_own_life(&copy, &original).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_spends_nothing_until_it_is_claimed() {
    for shape in Shape::both() {
        let original = original(shape).await;
        let copy = Scenario::on(original.table.branch("june").await);
        expect_quiet(&copy, &original, 400, 400).await;
        expect_own_life(&copy, &original).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_is_opened_by_its_name() {
    let original = original(Shape::default()).await;
    let branch = Scenario::on(original.table.branch("june").await);
    branch.append(20).await;
    let by_name = ["--branch", "june"];
    original
        .run(&["refresh"], &by_name)
        .expect_refusal(&[2], "branch 'june'");
    original.run(&["claim"], &by_name).expect_code(0);
    let report = original.run(&["refresh"], &by_name).expect_code(0).json();
    assert_eq!(report["columns"][0]["rows_assigned"], 20);
    branch.check_int("p", product).await;
    branch.expect_rest().await;
    assert_eq!(original.status().column("p").rows_total, 400);
    original
        .run(&["refresh"], &["--branch", "july"])
        .expect_refusal(&[2], "july");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copied_folder_spends_nothing_until_it_is_claimed() {
    for shape in Shape::both() {
        let original = original(shape).await;
        let copy = Scenario::on(original.table.copy_folder());
        expect_quiet(&copy, &original, 400, 400).await;
        expect_own_life(&copy, &original).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_and_its_original_go_their_own_ways_before_it_is_claimed() {
    for shape in Shape::both() {
        let original = original(shape).await;
        let copy = Scenario::on(original.table.shallow_clone().await);
        copy.append(25).await;
        expect_quiet(&copy, &original, 425, 400).await;
        // The original goes on: other rows, other values, a new expression.
        original.append(60).await;
        original.update("b", "b + 3", "id < 100").await;
        original.alter(
            "n",
            &[
                "--sql",
                "CASE WHEN id < 0 THEN b END",
                "--on-change",
                "recompute_all",
            ],
        );
        original.refresh();
        original.expect_rest().await;
        copy.update("b", "b + 1", "id >= 380 AND id < 400").await;
        let status = copy.status();
        assert_eq!(status.column("p").rows_remaining, 45);
        assert_eq!(status.column("p").rows_unknown, 0);
        copy.run(&["claim"], &[]).expect_code(0);
        let state = original.state_files();
        let report = copy.refresh();
        assert_eq!(report.assigned("p"), 45);
        assert_eq!(
            report.assigned("n"),
            25,
            "NULL stays known, whatever the original computes"
        );
        copy.check_int("p", product).await;
        copy.expect_rest().await;
        assert_eq!(original.state_files(), state);
        original.check_int("p", product).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_of_copies_are_claimed_one_by_one() {
    let original = original(Shape::default()).await;
    let first = Scenario::on(original.table.shallow_clone().await);
    first.run(&["claim"], &[]).expect_code(0);
    first.append(30).await;
    assert_eq!(first.refresh().assigned("p"), 30);
    let second = Scenario::on(first.table.shallow_clone().await);
    second.run(&["refresh"], &[]).expect_refusal(&[2], "copy");
    assert_eq!(second.status().column("p").rows_current, 430);
    second.run(&["claim"], &[]).expect_code(0);
    let third = Scenario::on(second.table.copy_folder());
    third.run(&["refresh"], &[]).expect_refusal(&[2], "copy");
    assert_eq!(third.status().column("p").rows_current, 430);
    third.run(&["claim"], &[]).expect_code(0);
    // Without the snapshot, which is a cache, the records of all generations are found again.
    for copy in [&first, &second, &third] {
        for file in copy.state_files().keys() {
            if file
                .extension()
                .is_some_and(|extension| extension == "arrow")
            {
                std::fs::remove_file(file).expect("removes");
            }
        }
        let report = copy.refresh();
        assert_eq!(report.assigned("p"), 0);
        assert_eq!(report.column("p").rows_current, 430, "none is unknown");
        assert_eq!(report.column("n").rows_current, 430, "none is unknown");
        assert_eq!(report.column("q").rows_failed, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moved_table_goes_on_working() {
    for shape in Shape::both() {
        let Scenario { table, .. } = original(shape).await;
        let before = table.uri.clone();
        let moved = Scenario::on(table.moved());
        assert_eq!(moved.status().column("p").rows_current, 400);
        moved.append(30).await;
        let outcome = moved.run(&["refresh"], &[]).expect_code(0);
        assert!(outcome.stderr.contains("was moved here"), "{outcome:#?}");
        assert_eq!(outcome.json()["columns"][0]["rows_assigned"], 30);
        moved.check_int("p", product).await;
        moved.expect_rest().await;
        // Another table in the old place is not its home.
        std::fs::create_dir_all(std::path::Path::new(&before).parent().expect("a folder"))
            .expect("a folder");
        let again = Scenario::on(moved.table.moved());
        again.append(5).await;
        assert_eq!(again.refresh().assigned("p"), 5);
        again.expect_rest().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_table_where_the_home_was_does_not_make_a_copy_of_a_moved_one() {
    let Scenario { table, .. } = original(Shape::default()).await;
    let old = table.root();
    let keep = tempfile::tempdir().expect("a folder");
    let uri = keep.path().join("moved.lance");
    std::fs::rename(&old, &uri).expect("moves");
    let stranger = Scenario::standard(Shape::default(), 10).await;
    stranger.add("p", "a + b", &[]);
    std::fs::rename(stranger.root(), &old).expect("moves");
    let moved = Table::at(&uri);
    let moved = Scenario::on(moved);
    assert_eq!(moved.refresh().assigned("p"), 0);
    moved
        .append_batch(crate::support::table::standard(900..910))
        .await;
    assert_eq!(moved.refresh().assigned("p"), 10);
    // The stranger was moved too, and is at home where it is now.
    let stranger = Scenario::on(Table::at(&old));
    assert_eq!(stranger.refresh().assigned("p"), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_ways_to_the_same_folder_lead_home() {
    let original = original(Shape::default()).await;
    let link = original.folder.path().join("link.lance");
    std::os::unix::fs::symlink(original.root(), &link).expect("links");
    let version = original.version().await;
    let detour = original
        .folder
        .path()
        .join("../")
        .join(original.folder.path())
        .join("./table.lance");
    for path in [&link, &detour] {
        let by_path = Scenario::on(Table::at(path));
        let report = by_path.refresh();
        assert_eq!(report.column("p").rows_current, 400);
        by_path.run(&["refresh"], &[]).expect_code(0);
    }
    assert_eq!(original.version().await, version, "nobody moved in");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_handed_out_in_the_original_is_not_waited_for_in_the_copy() {
    let original = Scenario::standard(Shape::default().fragments_of(300), 600).await;
    let sql = "CASE WHEN id = 250 THEN 1 / (b - b) ELSE a END";
    original.add("p", sql, &["--on-error", "fail"]);
    let options = ["--batch-rows", "40", "--workers", "1"];
    original.run(&["refresh"], &options).expect_code(1);
    let copy = Scenario::on(original.table.copy_folder());
    copy.run(&["claim"], &[]).expect_code(0);
    copy.alter("p", &["--on-error", "skip"]);
    let report = copy.refresh();
    assert_eq!(report.column("p").rows_current, 599);
    assert_eq!(report.column("p").rows_failed, 1);
    assert_eq!(original.status().column("p").rows_total, 600);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_without_computed_columns_has_nothing_to_claim() {
    let scenario = Scenario::standard(Shape::default(), 10).await;
    scenario
        .run(&["claim"], &[])
        .expect_refusal(&[2], "column add");
}
