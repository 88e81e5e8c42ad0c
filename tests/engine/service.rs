//! The stages of the service, with queues in this process; those on an emulator of AWS are in
//! `tests/service`.

use crate::fill::product;
use crate::support::in_process::InProcess;
use crate::support::{Scenario, Shape};

#[tokio::test(flavor = "multi_thread")]
async fn messages_may_come_twice_and_in_any_order() {
    let shape = Shape::default().fragments_of(400);
    let scenario = Scenario::standard(shape, 1_000).await;
    scenario.add("p", "a * b", &[]);
    let service = InProcess::start(150).await;
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
