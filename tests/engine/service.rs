//! The deployed service: real queues and functions on an emulator of AWS, and the same stages with
//! queues in this process.

use crate::fill::product;
use crate::support::Shape;
use crate::support::emulator::Emulator;
use crate::support::in_process::InProcess;
use crate::support::serving::eventually;
use crate::support::{Scenario, Table};

/// Requests of S3 from an append until nothing is left to do, the look at our own commit included.
const MOST_S3_REQUESTS: usize = 36;

async fn standard(emulator: &Emulator, name: &str, rows: i64) -> Scenario {
    let options = emulator.options();
    let table = Table::standard_in(emulator.uri(name), options, Shape::default(), rows).await;
    Scenario::on(table)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declared_column_fills_and_follows_appends() {
    let Some(emulator) = Emulator::start() else {
        return;
    };
    let proxy = emulator.deploy();
    // A name with what S3 encodes in its notifications.
    let scenario = standard(&emulator, "auto + table.lance", 1_000).await;
    scenario.add("p", "a * b", &[]);
    let converged = async || {
        let rows = scenario.rows().await;
        rows.iter().all(|row| row.int("p") == product(row))
    };
    eventually("'p' is filled", converged).await;
    proxy.quiet();
    scenario.append(500).await;
    eventually("new rows are filled", converged).await;
    // Two processes plan and commit, and another works: none has the caches of the others.
    let (sqs, s3): (Vec<_>, Vec<_>) =
        (proxy.quiet().into_iter()).partition(|request| request.starts_with("AmazonSQS."));
    assert!(s3.len() <= MOST_S3_REQUESTS, "{s3:#?}");
    assert_eq!(sqs.len(), 2, "{sqs:#?}");
    scenario.update("a", "a + 1", "id < 100").await;
    eventually("updated rows are filled", converged).await;
    assert_eq!(scenario.check_int("p", product).await, 1_500);
    // Its own commits are events too, and lead to nothing.
    proxy.quiet();
    let version = scenario.version().await;
    scenario.expect_computed_nothing();
    assert_eq!(scenario.version().await, version);
    assert_eq!(proxy.quiet(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_that_read_each_other_follow_one_another() {
    let Some(emulator) = Emulator::start() else {
        return;
    };
    emulator.deploy();
    let scenario = standard(&emulator, "chain.lance", 300).await;
    scenario.add("p", "a * b", &[]);
    scenario.add("q", "p + 1", &["--where", "id % 2 = 0"]);
    scenario.append(100).await;
    eventually("'q' is filled", async || {
        let rows = scenario.rows().await;
        rows.iter().all(|row| {
            let next = product(row).map(|product| product + 1);
            let wanted = next.filter(|_| row.int("id").is_some_and(|id| id % 2 == 0));
            row.int("p") == product(row) && row.int("q") == wanted
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_may_come_twice_and_in_any_order() {
    let shape = Shape::default().fragments_of(400);
    let scenario = Scenario::standard(shape, 1_000).await;
    scenario.add("p", "a * b", &[]);
    let service = InProcess::start(Settings {
        batch_rows: 150,
        ..Settings::default()
    })
    .await;
    let uri = scenario.uri.clone();
    // Of a repeated batch the second delivery finds the first one's checkpoint manifest and its calls.
    let calls = service.converge(&uri).await;
    assert_eq!(calls, 2 * 8, "parts of 150 rows of three fragments");
    scenario.append(100).await;
    service.converge(&uri).await;
    assert_eq!(scenario.check_int("p", product).await, 1_100);
    assert_eq!(service.converge(&uri).await, 0);
    let registered = service.service.tables().await.expect("lists");
    assert_eq!(registered, [uri]);
    scenario.expect_computed_nothing();
}
