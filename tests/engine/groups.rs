//! Groups: several columns that one call fills.

use arrow_array::{Int64Array, RecordBatch};

use crate::fill::product;
use crate::support::table::batch;
use crate::support::{Report, Row, Scenario, Shape, ints, texts};

mod canary;
mod declared;
mod moved;
mod python;

/// `p` and `q` are NULL together where `a` is.
pub(crate) const PAIR: &str = "named_struct('p', a * b, 'q', a + b)";

pub(crate) fn sum(row: &Row) -> Option<i64> {
    Some(row.int("a")? + row.int("b")?)
}

/// A table of standard rows with the group `p,q`, filled.
pub(crate) async fn filled(shape: Shape, rows: i64) -> Scenario {
    let scenario = Scenario::standard(shape, rows).await;
    scenario.add("p,q", PAIR, &[]);
    let report = scenario.refresh();
    assert_eq!(report.assigned("p,q"), u64::try_from(rows).expect("rows"));
    scenario
}

/// Both columns have what the inputs give.
pub(crate) async fn check(scenario: &Scenario) {
    scenario.check_int("p", product).await;
    scenario.check_int("q", sum).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_pass_fills_several_columns_with_one_file_and_keeps_them_filled() {
    for storage in Shape::of_every_version() {
        for stable_row_ids in [false, true] {
            let shape = Shape {
                stable_row_ids,
                ..storage
            };
            let scenario = Scenario::standard(shape.fragments_of(300), 1_000).await;
            let text = "named_struct('p', a * b, 't', concat(s, '-', CAST(b AS VARCHAR)))";
            let declared = scenario.add("p,t", text, &[]);
            assert_eq!(declared["column"], "p,t");
            let report = scenario.refresh();
            assert_eq!(report.assigned("p,t"), 1_000);
            let spelled = |row: &Row| Some(format!("{}-{}", row.text("s")?, row.text("b")?));
            scenario.check_int("p", product).await;
            scenario.check("t", spelled).await;
            scenario.expect_rest().await;
            let dataset = scenario.open().await;
            let ids = ["p", "t"].map(|name| dataset.schema().field(name).expect("a field").id);
            for fragment in dataset.get_fragments() {
                let files = &fragment.metadata().files;
                let holding: Vec<_> = (files.iter())
                    .filter(|file| ids.iter().any(|id| file.fields.contains(id)))
                    .collect();
                assert_eq!(holding.len(), 1, "{files:#?}");
                assert!(ids.iter().all(|id| holding[0].fields.contains(id)));
            }
            scenario.append(200).await;
            assert_eq!(scenario.refresh().assigned("p,t"), 200);
            scenario.update("b", "b + 1", "id = 17").await;
            assert_eq!(scenario.refresh().assigned("p,t"), 1);
            scenario.delete("id % 50 = 1").await;
            scenario.compact().await;
            scenario.expect_rest_of_columns().await;
            scenario.check_int("p", product).await;
            scenario.check("t", spelled).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_nothing_but_null_is_a_result_like_any_other() {
    for shape in Shape::both() {
        let scenario = filled(shape.fragments_of(100), 330).await;
        let report = scenario.expect_rest().await;
        assert_eq!(report.column("p,q").rows_current, 330);
        check(&scenario).await;
        scenario.compact().await;
        scenario.expect_computed_nothing();
        scenario.expect_rest().await;
        // Where all rows are NULL no file is needed.
        let nulls = "named_struct('x', nullif(a, a), 'y', nullif(b, b))";
        scenario.add("x,y", nulls, &[]);
        let report = scenario.refresh();
        assert_eq!(report.assigned("x,y"), 330);
        assert_eq!(report.column("x,y").bytes_written, 0);
        scenario.expect_rest().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_take_fields_by_name_and_may_leave_some_out() {
    let scenario = Scenario::standard(Shape::default().fragments_of(100), 250).await;
    let wide = "named_struct('other', s, 'q', a + b, 'more', id, 'p', a * b)";
    scenario.add("p, q", wide, &[]);
    let report = scenario.refresh_with(&["--batch-rows", "40"]);
    assert_eq!(report.assigned("p,q"), 250);
    check(&scenario).await;
    scenario.expect_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_fails_fails_in_all_columns_and_alone() {
    let scenario = Scenario::standard(Shape::default().fragments_of(100), 350).await;
    let divided = "named_struct('p', 100 / b, 'q', a + b)";
    let options = ["--max-failed-fraction", "0.5"];
    scenario.add("p,q", divided, &options);
    let report = scenario.refresh();
    assert_eq!(report.column("p,q").rows_failed, 50);
    assert_eq!(report.assigned("p,q"), 300);
    for name in ["p", "q", "p,q"] {
        assert_eq!(scenario.failures(name).len(), 50, "{name}");
    }
    let only_good = |row: &Row| (row.int("b")? != 0).then(|| sum(row)).flatten();
    let divided = |row: &Row| 100_i64.checked_div(row.int("b")?);
    scenario.check_int("p", divided).await;
    scenario.check_int("q", only_good).await;
    scenario.expect_rest_of_columns().await;
    scenario.update("b", "5", "id = 14").await;
    assert_eq!(scenario.refresh().assigned("p,q"), 1);
    scenario.check_int("p", divided).await;
    scenario.check_int("q", only_good).await;
    let retried = scenario.run(&["retry"], &["q"]);
    assert_eq!(retried.json()["rows_selected"], 49, "{retried:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_a_group_are_folded_over_older_values() {
    for shape in Shape::both() {
        let scenario = Scenario::standard(shape.fragments_of(400), 1_000).await;
        scenario.add("p,q", PAIR, &[]);
        let report = scenario.refresh_with(&["--batch-rows", "90"]);
        assert_eq!(report.assigned("p,q"), 1_000);
        check(&scenario).await;
        scenario.expect_rest().await;
        scenario.append(200).await;
        let swapped = "named_struct('p', a + b, 'q', a * b)";
        let all = ["--sql", swapped, "--on-change", "recompute_all"];
        scenario.alter("q", &all);
        let report = scenario.refresh_with(&["--batch-rows", "70"]);
        assert_eq!(report.assigned("p,q"), 1_200);
        scenario.check_int("p", sum).await;
        scenario.check_int("q", product).await;
        scenario.expect_rest().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_name_of_a_group_means_all_of_it() {
    let scenario = filled(Shape::default().fragments_of(100), 250).await;
    scenario.append(50).await;
    for name in ["p", "q", "p,q"] {
        let plan = scenario.run(&["plan"], &["--column", name]).expect_code(0);
        assert_eq!(plan.json()["columns"][0]["column"], "p,q", "{plan:#?}");
        let shown = scenario.run(&["column", "show"], &[name]).expect_code(0);
        assert_eq!(shown.json()["column"], "p,q", "{shown:#?}");
    }
    let report = scenario.refresh_with(&["--column", "q"]);
    assert_eq!(report.assigned("p,q"), 50);
    let options = ["p", "--where", "id < 10", "--recompute"];
    let done = scenario.run(&["backfill"], &options).expect_code(0).json();
    assert_eq!(done["rows_selected"], 10);
    let report = Report::read(done);
    assert_eq!(report.column("p,q").rows_current, 300);
    scenario.run(&["column", "pause"], &["q"]).expect_code(0);
    assert_eq!(scenario.status().column("p,q").state, "paused");
    scenario.run(&["column", "resume"], &["p"]).expect_code(0);
    let jobs = scenario.run(&["jobs", "list"], &[]).expect_code(0).json();
    assert_eq!(jobs["jobs"][0]["column"], "p,q", "{jobs:#}");
    check(&scenario).await;
    scenario.expect_rest_of_columns().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_writes_into_one_of_the_columns_stands() {
    for shape in Shape::both() {
        let scenario = filled(shape.fragments_of(100), 250).await;
        let rows = |ids: &[i64], column: &str, value: Option<i64>| {
            let ids_column = ints(ids.iter().copied().map(Some));
            batch(&[
                ("id", ids_column),
                (column, ints(ids.iter().map(|_| value))),
            ])
        };
        // A value, and NULL in one of both.
        scenario.patch(rows(&[5], "q", Some(-5))).await;
        scenario.patch(rows(&[6], "p", None)).await;
        scenario.update("q", "-7", "id = 107").await;
        scenario.expect_computed_nothing();
        let theirs = |row: &Row| match row.id() {
            5 => Some(-5),
            107 => Some(-7),
            _ => sum(row),
        };
        scenario.check_int("q", theirs).await;
        let without_6 = |row: &Row| (row.id() != 6).then(|| product(row)).flatten();
        scenario.check_int("p", without_6).await;
        // NULL in both asks for a value; what they wrote stands whatever its inputs become.
        let both = batch(&[
            ("id", ints([Some(5)])),
            ("p", ints([None])),
            ("q", ints([None])),
        ]);
        scenario.patch(both).await;
        scenario.update("b", "b + 1", "id = 6").await;
        assert_eq!(scenario.refresh().assigned("p,q"), 1);
        scenario.check_int("p", without_6).await;
        let options = ["q", "--where", "id in (6, 107)", "--recompute"];
        scenario.run(&["backfill"], &options).expect_code(0);
        check(&scenario).await;
        scenario.expect_rest().await;
    }
}

/// Rows that come with one of the columns, and without it where it is NULL.
fn with_p(ids: std::ops::Range<i64>, p: impl Fn(i64) -> Option<i64>) -> RecordBatch {
    let all = |value: &dyn Fn(i64) -> Option<i64>| ints(ids.clone().map(value));
    batch(&[
        ("id", all(&Some)),
        ("a", all(&|id| Some(id * 10))),
        ("b", all(&|id| Some(id % 7))),
        ("s", texts(ids.clone().map(|id| Some(format!("s{id}"))))),
        ("p", all(&p)),
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_come_with_one_of_the_columns_keep_it_and_the_others_are_computed() {
    for shape in Shape::both() {
        let scenario = filled(shape.fragments_of(100), 100).await;
        let (one, all) = (1_000..1_040, 2_000..2_030);
        let supplied = |id: i64| (id % 2 == 0).then_some(-id);
        scenario.append_batch(with_p(one.clone(), supplied)).await;
        scenario.append_batch(with_p(all.clone(), |_| None)).await;
        let report = scenario.refresh();
        assert_eq!(report.assigned("p,q"), 20 + 30);
        let theirs = |row: &Row| one.contains(&row.id()) && row.id() % 2 == 0;
        let p = |row: &Row| match theirs(row) {
            true => Some(-row.id()),
            false => product(row),
        };
        let q = |row: &Row| (!theirs(row)).then(|| sum(row)).flatten();
        scenario.check_int("p", p).await;
        scenario.check_int("q", q).await;
        scenario.expect_rest().await;
        scenario.compact().await;
        scenario.expect_computed_nothing();
        scenario.check_int("q", q).await;
        let options = ["p", "--where", "id >= 1000", "--recompute"];
        scenario.run(&["backfill"], &options).expect_code(0);
        check(&scenario).await;
        scenario.expect_rest().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_that_read_one_of_a_group_follow_all_of_it() {
    let scenario = Scenario::standard(Shape::default().fragments_of(100), 250).await;
    scenario.add("p,q", PAIR, &[]);
    scenario.add("r", "q * 2", &[]);
    scenario.add(
        "x,y",
        "named_struct('x', p + 1, 'y', r)",
        &["--where", "q > 5"],
    );
    let report = scenario.refresh();
    let columns: Vec<&str> = (report.columns.iter())
        .map(|column| column.column.as_str())
        .collect();
    assert_eq!(columns, ["p,q", "r", "x,y"]);
    let doubled = |row: &Row| Some(sum(row)? * 2);
    let selected = |row: &Row| sum(row).is_some_and(|sum| sum > 5);
    let next = |row: &Row| selected(row).then(|| product(row).map(|p| p + 1)).flatten();
    scenario.check_int("r", doubled).await;
    scenario.check_int("x", next).await;
    scenario.update("b", "b + 3", "id = 33").await;
    let report = scenario.refresh();
    let assigned = ["p,q", "r", "x,y"].map(|name| report.assigned(name));
    assert_eq!(assigned, [1, 1, 1]);
    check(&scenario).await;
    scenario.check_int("r", doubled).await;
    scenario.check_int("x", next).await;
    scenario.expect_rest().await;
    // Nor can a group read what reads one of its columns.
    let cycle = ["q", "--sql", "named_struct('p', a, 'q', r)"];
    let refused = scenario.run(&["column", "alter"], &cycle);
    refused.expect_refusal(&[2], "depend on itself");
    let own = ["p", "--sql", "named_struct('p', q, 'q', a)"];
    let refused = scenario.run(&["column", "alter"], &own);
    refused.expect_refusal(&[2], "depend on itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_of_nested_types_fill_columns_of_nested_types() {
    for shape in Shape::of_every_version() {
        let scenario = Scenario::standard(shape.fragments_of(100), 250).await;
        let nested =
            "named_struct('l', make_array(a, b), 'n', named_struct('x', a, 't', s), 'v', b)";
        scenario.add("n,v,l", nested, &[]);
        let list = |row: &Row| {
            Some(format!(
                "[{}, {}]",
                row.text("a").unwrap_or(""),
                row.text("b")?
            ))
        };
        let inner = |row: &Row| {
            let (x, t) = (row.text("a").unwrap_or(""), row.text("s")?);
            Some(format!("{{x: {x}, t: {t}}}"))
        };
        for batch_rows in ["1000", "30"] {
            let options = ["--batch-rows", batch_rows];
            let report = scenario.refresh_with(&options);
            assert_eq!(report.assigned("n,v,l"), 250);
            scenario.check("l", list).await;
            scenario.check("n", inner).await;
            scenario.check_int("v", |row| row.int("b")).await;
            scenario.expect_rest().await;
            let again = nested.replace("b)", "0 + b)");
            let all = ["--sql", &again, "--on-change", "recompute_all"];
            if batch_rows == "1000" {
                scenario.alter("v", &all);
            }
        }
        scenario.compact().await;
        scenario.update("b", "b + 1", "id = 30").await;
        assert_eq!(scenario.refresh().assigned("n,v,l"), 1);
        scenario.check("l", list).await;
    }
}

/// Values of a column of integers, in the order of a scan.
pub(crate) async fn values_of(scenario: &Scenario, column: &str) -> Vec<Option<i64>> {
    let rows = scenario.full_batch().await;
    let values = rows.column_by_name(column).expect("the column");
    let values = values.as_any().downcast_ref::<Int64Array>();
    values.expect("integers").iter().collect()
}
