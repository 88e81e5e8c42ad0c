//! A canary of a group compares what the columns would have.

use super::{PAIR, filled};
use crate::support::Shape;

#[tokio::test(flavor = "multi_thread")]
async fn a_struct_of_nulls_and_no_struct_are_the_same_to_the_columns() {
    let scenario = filled(Shape::default().fragments_of(100), 330).await;
    let canary = |sql: &str| {
        let options = ["p", "--sql", sql, "--rows", "330"];
        let outcome = scenario.run(&["column", "canary"], &options);
        outcome.expect_code(0).json()
    };
    let none = canary(&format!("CASE WHEN a IS NULL THEN NULL ELSE {PAIR} END"));
    assert_eq!(none["rows_tried"], 330);
    assert_eq!(none["rows_different"], 0, "{none:#}");
    let other = canary("named_struct('p', a * b, 'q', CASE WHEN id < 10 THEN 7 ELSE a + b END)");
    let different = other["rows_different"].as_u64().expect("a number");
    assert!((1..=10).contains(&different), "{different}");
}
