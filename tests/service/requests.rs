//! What a cycle asks of S3 and SQS: the same, however large the table is.

use std::collections::BTreeMap;

use crate::deployment::{Deployment, Settings};
use crate::support::oracle::product;
use crate::support::scenario::Scenario;
use crate::support::serving::eventually;
use crate::support::table::Shape;

/// Requests of S3 from an append until nothing is left to do, the look at our own commit included.
const MOST_S3_REQUESTS: usize = 25;
/// The same of a version that leads to nothing.
const MOST_IDLE_REQUESTS: usize = 6;
/// Of the service's own store, by a process that knows nothing of late: whether somebody paused the
/// service, and whether somebody took the table out.
const ASKED_OF_THE_SERVICE: usize = 2;
/// Each message is sent, received and deleted; the event itself S3 sends.
const MOST_SQS_REQUESTS: usize = 8;
const ROWS_OF_A_FRAGMENT: usize = 50;

/// Requests by method and kind of object.
type Kinds = BTreeMap<String, usize>;

#[tokio::test(flavor = "multi_thread")]
async fn a_cycle_costs_the_same_however_large_the_table_is() {
    // No message comes again, however slow the machine is.
    let settings = Settings {
        visibility_s: 60,
        ..Settings::default()
    };
    let Some(service) = Deployment::start(settings) else {
        return;
    };
    let mut cycles = vec![];
    for fragments in [5, 60] {
        let name = format!("of {fragments}.lance");
        let shape = Shape::default().fragments_of(ROWS_OF_A_FRAGMENT);
        let rows = i64::try_from(fragments * ROWS_OF_A_FRAGMENT).expect("few");
        let scenario = service.table(&name, shape, rows).await;
        scenario.add("p", "a * b", &[]);
        filled(&service, &scenario).await;
        // Two processes plan and commit, and another works: now all of them know the table.
        append(&service, &scenario).await;
        let cycle = append(&service, &scenario).await;
        scenario.index("id").await;
        let idle = kinds(&service.proxy.quiet());
        cycles.push((cycle, idle));
    }
    for (cycle, idle) in &cycles {
        let sqs: usize = cycle
            .iter()
            .filter(|(kind, _)| is_of_sqs(kind))
            .map(|it| it.1)
            .sum();
        let s3 = cycle.values().sum::<usize>() - sqs;
        assert!(
            s3 + ASKED_OF_THE_SERVICE <= MOST_S3_REQUESTS,
            "{s3}: {cycle:#?}"
        );
        // What planner and worker send; and the event, the batch and the commit come.
        let deliveries = 1 + sqs;
        assert!(sqs + 2 * deliveries <= MOST_SQS_REQUESTS, "{cycle:#?}");
        let looked = idle.values().sum::<usize>();
        assert!(
            looked + ASKED_OF_THE_SERVICE <= MOST_IDLE_REQUESTS,
            "{idle:#?}"
        );
    }
    let [small, large] = cycles.try_into().expect("two tables");
    assert_eq!(small, large);
}

async fn filled(service: &Deployment, scenario: &Scenario) {
    eventually("'p' is filled", async || {
        let rows = scenario.rows().await;
        rows.iter().all(|row| row.int("p") == product(row))
    })
    .await;
    eventually("all is done", async || service.is_drained().await).await;
}

/// What it costs that rows are appended.
async fn append(service: &Deployment, scenario: &Scenario) -> Kinds {
    service.proxy.quiet();
    scenario.append(40).await;
    filled(service, scenario).await;
    kinds(&service.proxy.quiet())
}

fn is_of_sqs(kind: &str) -> bool {
    kind.starts_with("AmazonSQS.")
}

/// Requests of a table and of queues; what is asked of the service's own store depends on the time.
fn kinds(asked: &[String]) -> Kinds {
    const FOLDERS: [&str; 8] = [
        "/ledger",
        "/sent/",
        "/checkpoints/",
        "/coverage/id/",
        "/coverage/file/",
        "/snapshot/",
        "/pauses/",
        "/_versions/",
    ];
    let mut kinds = Kinds::new();
    for request in asked
        .iter()
        .filter(|request| !request.contains("/service/"))
    {
        let method = request.split(' ').next().unwrap_or_default();
        let decoded = request.replace("%2F", "/");
        let folder = FOLDERS.iter().find(|folder| decoded.contains(*folder));
        let listed = if request.contains("list-type") {
            " listed"
        } else {
            ""
        };
        let kind = match folder {
            _ if is_of_sqs(request) => request.clone(),
            Some(folder) => format!("{method} {folder}{listed}"),
            None => format!("{method} other{listed}"),
        };
        *kinds.entry(kind).or_default() += 1;
    }
    kinds
}
