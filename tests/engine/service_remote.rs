//! A service is operated from outside: its jobs are called off, and all its spending is stopped.

use std::sync::Arc;
use std::time::Duration;

use lance_backfill_core::batch::BatchMessage;
use lance_backfill_core::deployment::{Deployment, QueueUrls};
use lance_backfill_core::format::Stored;
use lance_backfill_core::ids::JobId;
use lance_backfill_core::job::{JobOutcome, Selection, Take};
use lance_backfill_core::message::{CommitMessage, PlanMessage, Wake};
use lance_backfill_embedded::Engine;
use lance_backfill_embedded::catalog::Catalog;
use lance_backfill_embedded::jobs::Ordered;
use lance_backfill_ports::queue::Queue;
use lance_backfill_service::{Admission, Planned, QueueName, Remote, Sent, StopOutcome, Worked};

use crate::support::in_process::{InProcess, Setup};
use crate::support::serving::{eventually, now};
use crate::support::{Functions, Row, Scenario, Shape};

/// Slow until there is a flag.
const CODE: &str = r#"
@udf
def slow(id: int) -> int:
    note("slow", id)
    if not os.path.exists(FLAG):
        time.sleep(0.5)
    return 2 * id
"#;
/// Time within which a batch at work notices.
const SOON: Duration = Duration::from_secs(5);
const ROWS: i64 = 100;

fn doubled(row: &Row) -> Option<i64> {
    Some(2 * row.id())
}

/// A table with a slow column `d`, and a service that has its function.
struct Slow {
    functions: Functions,
    scenario: Scenario,
    service: InProcess,
    engine: Engine,
}

impl Slow {
    async fn start() -> Option<Self> {
        let functions = Functions::new("")?;
        let flag = format!("FLAG = {:?}\n", functions.flag());
        functions.write(&[&flag, CODE].concat());
        let scenario = Scenario::standard(Shape::default(), ROWS).await;
        functions.add(&scenario, "d", "slow", &[]);
        let service = InProcess::with(Setup {
            python: Some(functions.interpreter().to_owned()),
            ..Setup::default()
        })
        .await;
        let engine = Engine::open(&scenario.uri, service.engine.clone()).await;
        let engine = engine.expect("opens");
        functions.take_log();
        Some(Self {
            functions,
            scenario,
            service,
            engine,
        })
    }

    /// Operators know the queues by URL.
    fn remote(&self) -> Remote {
        let urls = || QueueUrls {
            plans: "plans".to_owned(),
            fresh: "fresh".to_owned(),
            bulk: "bulk".to_owned(),
            commits: "commits".to_owned(),
        };
        let deployment = Deployment {
            version: Deployment::VERSION,
            name: "test".to_owned(),
            queues: urls(),
            dead_letters: urls(),
            python: true,
            secrets: [].into(),
            classes: [].into(),
            batches_at_once: 2,
        };
        let queues = self.service.queues.clone();
        let queue = |url: &str| -> Arc<dyn Queue> {
            match url {
                "plans" => queues.plans.clone(),
                "fresh" => queues.fresh.clone(),
                "bulk" => queues.bulk.clone(),
                _ => queues.commits.clone(),
            }
        };
        Remote::new("/nowhere", deployment, self.service.store.clone(), &queue)
    }

    async fn plan(&self, why: Wake) -> Sent {
        let plan = PlanMessage::new(self.scenario.uri.clone(), why);
        let planned = self.service.service.plan(&plan).await.expect("plans");
        let Planned::Looked { mut columns, .. } = planned else {
            panic!("{planned:?}");
        };
        columns.pop().expect("one column").sent
    }

    /// The batches that were sent, each once.
    async fn batches(&self) -> Vec<BatchMessage> {
        let mut batches = self.service.batches().await;
        batches.sort_by(|left, right| left.batch.cmp(&right.batch));
        batches.dedup_by(|left, right| left.batch == right.batch);
        batches
    }

    async fn work(&self, batch: &BatchMessage) -> Worked {
        self.service.service.work(batch).await.expect("works")
    }

    /// Works on a batch, and does something as soon as the function was called; the batch ends soon
    /// after, and says why.
    async fn interrupted(&self, batch: &BatchMessage, by: impl AsyncFnOnce()) -> String {
        let interrupt = async {
            eventually("the function is called", async || {
                tokio::task::yield_now().await;
                !self.functions.calls().is_empty()
            })
            .await;
            by().await;
            now()
        };
        let (worked, since) = tokio::join!(self.work(batch), interrupt);
        let took = since.elapsed();
        assert!(took < SOON, "it went on for {took:?}");
        match worked {
            Worked::Obsolete { reason } => reason,
            other => panic!("{other:?}"),
        }
    }

    async fn order(&self) -> JobId {
        let selection = Selection {
            take: Take::Recompute,
            ..Selection::in_need()
        };
        match self.engine.order("d", &selection).await.expect("orders") {
            Ordered::Job { job, .. } => job,
            Ordered::NoRows => panic!("all rows match"),
        }
    }

