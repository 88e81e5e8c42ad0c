//! Filling columns with each kind of function, and changing the function.

use crate::support::serving::{Serving, eventually, served, wait_served};
use crate::support::{Functions, Report, Row, Scenario, Shape};

const CODE: &str = r#"
@udf
def scalar(a: int, b: int) -> int:
    return None if a is None or b is None else a * b

@udf(data_type=pa.int64())
def array(a: pa.Array, b: pa.Array) -> pa.Array:
    return pc.multiply(a, b)

@udf(data_type=pa.int64(), inputs=["a", "b"], batch_size=50)
def batched(rows: pa.RecordBatch) -> pa.Array:
    note("call", rows.num_rows)
    return pc.multiply(rows["a"], rows["b"])

@udf
class Model:
    def __init__(self):
        note("load")
        self.zero = 0

    def __call__(self, a: int, b: int) -> int:
        return None if a is None or b is None else a * b + self.zero
"#;

fn product(row: &Row) -> Option<i64> {
    Some(row.int("a")? * row.int("b")?)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_function_fills_a_column_and_what_comes_in_later() {
    let Some(functions) = Functions::new(CODE) else {
        return;
    };
    let scenario = Scenario::standard(Shape::default().fragments_of(200), 500).await;
    for kind in ["scalar", "array", "batched", "Model"] {
        functions.add(&scenario, kind, kind, &[]);
    }
    let report = functions.run(&scenario, &["refresh"], &[]).expect_code(0);
    let report = Report::read(report.json());
    for kind in ["scalar", "array", "batched", "Model"] {
        assert_eq!(report.assigned(kind), 500);
        scenario.check_int(kind, product).await;
    }
    let log = functions.take_log();
    let calls = log.iter().filter_map(|line| line.strip_prefix("call "));
    let rows: Vec<u64> = calls.map(|rows| rows.parse().expect("rows")).collect();
    assert_eq!(rows.iter().sum::<u64>(), 500);
    assert!(rows.iter().all(|rows| *rows <= 50), "{rows:?}");
    let loads = log.iter().filter(|line| *line == "load").count();
    assert!((1..=2).contains(&loads), "a model is loaded once a host");

    // Nothing to do: no host is started.
    let report = functions.run(&scenario, &["refresh"], &[]).expect_code(0);
    assert_eq!(Report::read(report.json()).assigned("scalar"), 0);
    assert!(functions.take_log().is_empty());

    scenario.append(7).await;
    let report = functions.run(&scenario, &["refresh"], &[]).expect_code(0);
    assert_eq!(Report::read(report.json()).assigned("batched"), 7);
    assert_eq!(functions.calls().last().map(String::as_str), Some("load"));
    for kind in ["scalar", "array", "batched", "Model"] {
        scenario.check_int(kind, product).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_reads_the_columns_that_it_is_told_to_read() {
    let Some(functions) = Functions::new(CODE) else {
        return;
    };
    let scenario = Scenario::standard(Shape::default(), 100).await;
    functions.add(
        &scenario,
        "p",
        "batched",
        &["--inputs", "b,id", "--where", "id > 10"],
    );
    functions.run(&scenario, &["refresh"], &[]).expect_code(0);
    let expected = |row: &Row| Some(row.int("b")? * row.id()).filter(|_| row.id() > 10);
    scenario.check_int("p", expected).await;
}

/// After a change the finished rows stay unless asked for, and only the rest runs with the new one.
#[tokio::test(flavor = "multi_thread")]
async fn a_changed_function_computes_what_was_not_finished() {
    let Some(functions) = Functions::new(&one("a + 1")) else {
        return;
    };
    let scenario = Scenario::standard(Shape::default().fragments_of(100), 300).await;
    functions.add(&scenario, "p", "one", &[]);
    functions
        .run(&scenario, &["backfill"], &["p", "--where", "id < 150"])
        .expect_code(0);
    functions.write(&one("a + 2"));
    let altered = functions.alter(&scenario, "p", "one", &[]);
    assert_eq!(altered["rows_stale_if_only_new"], 0);
    assert_eq!(altered["rows_stale_if_recompute_all"], 150);
    let report = functions.run(&scenario, &["refresh"], &[]).expect_code(0);
    assert_eq!(Report::read(report.json()).assigned("p"), 150);
    let by_age = |row: &Row| {
        let a = row.int("a")?;
        Some(if row.id() < 150 { a + 1 } else { a + 2 })
    };
    scenario.check_int("p", by_age).await;

    functions.write(&one("a + 3"));
    functions.alter(&scenario, "p", "one", &["--on-change", "recompute_all"]);
    let report = functions.run(&scenario, &["refresh"], &[]).expect_code(0);
    assert_eq!(Report::read(report.json()).assigned("p"), 300);
    scenario.check_int("p", |row| Some(row.int("a")? + 3)).await;
}

fn one(body: &str) -> String {
    format!("@udf\ndef one(a: int) -> int:\n    return None if a is None else {body}\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_authors_version_stands_for_the_code() {
    let versioned = |comment: &str| {
        format!(
            "@udf(version='1')\ndef one(a: int) -> int:\n    # {comment}\n    return None if a is None else a + 1\n"
        )
    };
    let Some(functions) = Functions::new(&versioned("once")) else {
        return;
    };
    let scenario = Scenario::standard(Shape::default(), 100).await;
    let first = functions.add(&scenario, "p", "one", &[]);
    functions.run(&scenario, &["refresh"], &[]).expect_code(0);
    functions.write(&versioned("reformatted"));
    let options = ["--on-change", "recompute_all"];
    let altered = functions.alter(&scenario, "p", "one", &options);
    assert_eq!(altered["generation"], first["generation"]);
    assert_ne!(
        altered["definition"]["function"]["artifact"],
        first["definition"]["function"]["artifact"]
    );
    let report = functions.run(&scenario, &["refresh"], &[]).expect_code(0);
    assert_eq!(Report::read(report.json()).assigned("p"), 0);
}

/// A model is loaded once, however many appends its host serves.
#[tokio::test(flavor = "multi_thread")]
async fn serve_keeps_hosts_warm() {
    let Some(functions) = Functions::new(CODE) else {
        return;
    };
    let scenario = Scenario::standard(Shape::default(), 100).await;
    functions.add(&scenario, "p", "Model", &[]);
    let serving = Serving::table(&scenario);
    for rows in [100, 130, 160, 190] {
        eventually("the column converges", async || {
            let computed = |row: &Row| row.int("p") == product(row);
            scenario.rows().await.iter().all(computed)
        })
        .await;
        assert_eq!(scenario.status().column("p").rows_current, rows);
        if rows < 190 {
            scenario.append(30).await;
        }
    }
    wait_served(&serving, &scenario.uri, "p", 190);
    let document = serving.stop("-TERM", 143);
    assert_eq!(served(&document, &scenario.uri, "p"), 190);
    let log = functions.take_log();
    let loads = log.iter().filter(|line| *line == "load").count();
    assert!((1..=2).contains(&loads), "{loads} loads for 4 rounds");
}
