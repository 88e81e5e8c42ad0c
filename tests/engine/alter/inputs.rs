//! Altering an expression to one that reads other columns: older values follow their own inputs.

use std::collections::BTreeSet;

use lance_backfill_core::checkpoint::CheckpointManifest;
use serde_json::Value;

use crate::fill::product;
use crate::support::table::batch;
use crate::support::watch::{Objects, read_new};
use crate::support::{Report, Row, Scenario, Shape, Table, ints};

const OLD: &str = "a * b";
const NEW: &str = "a + c";

/// The new expression: it reads `a` as the old one does, `c` in place of `b`.
fn sum(row: &Row) -> Option<i64> {
    Some(row.int("a")? + row.int("c")?)
}

/// Rows of `id`, `a` (NULL in each eleventh row), `b` and `c`.
fn rows(ids: std::ops::Range<i64>) -> arrow_array::RecordBatch {
    batch(&[
        ("id", ints(ids.clone().map(Some))),
        (
            "a",
            ints(ids.clone().map(|id| (id % 11 != 3).then_some(id * 10))),
        ),
        ("b", ints(ids.clone().map(|id| Some(id % 7)))),
        ("c", ints(ids.clone().map(|id| Some(id * 3)))),
        ("d", ints(ids.map(|_| Some(0)))),
    ])
}

/// A column of which some rows are of the old expression, and all others of the new one.
struct Mixed {
    scenario: Scenario,
    old: BTreeSet<i64>,
    old_generation: String,
    new_generation: String,
}

impl Mixed {
    /// 400 rows of the old expression in four fragments.
    async fn filled(shape: Shape, options: &[&str]) -> Self {
        let table = Table::of(shape.fragments_of(100), rows(0..400)).await;
        let scenario = Scenario::on(table);
        let declared = scenario.add("p", OLD, options);
        scenario.refresh();
        let generation = declared["generation"].as_str().expect("a generation");
        Self {
            scenario,
            old: (0..400).collect(),
            old_generation: generation.to_owned(),
            new_generation: String::new(),
        }
    }

    /// The same, altered to the new expression.
    async fn altered(shape: Shape) -> Self {
        let mut mixed = Self::filled(shape, &[]).await;
        let told = mixed.alter(NEW, (0, 400));
        mixed.new_generation = told["generation"].as_str().expect("text").to_owned();
        mixed
    }

    /// Alters the expression; the numbers are those of rows that become stale under each choice.
    fn alter(&self, sql: &str, (only_new, recompute_all): (u64, u64)) -> Value {
        let told = self.scenario.alter("p", &["--sql", sql]);
        assert_eq!(told["rows_stale_if_only_new"], only_new);
        assert_eq!(told["rows_stale_if_recompute_all"], recompute_all);
        told
    }

    /// The value that a row should have.
    fn expected(&self, row: &Row) -> Option<i64> {
        match self.old.contains(&row.id()) {
            true => product(row),
            false => sum(row),
        }
    }

    /// A refresh computes these rows and no others, by the new expression or the one that is given.
    async fn expect(&mut self, stale: impl IntoIterator<Item = i64>) {
        let stale: BTreeSet<i64> = stale.into_iter().collect();
        let count = stale.len() as u64;
        let status = self.scenario.status();
        let column = status.column("p");
        assert_eq!(column.rows_remaining, count, "{column:#?}");
        assert_eq!(column.rows_current, column.rows_total - count);
        self.old.retain(|id| !stale.contains(id));
        self.expect_computed(count).await;
    }

    async fn expect_computed(&self, count: u64) {
        let report = self.scenario.refresh();
        assert_eq!(report.assigned("p"), count);
        let all = self.scenario.check_int("p", |row| self.expected(row)).await as u64;
        assert_eq!(report.column("p").rows_current, all, "{report:#?}");
        assert_eq!(
            self.generations(),
            (self.old.len() as u64, all - self.old.len() as u64)
        );
        self.scenario.expect_rest().await;
    }

