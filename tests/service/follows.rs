//! A table is appended to and updated, and its columns follow: nothing else is called.

use crate::deployment::{Deployment, Settings};
use crate::support::oracle::product;
use crate::support::serving::eventually;
use crate::support::table::Shape;

/// Requests of S3 from an append until nothing is left to do, the look at our own commit included.
const MOST_S3_REQUESTS: usize = 25;

#[tokio::test(flavor = "multi_thread")]
async fn a_declared_column_fills_and_follows_appends() {
    // No message comes again, however slow the machine is.
    let settings = Settings {
        visibility_s: 60,
        ..Settings::default()
    };
    let Some(service) = Deployment::start(settings) else {
        return;
    };
    let proxy = &service.proxy;
    // A name with what S3 encodes in its notifications.
    let name = "auto + table.lance";
    let scenario = service.table(name, Shape::default(), 1_000).await;
    scenario.add("p", "a * b", &[]);
    let converged = async || {
        let rows = scenario.rows().await;
        rows.iter().all(|row| row.int("p") == product(row))
    };
    eventually("'p' is filled", converged).await;
    eventually("all is done", async || service.is_drained().await).await;
    proxy.quiet();
    scenario.append(500).await;
    eventually("new rows are filled", converged).await;
    eventually("all is done", async || service.is_drained().await).await;
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
    let Some(service) = Deployment::start(Settings::default()) else {
        return;
    };
    let scenario = service.table("chain.lance", Shape::default(), 300).await;
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
