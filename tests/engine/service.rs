//! The stages of the service, with queues in this process; those on an emulator of AWS are in
//! `tests/service`.

use lance_backfill_core::job::{Selection, Take};
use lance_backfill_core::message::{CommitMessage, PlanMessage, Wake};
use lance_backfill_embedded::Engine;
use lance_backfill_embedded::jobs::Ordered;
use lance_backfill_service::{Committed, Outages, Service, ServiceOptions};

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

#[tokio::test(flavor = "multi_thread")]
async fn a_job_on_a_column_that_is_not_kept_up_to_date_goes_on_without_the_schedule() {
    let scenario = Scenario::standard(Shape::default().fragments_of(100), 200).await;
    scenario.add("p", "a * b", &[]);
    scenario.run(&["column", "pause"], &["p"]).expect_code(0);
    let service = InProcess::start(100).await;
    let engine = Engine::open(&scenario.uri, service.engine.clone()).await;
    let all = Selection {
        take: Take::Recompute,
        ..Selection::in_need()
    };
    let ordered = engine.expect("opens").order("p", &all).await;
    assert!(matches!(ordered, Ok(Ordered::Job { .. })), "{ordered:?}");
    let asked = PlanMessage::new(scenario.uri.clone(), Wake::Requested);
    let mut plans = vec![asked];
    let mut rounds = 0;
    while !plans.is_empty() {
        for plan in &plans {
            assert_eq!(plan.why, Wake::Requested);
            service.service.plan(plan).await.expect("plans");
        }
        for batch in service.batches().await {
            service.service.work(&batch).await.expect("works");
        }
        let commits: Vec<CommitMessage> = service.take(service.queues.commits.as_ref()).await;
        for commit in &commits {
            service.service.commit(commit).await.expect("commits");
        }
        plans = service.take(service.queues.plans.as_ref()).await;
        rounds += 1;
        assert!(rounds < 20, "it ends");
    }
    assert!(rounds > 1, "its commits asked for another plan");
    assert_eq!(scenario.check_int("p", product).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_finished_waits_for_no_batch_that_another_process_published() {
    let scenario = Scenario::standard(Shape::default().fragments_of(100), 300).await;
    scenario.add("p", "a * b", &[]);
    let service = InProcess::start(100).await;
    let another = || {
        let options = ServiceOptions {
            engine: service.engine.clone(),
            batches_at_once: 2,
            class: None,
            outages: Outages::default(),
        };
        Service::new(options, service.queues.clone(), service.store.clone())
    };
    let other = another();
    let plan = PlanMessage::new(scenario.uri.clone(), Wake::Committed);
    let planned = async || {
        service.service.plan(&plan).await.expect("plans");
        let mut batches = service.batches().await;
        batches.sort_by(|a, b| a.batch.cmp(&b.batch));
        batches.dedup_by(|a, b| a.batch == b.batch);
        batches
    };
    let batches = planned().await;
    let [first, second, third] = batches.as_slice() else {
        panic!("{batches:#?}");
    };
    let committed = async |batch, committer: &Service| {
        service.service.work(batch).await.expect("works");
        let commits: Vec<CommitMessage> = service.take(service.queues.commits.as_ref()).await;
        committer.commit(&commits[0]).await.expect("commits")
    };
    let is_published = |committed: Committed| matches!(committed, Committed::Published { .. });
    assert!(is_published(committed(first, &service.service).await));
    // A commit a moment ago, and another batch is under way.
    let second_committed = committed(second, &service.service).await;
    assert_eq!(second_committed, Committed::Later);
    // Whoever has published nothing yet does not wait, and the first one need not know of it.
    assert!(is_published(committed(third, &other).await));
    assert_eq!(scenario.check_int("p", product).await, 300);

    scenario.append(300).await;
    let batches = planned().await;
    assert!(is_published(committed(&batches[0], &service.service).await));
    let fresh = another();
    assert!(is_published(committed(&batches[1], &fresh).await));
    assert!(is_published(committed(&batches[2], &service.service).await));
    assert_eq!(scenario.check_int("p", product).await, 600);
}
