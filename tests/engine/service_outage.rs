//! A service whose functions cannot be called, whose rows fail too often, or whose batches end nowhere.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lance_backfill_core::batch::BatchMessage;
use lance_backfill_core::format::decode;
use lance_backfill_core::job::{JobOutcome, Selection, Take};
use lance_backfill_core::ledger::{EntryBody, LedgerEntry, OpenBreaker};
use lance_backfill_core::message::{CommitMessage, PlanMessage, Wake};
use lance_backfill_core::quarantine::QUARANTINED;
use lance_backfill_embedded::Engine;
use lance_backfill_embedded::catalog::Catalog;
use lance_backfill_embedded::jobs::Ordered;
use lance_backfill_ports::queue::Queue;
use lance_backfill_service::{Outages, Planned, Worked};

use crate::fill::product;
use crate::support::in_process::{InProcess, Setup};
use crate::support::serving::now;
use crate::support::{Functions, Row, Scenario, Shape, Table};

/// Receives a message in vain but this often, and it is a dead letter: the strictest there is.
const MOST_RECEIVES: u32 = 1;
/// Batches that the provider refuses before it works again.
const REFUSED: u64 = 10 * MOST_RECEIVES as u64;
const PATIENCE: Duration = Duration::from_secs(120);

const PROVIDER: &str = r#"
class Unavailable(Exception):
    status_code = 503

@udf(max_attempts=2, num_cpus=64)
def ask(id: int) -> int:
    if os.path.exists(FLAG + "-503"):
        raise Unavailable("try again later")
    if os.path.exists(FLAG + "-429"):
        raise lance_backfill.RateLimited("slow down", retry_after=0.4)
    return id + 1
"#;

fn next(row: &Row) -> Option<i64> {
    Some(row.id() + 1)
}

/// The entries of the ledger of the table's only column, in order.
fn ledger(table: &Table) -> Vec<LedgerEntry> {
    let files = table.state_files();
    let of_ledger = |path: &&std::path::PathBuf| {
        let folder = path.parent().and_then(Path::file_name);
        folder.is_some_and(|folder| folder == "ledger")
    };
    let read = |path: &std::path::PathBuf| {
        let bytes = std::fs::read(path).expect("an entry");
        decode::<LedgerEntry>(&bytes).expect("an entry")
    };
    files.keys().filter(of_ledger).map(read).collect()
}

/// The breaker that is open, if one is; since it opened no more than one batch was handed out.
fn open_breaker(table: &Table) -> Option<OpenBreaker> {
    let entries = ledger(table);
    let (seq, open) = lance_backfill_core::breaker::standing(&entries)?;
    let handed_out: usize = (entries.iter())
        .filter(|entry| entry.seq > seq)
        .map(|entry| match &entry.body {
            EntryBody::Page(page) => page.batches.len(),
            _ => 0,
        })
        .sum();
    assert!(handed_out <= 1, "{handed_out} probes at once: {entries:#?}");
    Some(open.clone())
}

impl InProcess {
    /// Serves what is in the queues once; how many batches ended in a fault.
    ///
    /// A message is acknowledged when it was dealt with; what fails comes again, or is a dead letter.
    async fn serve_once(&self, table: &Table) -> u64 {
        let mut faults = 0;
        for delivery in receive(&self.queues.plans).await {
            let plan: PlanMessage = decode(delivery.body.as_bytes()).expect("a plan message");
            let planned = self.service.plan(&plan).await.expect("plans");
            assert!(matches!(planned, Planned::Looked { .. }), "{planned:?}");
            acknowledge(&self.queues.plans, delivery.receipt).await;
            open_breaker(table);
        }
        for lane in [&self.queues.fresh, &self.queues.bulk] {
            for delivery in receive(lane).await {
                let batch: BatchMessage = decode(delivery.body.as_bytes()).expect("a batch");
                if let Ok(worked) = self.service.work(&batch).await {
                    faults += u64::from(matches!(worked, Worked::Done { fault: Some(_), .. }));
                    acknowledge(lane, delivery.receipt).await;
                }
            }
        }
        let before = table.version().await;
        for delivery in receive(&self.queues.commits).await {
            let commit: CommitMessage = decode(delivery.body.as_bytes()).expect("a commit");
            self.service.commit(&commit).await.expect("commits");
            acknowledge(&self.queues.commits, delivery.receipt).await;
        }
        if table.version().await != before {
            // What it published is an event.
            self.wake(table, Wake::Committed).await;
        }
        faults
    }

