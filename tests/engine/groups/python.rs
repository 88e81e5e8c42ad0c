//! Groups that Python functions fill.

use super::{check, sum};
use crate::fill::product;
use crate::support::{Functions, Report, Row, Scenario, Shape};

const CODE: &str = r#"
from dataclasses import dataclass

@dataclass
class Pair:
    p: int | None
    other: str
    q: int | None

@udf
def pair(a: int, b: int) -> Pair:
    note("row")
    if a is None:
        return None
    return Pair(p=a * b, other="x", q=a + b)

PAIR = pa.struct([("p", pa.int64()), ("q", pa.int64())])

@udf(data_type=PAIR, batch_size=100)
def array(a: pa.Array, b: pa.Array) -> pa.Array:
    return pa.StructArray.from_arrays([pc.multiply(a, b), pc.add(a, b)], fields=list(PAIR))

@udf(data_type=PAIR)
def picky(a: int, b: int):
    if b == 0:
        raise ValueError("no zero")
    return {"p": a and a * b, "q": a and a + b}

@udf
def number(a: int) -> int:
    return a
"#;

#[tokio::test(flavor = "multi_thread")]
async fn fields_of_what_a_function_returns_fill_columns_in_any_order_and_some_are_left_out() {
    let Some(functions) = Functions::new(CODE) else {
        return;
    };
    for columns in ["q,p", "p,q"] {
        let scenario = Scenario::standard(Shape::default().fragments_of(200), 500).await;
        let declared = functions.add(&scenario, columns, "pair", &[]);
        assert_eq!(declared["column"], columns);
        let options = ["--batch-rows", "90"];
        let refreshed = functions.run(&scenario, &["refresh"], &options);
        let report = Report::read(refreshed.expect_code(0).json());
        assert_eq!(report.assigned(columns), 500);
        let rows = functions.calls().len();
        assert_eq!(rows, 500, "one call a row for both columns");
        check(&scenario).await;
        scenario.expect_rest().await;
        scenario.append(50).await;
        scenario.update("b", "b + 1", "id = 7").await;
        let refreshed = functions.run(&scenario, &["refresh"], &[]).expect_code(0);
        assert_eq!(Report::read(refreshed.json()).assigned(columns), 51);
        check(&scenario).await;
        scenario.compact().await;
        scenario.expect_computed_nothing();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn structs_of_arrays_and_rows_that_fail() {
    let Some(functions) = Functions::new(CODE) else {
        return;
    };
    let scenario = Scenario::standard(Shape::default().fragments_of(200), 350).await;
    functions.add(&scenario, "p,q", "array", &[]);
    functions.run(&scenario, &["refresh"], &[]).expect_code(0);
    check(&scenario).await;
    scenario.expect_rest().await;
    let options = [
        "--on-change",
        "recompute_all",
        "--max-failed-fraction",
        "0.5",
    ];
    functions.alter(&scenario, "q", "picky", &options);
    let refreshed = functions.run(&scenario, &["refresh"], &[]).expect_code(0);
    let report = Report::read(refreshed.json());
    assert_eq!(report.assigned("p,q"), 300);
    assert_eq!(report.column("p,q").rows_failed, 50);
    assert_eq!(scenario.failures("p").len(), 50);
    // What stood there stays; a is zero in one row, which Python takes for false.
    scenario.check_int("p", product).await;
    let zero = |row: &Row| match row.id() {
        0 => Some(0),
        _ => sum(row),
    };
    scenario.check_int("q", zero).await;
    // And back to an expression.
    let sql = ["--sql", super::PAIR, "--on-change", "recompute_all"];
    scenario.alter("p", &sql);
    assert_eq!(scenario.refresh().assigned("p,q"), 350);
    check(&scenario).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_whose_struct_does_not_fit_is_refused() {
    let Some(functions) = Functions::new(CODE) else {
        return;
    };
    let scenario = Scenario::standard(Shape::default(), 50).await;
    let version = scenario.version().await;
    for (columns, function, about) in [
        ("p,z", "pair", "no field 'z': its fields are p, other, q"),
        ("p,q", "number", "returns a struct"),
    ] {
        let refused = functions.try_add(&scenario, columns, function, &[]);
        assert_eq!(refused.code, 2, "{refused:#?}");
        assert!(refused.stderr.contains(about), "{refused:#?}");
    }
    assert_eq!(scenario.version().await, version);
    functions.add(&scenario, "p,other", "pair", &[]);
    let (entrypoint, from) = ("udfs:array".to_owned(), functions.path());
    let options = ["p", "--udf", &entrypoint, "--from", &from];
    let refused = functions.run(&scenario, &["column", "alter"], &options);
    assert_eq!(refused.code, 2, "{refused:#?}");
    assert!(refused.stderr.contains("no field 'other'"), "{refused:#?}");
}
