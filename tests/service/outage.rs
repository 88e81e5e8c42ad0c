//! A function that cannot be called for a while, and a batch that no worker survives.

use std::time::Duration;

use lance_backfill_core::quarantine::QUARANTINED;
use serde_json::Value;

use crate::delivery::is_filled;
use crate::deployment::{Deployment, Settings};
use crate::proxy::Fault;
use crate::python::{doubled, packing, settings_for, through};
use crate::support::Functions;
use crate::support::oracle::product;
use crate::support::serving::eventually;
use crate::support::table::Shape;

const PATIENCE: Duration = Duration::from_secs(120);
/// Batches that the provider refuses before it works again: ten times what makes a message a dead letter.
const REFUSED: usize = 10 * MOST_RECEIVES as usize;
const MOST_RECEIVES: u64 = 1;

const PROVIDER: &str = r#"
class Unavailable(Exception):
    status_code = 503

@udf(max_attempts=1)
def doubled(id: int) -> int:
    if os.path.exists(FLAG + "-503"):
        raise Unavailable("try again later")
    if os.path.exists(FLAG + "-429"):
        raise lance_backfill.RateLimited("slow down", retry_after=100)
    return 2 * id
"#;

fn column(service: &Deployment, uri: &str) -> Value {
    let status = through(service, &["status", uri]).expect_code(0).json();
    status["columns"][0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_down_is_probed_one_batch_at_a_time_and_fails_no_row() {
    let Some(functions) = Functions::new("") else {
        return;
    };
    let flag = functions.flag().display().to_string();
    functions.write(&format!("FLAG = {flag:?}\n{PROVIDER}"));
    let (unavailable, limited) = (format!("{flag}-503"), format!("{flag}-429"));
    std::fs::write(&unavailable, "").expect("written");
    let mut settings = settings_for(&functions);
    let planner = settings.environment.entry("planner").or_default();
    planner.insert("LANCE_BACKFILL_FIRST_PROBE_S".to_owned(), "1".to_owned());
    let Some(service) = Deployment::start(Settings {
        most_receives: MOST_RECEIVES,
        // A message that is still at work is not to die of it.
        visibility_s: 60,
        batch_rows: Some(40),
        ..settings
    }) else {
        return;
    };
    let shape = Shape::default().fragments_of(40);
    let scenario = service.table("refused.lance", shape, 240).await;
    let uri = scenario.uri.as_str();
    let add = ["column", "add", uri, "d", "--udf", "udfs:doubled"];
    packing(&service, &functions, &add).expect_code(0);
    let refused = || {
        let checkpoints = service.proxy.checkpoints();
        checkpoints
            .iter()
            .filter(|done| done.fault.is_some())
            .count()
    };
    let half = async || refused() >= REFUSED - 2;
    service
        .eventually("batches are refused", PATIENCE, half)
        .await;
    // From now on each batch is a probe, and it is refused for another reason.
    std::fs::write(&limited, "").expect("written");
    std::fs::remove_file(&unavailable).expect("removed");
    let probed = async || {
        let (open, at_work) = service.depth(service.queue("fresh")).await;
        let bulk = service.depth(service.queue("bulk")).await;
        assert!(open + at_work + bulk.0 + bulk.1 <= 1, "more than one probe");
        refused() >= REFUSED
    };
    service.eventually("it is probed", PATIENCE, probed).await;
    let held = column(&service, uri);
    assert_eq!(
        (&held["state"], &held["rows_failed"], &held["rows_current"]),
        (&"breaker open".into(), &0.into(), &0.into()),
        "{held:#}"
    );
    std::fs::remove_file(&limited).expect("removed");
    let filled = async || column(&service, uri)["rows_current"] == 240;
    service.eventually("'d' is filled", PATIENCE, filled).await;
    assert_eq!(scenario.check_int("d", doubled).await, 240);
    assert_eq!(column(&service, uri)["rows_failed"], 0);
    assert!(service.all_dead().await.is_empty(), "no message died");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_no_worker_survives_is_quarantined_and_can_be_tried_again() {
    let settings = Settings {
        most_receives: 2,
        visibility_s: 6,
        timeout_s: 10,
        batch_rows: Some(50),
        ..Settings::default()
    };
    let Some(service) = Deployment::start(settings) else {
        return;
    };
    let shape = Shape::default().fragments_of(50);
    let scenario = service.table("poisoned.lance", shape, 200).await;
    let uri = scenario.uri.as_str();
    // Whoever finishes the second batch of the first page dies before that is on record; the planner,
    // which records that it failed, does not.
    service.proxy.rule(|request| {
        let is_second = request.writes("checkpoints") && request.what.ends_with("-1.json");
        let name = QUARANTINED.as_bytes();
        let gives_up = request.body.windows(name.len()).any(|at| at == name);
        (is_second && !gives_up).then_some(Fault::KillBefore)
    });
    through(&service, &["column", "add", uri, "p", "--sql", "a * b"]).expect_code(0);
    let given_up = async || column(&service, uri)["rows_failed"] == 50;
    service
        .eventually("it is quarantined", PATIENCE, given_up)
        .await;
    let others = async || column(&service, uri)["rows_current"] == 150;
    service
        .eventually("the others are filled", PATIENCE, others)
        .await;
    let failures = through(&service, &["failures", uri, "p"])
        .expect_code(0)
        .json();
    assert_eq!(failures["failures"][0]["kind"], QUARANTINED, "{failures:#}");
    assert!(
        service.all_dead().await.is_empty(),
        "the planner took its letter"
    );
    service.proxy.rule(|_| None);
    let again = through(&service, &["retry", uri, "p"])
        .expect_code(0)
        .json();
    assert_eq!(
        (&again["job_state"], &again["rows_selected"]),
        (&"done".into(), &50.into())
    );
    eventually("'p' is filled", async || is_filled(&scenario).await).await;
    assert_eq!(scenario.check_int("p", product).await, 200);
}