    /// Serves until something holds.
    async fn serve_until(&self, table: &Table, what: &str, holds: impl Fn() -> bool) {
        let started = now();
        while !holds() {
            assert!(started.elapsed() < PATIENCE, "{what}");
            self.serve_once(table).await;
        }
    }

    async fn wake(&self, table: &Table, why: Wake) {
        let plan = PlanMessage::new(table.uri.clone(), why);
        let planned = self.service.plan(&plan).await.expect("plans");
        assert!(matches!(planned, Planned::Looked { .. }), "{planned:?}");
        open_breaker(table);
    }
}

async fn receive(queue: &Arc<dyn Queue>) -> Vec<lance_backfill_ports::queue::Delivery> {
    let wait = Duration::from_millis(5);
    queue.receive(10, wait).await.expect("receives")
}

async fn acknowledge(queue: &Arc<dyn Queue>, receipt: lance_backfill_ports::queue::Receipt) {
    queue.acknowledge(&[receipt]).await.expect("acknowledges");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_down_is_probed_and_fails_no_row() {
    let Some(functions) = Functions::new("") else {
        return;
    };
    let flag = functions.flag().display().to_string();
    functions.write(&format!("FLAG = {flag:?}\n{PROVIDER}"));
    let scenario = Scenario::standard(Shape::default().fragments_of(50), 200).await;
    functions.add(&scenario, "p", "ask", &[]);
    let service = InProcess::with(Setup {
        batch_rows: 25,
        python: Some(functions.interpreter().to_owned()),
        outages: Outages {
            first_probe_after: Duration::from_millis(10),
            patience: Duration::from_secs(2),
        },
        most_receives: MOST_RECEIVES,
        ..Setup::default()
    })
    .await;
    let down = |status: &str| format!("{flag}-{status}");
    std::fs::write(down("503"), "").expect("written");
    service.wake(&scenario, Wake::Committed).await;
    let (mut refused, mut most_faults) = (0, 0);
    let started = now();
    while refused < REFUSED {
        assert!(
            started.elapsed() < PATIENCE,
            "{refused} batches are refused"
        );
        refused += service.serve_once(&scenario).await;
        if refused >= REFUSED / 2 && std::fs::remove_file(down("503")).is_ok() {
            std::fs::write(down("429"), "").expect("written");
        }
        most_faults = most_faults.max(open_breaker(&scenario).map_or(0, |open| open.faults));
    }
    assert!(
        most_faults > 2,
        "it was probed: {most_faults} faults in a row"
    );
    let status = scenario.status();
    assert_eq!(status.column("p").state, "breaker open");
    assert_eq!(
        (
            status.column("p").rows_failed,
            status.column("p").rows_remaining
        ),
        (0, 200)
    );
    let plan = scenario.plan("p");
    assert!(plan["breaker"]["reason"].is_string(), "{plan:#?}");
    std::fs::remove_file(down("429")).expect("removed");
    (service)
        .serve_until(&scenario, "the column fills", || {
            scenario.status().column("p").rows_current == 200
        })
        .await;
    service.wake(&scenario, Wake::Scheduled).await;
    assert_eq!(open_breaker(&scenario), None);
    assert_eq!(receive(&service.dead).await, []);
    assert_eq!(scenario.failures("p"), []);
    scenario.check_int("p", next).await;
    assert_eq!(scenario.status().column("p").state, "settled");
}

#[tokio::test(flavor = "multi_thread")]
async fn resume_probes_at_once_and_embedded_work_keeps_to_the_breaker() {
    let Some(functions) = Functions::new("") else {
        return;
    };
    let flag = functions.flag().display().to_string();
    functions.write(&format!("FLAG = {flag:?}\n{PROVIDER}"));
    let scenario = Scenario::standard(Shape::default(), 20).await;
    functions.add(&scenario, "p", "ask", &[]);
    let service = InProcess::with(Setup {
        python: Some(functions.interpreter().to_owned()),
        ..Setup::default()
    })
    .await;
    let refusing = format!("{flag}-503");
    std::fs::write(&refusing, "").expect("written");
    service.wake(&scenario, Wake::Committed).await;
    (service)
        .serve_until(&scenario, "the breaker opens", || {
            open_breaker(&scenario).is_some()
        })
        .await;
    // The first probe is due in a minute: nobody comes before it but a person.
    std::fs::remove_file(&refusing).expect("removed");
    service.wake(&scenario, Wake::Scheduled).await;
    service.serve_once(&scenario).await;
    assert_eq!(scenario.status().column("p").rows_current, 0);
    scenario.run(&["column", "resume"], &["p"]).expect_code(0);
    assert_eq!(open_breaker(&scenario), None);
    service.converge(&scenario.uri).await;
    assert_eq!(scenario.status().column("p").rows_current, 20);

    // What a person refreshes is a probe.
    scenario.append(5).await;
    std::fs::write(&refusing, "").expect("written");
    service.wake(&scenario, Wake::Committed).await;
    (service)
        .serve_until(&scenario, "the breaker opens", || {
            open_breaker(&scenario).is_some()
        })
        .await;
    functions.run(&scenario, &["refresh"], &[]).expect_code(1);
    std::fs::remove_file(&refusing).expect("removed");
    functions.run(&scenario, &["refresh"], &[]).expect_code(0);
    assert_eq!(open_breaker(&scenario), None);
    scenario.check_int("p", next).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_fail_in_many_batches_hold_the_column_and_end_a_job() {
    // Every seventh row divides by zero: no batch fails more often than the policy allows.
    let scenario = Scenario::standard(Shape::default(), 70).await;
    scenario.add("p", "100 / b", &["--max-failed-rows", "4"]);
    let service = InProcess::start(10).await;
    service.converge(&scenario.uri).await;
    let held = scenario.status();
    assert_eq!(held.column("p").state, "held", "{held:#?}");
    let done = held.column("p").rows_current + held.column("p").rows_failed;
    scenario.append(30).await;
    service.converge(&scenario.uri).await;
    let now = scenario.status();
    assert_eq!(
        now.column("p").rows_current + now.column("p").rows_failed,
        done
    );
    // Who resumes it forgives what failed: the new rows have a budget of their own.
    scenario.run(&["column", "resume"], &["p"]).expect_code(0);
    service.converge(&scenario.uri).await;
    assert_eq!(scenario.status().column("p").rows_remaining, 0);

    scenario.run(&["column", "resume"], &["p"]).expect_code(0);
    let engine = Engine::open(&scenario.uri, service.engine.clone())
        .await
        .expect("opens");
    let all = Selection {
        take: Take::Recompute,
        ..Selection::in_need()
    };
    let ordered = engine.order("p", &all).await.expect("orders");
    let Ordered::Job { job, .. } = ordered else {
        panic!("{ordered:?}");
    };
    service.converge(&scenario.uri).await;
    let version = engine.latest().await.expect("a version");
    let catalog = Catalog::read(version.view()).expect("a catalogue");
    let jobs = engine.jobs(&version, &catalog, "p").await.expect("jobs");
    let ended = jobs
        .iter()
        .find(|known| *known.id() == job)
        .expect("the job");
    assert_eq!(ended.outcome(), Some(JobOutcome::OverBudget));
    // It says nothing of what comes in unattended.
    assert_ne!(scenario.status().column("p").state, "held");
}

impl InProcess {
    /// Receives the batches that are there in vain, until they are dead letters; how many they are.
    async fn kill(&self, most: usize) -> usize {
        let mut killed = 0;
        for lane in [&self.queues.fresh, &self.queues.bulk] {
            let some = lane.receive(most - killed, Duration::ZERO).await;
            let some = some.expect("receives");
            killed += some.len();
            for delivery in some {
                let given_back = lane.extend(&delivery.receipt, Duration::ZERO).await;
                assert!(given_back.expect("extends"));
            }
            // Whoever looks next finds them dead.
            assert_eq!(lane.receive(0, Duration::ZERO).await.expect("looks"), []);
            if killed == most {
                break;
            }
        }
        killed
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_worker_finishes_fails_alone_or_opens_the_breaker() {
    let scenario = Scenario::standard(Shape::default().fragments_of(10), 60).await;
    scenario.add("p", "a * b", &[]);
    let service = InProcess::with(Setup {
        batch_rows: 10,
        most_receives: 1,
        ..Setup::default()
    })
    .await;
    service.wake(&scenario, Wake::Committed).await;
    assert_eq!(service.kill(1).await, 1);
    // A letter that nobody can read stays where it is.
    let unreadable = lance_backfill_ports::queue::Outgoing::new("?".to_owned());
    service.dead.send(&[unreadable]).await.expect("sends");
    service.converge(&scenario.uri).await;
    assert_eq!(scenario.status().column("p").rows_current, 50);
    let quarantined = service.service.quarantine().await.expect("gives up");
    let given_up = &quarantined.given_up[0];
    assert_eq!(
        (given_up.batches, given_up.rows_failed),
        (1, 10),
        "{quarantined:?}"
    );
    assert_eq!((quarantined.obsolete, quarantined.left), (0, 1));
    service.converge(&scenario.uri).await;
    let failures = scenario.failures("p");
    assert_eq!(failures.len(), 10);
    assert!(
        failures.iter().all(|failure| failure.kind == QUARANTINED),
        "{failures:#?}"
    );
    let again = scenario.run(&["retry"], &["p"]).expect_code(0).json();
    assert_eq!(again["rows_selected"], 10);
    scenario.check_int("p", product).await;

    // Many in a row are an outage: no row fails.
    scenario.append(60).await;
    service.wake(&scenario, Wake::Committed).await;
    assert!(service.kill(4).await > 2);
    let quarantined = service.service.quarantine().await.expect("gives up");
    assert_eq!(quarantined.given_up[0].rows_failed, 0, "{quarantined:?}");
    service.wake(&scenario, Wake::Scheduled).await;
    assert!(open_breaker(&scenario).is_some());
    assert_eq!(scenario.status().column("p").rows_failed, 0);
    scenario.run(&["column", "resume"], &["p"]).expect_code(0);
    service.converge(&scenario.uri).await;
    scenario.check_int("p", product).await;
    // Of what was finished meanwhile a letter tells nothing new.
    let quarantined = service.service.quarantine().await.expect("gives up");
    assert_eq!(quarantined.given_up, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn new_rows_overtake_a_backfill_that_fills_its_lane() {
    let code = r#"
@udf
def slow(id: int) -> int:
    time.sleep(0.05)
    return id + 1
"#;
    let Some(functions) = Functions::new(code) else {
        return;
    };
    let scenario = Scenario::standard(Shape::default(), 40).await;
    functions.add(&scenario, "p", "slow", &["--approve-above-rows", "-1"]);
    let service = InProcess::with(Setup {
        batch_rows: 100_000,
        python: Some(functions.interpreter().to_owned()),
        ..Setup::default()
    })
    .await;
    service.converge(&scenario.uri).await;
    assert_eq!(scenario.status().column("p").rows_current, 40);
    // More than all workers do in ten minutes, at twenty rows a second and host.
    scenario.append(60_000).await;
    let batches = async |lane: &Arc<dyn Queue>| -> Vec<u64> {
        let mut rows = vec![];
        loop {
            let some = receive(lane).await;
            if some.is_empty() {
                return rows;
            }
            for delivery in some {
                let batch: BatchMessage = decode(delivery.body.as_bytes()).expect("a batch");
                match batch.work {
                    Some(lance_backfill_core::batch::Work::Compute(spec)) => rows.push(spec.rows()),
                    other => panic!("{other:?}"),
                }
            }
        }
    };
    service.wake(&scenario, Wake::Committed).await;
    service.wake(&scenario, Wake::Committed).await;
    let handed_out: u64 = batches(&service.queues.bulk).await.iter().sum();
    assert!((1_000..60_000).contains(&handed_out), "{handed_out} rows");
    assert_eq!(batches(&service.queues.fresh).await, Vec::<u64>::new());
    scenario.append(20).await;
    service.wake(&scenario, Wake::Committed).await;
    assert_eq!(batches(&service.queues.fresh).await, [20]);
    assert!(
        batches(&service.queues.bulk).await.is_empty(),
        "its window is full"
    );
}