    /// Whatever is in the queues is done, and whatever that leads to.
    async fn converge(&self, first: Wake) {
        let mut plans = vec![PlanMessage::new(self.scenario.uri.clone(), first)];
        while !plans.is_empty() {
            for plan in plans {
                self.plan(plan.why).await;
            }
            for batch in self.batches().await {
                self.work(&batch).await;
            }
            let service = &self.service;
            let commits: Vec<CommitMessage> = service.take(service.queues.commits.as_ref()).await;
            for commit in &commits {
                service.service.commit(commit).await.expect("commits");
            }
            plans = service.take(service.queues.plans.as_ref()).await;
            if !commits.is_empty() {
                plans.push(PlanMessage::new(self.scenario.uri.clone(), Wake::Committed));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_at_work_stops_when_its_job_is_called_off() {
    let Some(slow) = Slow::start().await else {
        return;
    };
    // All rows are current: what is at work is what was ordered.
    let flag = slow.functions.flag();
    std::fs::write(&flag, "").expect("writes");
    slow.converge(Wake::Committed).await;
    assert_eq!(slow.scenario.check_int("d", doubled).await, 100);
    std::fs::remove_file(&flag).expect("removes");
    slow.functions.take_log();
    let job = slow.order().await;
    let version = slow.engine.latest().await.expect("a version");
    let catalog = Catalog::read(version.view()).expect("a catalogue");
    let binding = &catalog.expect_acting("d").expect("the column").binding;
    let far = async || {
        let known = slow.engine.job_now(binding, &job).await.expect("looks");
        known.expect("the job")
    };
    let sent = slow.plan(Wake::Requested).await;
    assert!(sent.batches > 0, "{sent:?}");
    let batches = slow.batches().await;
    let ordered = far().await;
    assert_eq!(
        (ordered.rows, ordered.rows_assigned, ordered.outcome),
        (100, 0, None)
    );
    let reason = slow
        .interrupted(&batches[0], async || {
            let cancelled = slow.engine.cancel(binding, &job).await.expect("cancels");
            assert!(cancelled.is_some());
        })
        .await;
    assert!(reason.contains("is over"), "{reason}");
    for batch in &batches {
        assert!(matches!(slow.work(batch).await, Worked::Obsolete { .. }));
    }
    assert_eq!(far().await.outcome, Some(JobOutcome::Cancelled));
    // Its rows keep what they had, and need nothing.
    slow.functions.take_log();
    slow.converge(Wake::Scheduled).await;
    assert_eq!(slow.functions.take_log(), [""; 0], "nothing ran");
    assert_eq!(slow.scenario.check_int("d", doubled).await, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_service_spends_nothing_and_goes_on_where_it_was() {
    let Some(slow) = Slow::start().await else {
        return;
    };
    let remote = slow.remote();
    let sent = slow.plan(Wake::Committed).await;
    assert!(sent.batches > 0, "{sent:?}");
    let batches = slow.batches().await;
    let reason = slow
        .interrupted(&batches[0], async || {
            let stopped = remote.stop(1, None).await.expect("stops");
            assert_eq!(stopped, StopOutcome::Stopped);
        })
        .await;
    assert!(
        reason.contains("'lance-backfill service resume'"),
        "{reason}"
    );
    std::fs::write(slow.functions.flag(), "").expect("writes");
    for batch in &batches {
        // In this process nobody remembers any more that the service was free.
        assert!(matches!(slow.work(batch).await, Worked::Obsolete { .. }));
    }
    slow.functions.take_log();
    for why in [Wake::Committed, Wake::Requested, Wake::Scheduled] {
        let held = slow.plan(why).await;
        assert_eq!((held.batches, held.again), (0, 0), "{held:?}");
        assert!(held.held.expect("held").contains("paused"));
    }
    assert!(slow.batches().await.is_empty());
    assert_eq!(slow.functions.take_log(), [""; 0], "nothing ran");

    assert_eq!(remote.resume().await.expect("resumes"), Some(1));
    let service = &slow.service;
    let told: Vec<PlanMessage> = service.take(service.queues.plans.as_ref()).await;
    assert!(
        told.iter().all(|plan| plan.why == Wake::Resumed),
        "{told:?}"
    );
    let resumed = slow.plan(Wake::Resumed).await;
    assert_eq!(resumed.again, batches.len(), "{resumed:?}");
    let again = slow.batches().await;
    let ids = |batches: &[BatchMessage]| -> Vec<_> {
        batches.iter().map(|batch| batch.batch.clone()).collect()
    };
    assert_eq!(ids(&again), ids(&batches), "under their own ids");
    for batch in &again {
        assert!(matches!(slow.work(batch).await, Worked::Done { .. }));
    }
    slow.converge(Wake::Committed).await;
    assert_eq!(slow.scenario.check_int("d", doubled).await, 100);
    assert_eq!(remote.resume().await.expect("looks"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_taken_out_is_left_alone() {
    let Some(slow) = Slow::start().await else {
        return;
    };
    std::fs::write(slow.functions.flag(), "").expect("writes");
    let (remote, uri) = (slow.remote(), slow.scenario.uri.clone());
    assert_eq!(
        remote.take_in(&uri).await.expect("registers"),
        Admission::Unknown
    );
    assert_eq!(
        remote.take_out(&uri).await.expect("removes"),
        Admission::Kept
    );
    let plan = PlanMessage::new(uri.clone(), Wake::Scheduled);
    let planned = slow.service.service.plan(&plan).await.expect("plans");
    let Planned::Ignored { reason } = planned else {
        panic!("{planned:?}");
    };
    assert!(reason.contains("tables add"), "{reason}");
    assert_eq!(remote.tables().await.expect("lists"), Vec::<String>::new());
    // A process believes for a minute what it read; another one reads what is said now.
    assert_eq!(
        remote.take_in(&uri).await.expect("registers"),
        Admission::Removed
    );
    assert_eq!(remote.tables().await.expect("lists"), [uri]);
    let depths = remote.depths().await.expect("counts");
    let plans = depths
        .iter()
        .find(|depths| depths.queue == QueueName::Plans);
    assert_eq!(plans.expect("a queue").depth.waiting, 2);
}