    /// Rows of the old and of the new generation, as `status` tells them.
    fn generations(&self) -> (u64, u64) {
        let status = self.scenario.status();
        let rows = |generation: &String| {
            let generations = &status.column("p").generations;
            generations.get(generation).copied().unwrap_or_default()
        };
        assert!(status.column("p").generations.len() <= 2);
        (rows(&self.old_generation), rows(&self.new_generation))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn older_values_stand_as_long_as_their_own_inputs_do() {
    for shape in Shape::both() {
        let mut mixed = Mixed::altered(shape).await;
        mixed.expect([]).await;
        mixed.scenario.append_batch(rows(400..450)).await;
        mixed.expect(400..450).await;
        // A column that only the old expression reads: its rows are computed anew, by the new one.
        mixed
            .scenario
            .update("b", "b + 1", "id >= 90 AND id < 127")
            .await;
        mixed.expect(90..127).await;
        mixed
            .scenario
            .update("b", "b + 1", "id >= 100 AND id < 110")
            .await;
        mixed.expect([]).await;
        mixed
            .scenario
            .update("b", "b + 1", "id >= 395 AND id < 410")
            .await;
        mixed.expect(395..400).await;
        // A column that only the new expression reads.
        mixed.scenario.update("c", "c + 1", "id < 20").await;
        mixed.expect([]).await;
        mixed
            .scenario
            .update("c", "c + 1", "id >= 85 AND id < 100")
            .await;
        mixed.expect(90..100).await;
        mixed
            .scenario
            .update("c", "c + 1", "id >= 390 AND id < 405")
            .await;
        mixed.expect(395..405).await;
        // A column that both read, and one that neither does.
        mixed
            .scenario
            .update("a", "7777", "id IN (301, 302, 420)")
            .await;
        mixed.expect([301, 302, 420]).await;
        mixed.scenario.update("d", "d + 1", "id < 420").await;
        mixed.expect([]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn older_values_move_and_are_patched_with_their_own_inputs() {
    for shape in Shape::both() {
        let mut mixed = Mixed::altered(shape).await;
        assert!(mixed.scenario.compact().await);
        mixed.expect([]).await;
        mixed.scenario.append_batch(rows(400..430)).await;
        mixed.expect(400..430).await;
        mixed.scenario.delete("id % 13 = 5").await;
        assert!(mixed.scenario.compact().await);
        mixed.old.retain(|id| id % 13 != 5);
        mixed.expect([]).await;
        let patch = |column: &str, ids: std::ops::Range<i64>| {
            let ids = ids.filter(|id| id % 13 != 5);
            batch(&[
                ("id", ints(ids.clone().map(Some))),
                (column, ints(ids.map(|id| Some(id + 1_000)))),
            ])
        };
        mixed.scenario.patch(patch("b", 200..210)).await;
        mixed.expect((200..210).filter(|id| id % 13 != 5)).await;
        mixed.scenario.patch(patch("c", 205..220)).await;
        mixed.expect((205..210).filter(|id| id % 13 != 5)).await;
        mixed.scenario.update("b", "b + 1", "id < 10").await;
        assert!(mixed.scenario.compact().await);
        mixed.expect((0..10).filter(|id| id % 13 != 5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn there_and_back_over_other_columns_keeps_each_generation() {
    for shape in Shape::both() {
        let mut mixed = Mixed::altered(shape).await;
        mixed.scenario.append_batch(rows(400..460)).await;
        mixed.expect(400..460).await;
        mixed.alter(OLD, (0, 60));
        mixed.expect([]).await;
        mixed.scenario.append_batch(rows(460..470)).await;
        mixed.old.extend(460..470);
        mixed.expect_computed(10).await;
        // Rows of the other generation follow the columns that it reads, and then are of this one.
        mixed.scenario.update("c", "c + 1", "id < 405").await;
        mixed.old.extend(400..405);
        mixed.expect_computed(5).await;
        mixed.scenario.update("b", "b + 1", "id >= 455").await;
        mixed.expect_computed(10).await;
        let generation = mixed.new_generation.clone();
        let options = ["p", "--generation", &generation, "--recompute"];
        let outcome = mixed.scenario.run(&["backfill"], &options).expect_code(0);
        assert_eq!(Report::read(outcome.json()).assigned("p"), 55);
        mixed.old.extend(400..460);
        mixed.expect_computed(0).await;
        mixed.scenario.update("c", "c + 1", "id >= 0").await;
        mixed.expect_computed(0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn older_values_are_brought_over_on_request() {
    for shape in Shape::both() {
        let mut mixed = Mixed::altered(shape).await;
        mixed.scenario.append_batch(rows(400..430)).await;
        mixed.expect(400..430).await;
        let generation = mixed.old_generation.clone();
        let some = [
            "p",
            "--generation",
            &generation,
            "--recompute",
            "--where",
            "id < 50",
        ];
        let outcome = mixed.scenario.run(&["backfill"], &some).expect_code(0);
        assert_eq!(Report::read(outcome.json()).assigned("p"), 50);
        mixed.old.retain(|id| *id >= 50);
        mixed.expect([]).await;
        let outcome = mixed.scenario.run(&["backfill"], &some[..4]).expect_code(0);
        assert_eq!(Report::read(outcome.json()).assigned("p"), 350);
        mixed.old.clear();
        mixed.expect([]).await;
        mixed.scenario.update("b", "b + 1", "id >= 0").await;
        mixed.expect([]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn recompute_all_over_other_columns_computes_what_moved_too() {
    for shape in Shape::both() {
        let mut mixed = Mixed::filled(shape, &[]).await;
        mixed.new_generation = "none".to_owned();
        assert!(mixed.scenario.compact().await);
        mixed.expect([]).await;
        let options = ["--sql", NEW, "--on-change", "recompute_all"];
        let told = mixed.scenario.alter("p", &options);
        assert_eq!(told["rows_stale_if_only_new"], 0);
        assert_eq!(told["rows_stale_if_recompute_all"], 400);
        mixed.new_generation = told["generation"].as_str().expect("text").to_owned();
        mixed.expect(0..400).await;
        // Nothing is known of the old one any more: its columns are nobody's business.
        mixed.scenario.update("b", "b + 1", "id < 100").await;
        mixed.expect([]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alter_after_a_compaction_keeps_null_results_and_what_somebody_wrote() {
    for shape in Shape::both() {
        let mut mixed = Mixed::filled(shape, &[]).await;
        mixed
            .scenario
            .update("p", "5", "id >= 30 AND id < 35")
            .await;
        assert!(mixed.scenario.compact().await);
        assert_eq!(mixed.scenario.refresh().assigned("p"), 0);
        let told = mixed.alter(NEW, (0, 395));
        mixed.new_generation = told["generation"].as_str().expect("text").to_owned();
        let supplied = |row: &Row| (30..35).contains(&row.id());
        for (column, computed) in [("c", 0), ("b", 10)] {
            let report = mixed.scenario.refresh();
            assert_eq!(report.assigned("p"), 0);
            assert_eq!(report.column("p").rows_current, 400);
            mixed
                .scenario
                .update(column, "1111", "id >= 25 AND id < 40")
                .await;
            assert_eq!(mixed.scenario.refresh().assigned("p"), computed);
        }
        let expected = |row: &Row| match row.id() {
            _ if supplied(row) => Some(5),
            25..40 => sum(row),
            _ => product(row),
        };
        mixed.scenario.check_int("p", expected).await;
        mixed.scenario.expect_rest().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_filter_after_a_compaction_computes_only_what_it_adds() {
    for shape in Shape::both() {
        let mixed = Mixed::filled(shape, &["--where", "b < 3"]).await;
        assert!(mixed.scenario.compact().await);
        assert_eq!(mixed.scenario.refresh().assigned("p"), 0);
        mixed.scenario.alter("p", &["--where", "b < 4"]);
        let report = mixed.scenario.refresh();
        let added = (0..400).filter(|id| id % 7 == 3).count() as u64;
        assert_eq!(report.assigned("p"), added);
        assert_eq!(report.column("p").rows_unknown, 0);
        mixed
            .scenario
            .check_int("p", |row| product(row).filter(|_| row.int("b") < Some(4)))
            .await;
        mixed.scenario.expect_rest().await;
        mixed.scenario.alter("p", &["--where", "b < 3"]);
        assert_eq!(mixed.scenario.refresh().assigned("p"), 0);
        mixed.scenario.expect_rest().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_only_older_values_were_made_from_may_go() {
    for shape in Shape::both() {
        let mut mixed = Mixed::altered(shape).await;
        mixed.expect([]).await;
        mixed.scenario.drop_column("b").await;
        let old = mixed.old.clone();
        let expected = |row: &Row| match old.contains(&row.id()) {
            true => row.int("a").map(|a| a * (row.id() % 7)),
            false => sum(row),
        };
        let expect = async |computed| {
            let report = mixed.scenario.refresh();
            assert_eq!(report.assigned("p"), computed);
            let column = report.column("p");
            assert_eq!(column.rows_current + column.rows_unknown, column.rows_total);
            mixed.scenario.check_int("p", expected).await;
            mixed.scenario.expect_rest().await;
        };
        expect(0).await;
        let ids = 400..410;
        let new = [
            ("id", ints(ids.clone().map(Some))),
            ("a", ints(ids.clone().map(Some))),
            ("c", ints(ids.map(Some))),
        ];
        mixed.scenario.append_batch(batch(&new)).await;
        expect(10).await;
        assert!(mixed.scenario.compact().await);
        expect(0).await;
        mixed.scenario.update("c", "c + 1", "id < 405").await;
        expect(5).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_can_tell_a_renamed_column_of_older_values_from_another_one() {
    for shape in Shape::both() {
        let mixed = Mixed::altered(shape).await;
        mixed.scenario.rename_column("b", "factor").await;
        let report = mixed.scenario.refresh();
        assert_eq!(report.assigned("p"), 0);
        assert_eq!(report.column("p").rows_current, 400);
        mixed
            .scenario
            .update("factor", "factor + 1", "id < 5")
            .await;
        let report = mixed.scenario.refresh();
        assert_eq!(report.assigned("p"), 0, "not asked for");
        assert_eq!(report.column("p").rows_unknown, 5);
        assert_eq!(report.column("p").rows_current, 395);
        mixed.scenario.expect_rest().await;
        let options = ["p", "--generation", &mixed.old_generation, "--recompute"];
        let outcome = mixed.scenario.run(&["backfill"], &options).expect_code(0);
        assert_eq!(Report::read(outcome.json()).assigned("p"), 400);
        mixed.scenario.check_int("p", sum).await;
        mixed.scenario.expect_rest().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn results_of_the_old_expression_that_are_not_published_yet_count() {
    for shape in Shape::both() {
        let table = Table::of(shape.fragments_of(300), rows(0..600)).await;
        let scenario = Scenario::on(table);
        // The budget stops the refresh half-way, and nothing that it found is published.
        let sql = "CASE WHEN id = 250 THEN 1 / (b - b) ELSE a * b END";
        let declared = scenario.add("p", sql, &["--on-error", "fail"]);
        let options = ["--batch-rows", "40", "--workers", "1"];
        scenario.run(&["pause"], &[]).expect_code(0);
        scenario.run(&["refresh"], &options).expect_code(1);
        scenario.run(&["resume"], &[]).expect_code(0);
        let mut manifests = Objects::new();
        read_new(&scenario.state_folder(), "checkpoints", &mut manifests);
        // A fold calls nothing: it says again what its parts say.
        let done: u64 = (manifests.values())
            .filter(|manifest: &&CheckpointManifest| manifest.calls > 0)
            .flat_map(|manifest| &manifest.slices)
            .map(|slice| slice.values.len() + slice.nulls.len())
            .sum();
        assert!((1..600).contains(&done), "{done} rows are done");
        let told = scenario.alter("p", &["--sql", NEW, "--on-error", "skip"]);
        let report = scenario.refresh_with(&["--batch-rows", "40"]);
        assert_eq!(report.column("p").rows_current, 600);
        let generations = &scenario.status().column("p").generations.clone();
        let of = |told: &Value| generations[told["generation"].as_str().expect("text")];
        assert_eq!((of(&declared), of(&told)), (done, 600 - done));
        let old = |row: &&Row| row.int("p") == product(row);
        assert!(scenario.rows().await.iter().filter(old).count() as u64 >= done);
        scenario
            .check_int("p", |row| match row.int("p") {
                value if value == product(row) => value,
                _ => sum(row),
            })
            .await;
        scenario.expect_rest().await;
        scenario.update("b", "b + 1", "id >= 0").await;
        assert_eq!(scenario.refresh().assigned("p"), done);
        scenario.check_int("p", sum).await;
        scenario.expect_rest().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_computed_column_that_only_older_values_were_made_from_comes_first() {
    for shape in Shape::both() {
        let table = Table::of(shape.fragments_of(100), rows(0..400)).await;
        let scenario = Scenario::on(table);
        scenario.add("p", "a", &[]);
        scenario.add("q", "b * 2", &[]);
        scenario.refresh();
        let all = ["--sql", "q + 1", "--on-change", "recompute_all"];
        scenario.alter("p", &all);
        assert_eq!(scenario.refresh().assigned("p"), 400);
        scenario.alter("p", &["--sql", "c"]);
        assert_eq!(scenario.refresh().assigned("p"), 0);
        scenario.update("b", "b + 1", "id < 10").await;
        let report = scenario.refresh();
        assert_eq!((report.assigned("q"), report.assigned("p")), (10, 10));
        let expected = |row: &Row| match row.id() {
            0..10 => row.int("c"),
            _ => Some(row.int("b")? * 2 + 1),
        };
        scenario.check_int("p", expected).await;
        scenario.expect_rest().await;
    }
}
