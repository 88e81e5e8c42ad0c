//! What other writers do to a filled column, and how little of it makes work.

use crate::fill::product;
use crate::support::{Scenario, Shape};

mod compaction;
mod index;
mod rest;
mod schema;
mod updates;

/// 400 rows in four fragments, filled and at rest.
async fn settled(shape: Shape) -> Scenario {
    Scenario::filled(shape.fragments_of(100), 400).await
}

/// A refresh after a change computes exactly so many rows, all are right, and then it rests.
async fn expect_computed(scenario: &Scenario, rows: u64) {
    let report = scenario.refresh();
    assert_eq!(report.assigned("p"), rows);
    let all = scenario.check_int("p", product).await as u64;
    assert_eq!(report.column("p").rows_current, all, "{report:#?}");
    scenario.expect_rest().await;
}
