//! Rows that take their host with them, hang, exhaust memory, raise or give what cannot be taken.

use std::collections::BTreeMap;

use crate::support::{Failure, Functions, Report, Row, Scenario, Shape};

/// Ten bad rows of each kind in a thousand.
const CODE: &str = r#"
import ctypes

def value(n):
    match n % 100:
        case 3: ctypes.string_at(0)
        case 23: time.sleep(3600)
        case 43:
            hoard = []
            while True: hoard.append(bytearray(b"x" * (16 << 20)))
        case 63: raise ValueError(f"no value for {n}")
        case 83: return "not a number"
    return n * 2

@udf(row_timeout=2.5, memory="250MiB")
def scalar(id: int) -> int:
    return value(id)

@udf(data_type=pa.int64(), row_timeout=2.5, memory="250MiB", batch_size=1000)
def batched(id: pa.Array) -> pa.Array:
    values = [value(n) for n in id.to_pylist()]
    if "not a number" in values:
        return pa.array(values[1:])
    return pa.array(values)
"#;

fn expected(row: &Row) -> Option<i64> {
    let bad = [3, 23, 43, 63, 83].contains(&(row.id() % 100));
    (!bad).then_some(row.id() * 2)
}

fn kinds(failures: &[Failure]) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    for failure in failures {
        *kinds.entry(failure.kind.clone()).or_default() += 1;
    }
    kinds
}

async fn fill_past_killers(function: &str, rows: i64, misfit: &str) -> Option<usize> {
    let functions = Functions::new(CODE)?;
    let scenario = Scenario::standard(Shape::default(), rows).await;
    functions.add(&scenario, "p", function, &["--max-failed-fraction", "0.05"]);
    let outcome = functions.run(&scenario, &["refresh"], &[]).expect_code(0);
    let report = Report::read(outcome.json());
    let each = rows as usize / 100;
    assert_eq!(report.assigned("p") as usize, rows as usize - 5 * each);
    scenario.check_int("p", expected).await;
    let failures = scenario.failures("p");
    assert_eq!(
        kinds(&failures),
        BTreeMap::from(
            [
                ("crashed", each),
                ("timeout", each),
                ("out_of_memory", each),
                ("ValueError", each),
                (misfit, each)
            ]
            .map(|(kind, rows)| (kind.to_owned(), rows))
        )
    );
    for failure in &failures {
        let wanted = match failure.offset % 100 {
            3 => "crashed",
            23 => "timeout",
            43 => "out_of_memory",
            63 => "ValueError",
            _ => misfit,
        };
        assert_eq!(failure.kind, wanted, "{failure:?}");
    }
    let starts = functions.take_log();
    Some(
        starts
            .iter()
            .filter(|line| line.starts_with("start"))
            .count(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn killers_of_a_scalar_function_fail_alone_and_cost_one_restart_each() {
    let Some(starts) = fill_past_killers("scalar", 1_000, "wrong_type").await else {
        return;
    };
    // A host for each core to begin with, and one for each of thirty killers.
    assert!((30..=34).contains(&starts), "{starts} starts");
}

#[tokio::test(flavor = "multi_thread")]
async fn killers_of_a_batched_function_are_found_by_halving() {
    let Some(starts) = fill_past_killers("batched", 200, "wrong_length").await else {
        return;
    };
    // Six killers in calls of at most 200 rows: 2 * log2(200) restarts each at most.
    assert!(starts <= 2 + 6 * 16, "{starts} starts");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poisonous_row_of_ten_thousand_is_found_in_thirty_calls() {
    let code = r#"
@udf(data_type=pa.int64(), batch_size=10_000)
def picky(id: pa.Array) -> pa.Array:
    ids = id.to_pylist()
    note("call", ids[0], ids[-1] + 1)
    if 7_777 in ids:
        raise ValueError("poison")
    note("good", ids[0], ids[-1] + 1)
    return id
"#;
    let Some(functions) = Functions::new(code) else {
        return;
    };
    let scenario = Scenario::standard(Shape::default(), 10_000).await;
    functions.add(&scenario, "p", "picky", &[]);
    // The whole table in one batch, and that in one call.
    let outcome = functions.run(&scenario, &["refresh"], &["--workers", "1"]);
    let report = Report::read(outcome.expect_code(0).json());
    assert_eq!(report.assigned("p"), 9_999);
    let failures = scenario.failures("p");
    assert_eq!(failures.len(), 1);
    assert_eq!(
        (failures[0].offset, failures[0].kind.as_str()),
        (7_777, "ValueError")
    );
    let mut calls = 0;
    let mut good = vec![0; 10_000];
    for line in functions.calls() {
        let words: Vec<&str> = line.split(' ').collect();
        let range = words[1].parse::<usize>().expect("a row")..words[2].parse().expect("a row");
        match words[0] {
            "call" => {
                calls += 1;
                let again = good[range.clone()].iter().any(|times| *times > 0);
                assert!(!again, "{range:?} was called again after it succeeded");
            }
            _ => good[range].iter_mut().for_each(|times| *times += 1),
        }
    }
    assert!(calls <= 30, "{calls} calls");
}
