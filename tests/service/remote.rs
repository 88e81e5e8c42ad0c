//! The command line acts through the service, which does the work.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::deployment::{Deployment, Settings};
use crate::support::Scenario;
use crate::support::emulator::BUCKET;
use crate::support::oracle::product;
use crate::support::program::{Outcome, command, finish};
use crate::support::serving::eventually;
use crate::support::table::Shape;

/// Time within which calling off and pausing take effect.
const SOON: Duration = Duration::from_secs(5);
/// Hashes half a megabyte a row: long enough to be called off in the middle.
const SLOW: &str = "octet_length(sha512(repeat(s, 50000))) + id";
/// More of them than are computed before somebody says stop.
const ROWS: i64 = 100_000;

/// Commands of an operator.
struct Operator<'a> {
    service: &'a Deployment,
    prefix: String,
}

impl<'a> Operator<'a> {
    fn of(service: &'a Deployment) -> Self {
        Self {
            service,
            prefix: format!("s3://{BUCKET}/service"),
        }
    }

    /// A command that is not started yet; the variable names the service.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut call = command(arguments);
        call.arg("--json")
            .env("LANCE_BACKFILL_SERVICE", &self.prefix)
            .env("AWS_ENDPOINT_URL", self.service.emulator.endpoint())
            .env("AWS_ALLOW_HTTP", "true")
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("AWS_REGION", "us-east-1");
        call
    }

    fn run(&self, arguments: &[&str]) -> Outcome {
        finish(self.command(arguments))
    }

    fn expect(&self, arguments: &[&str]) -> Value {
        self.run(arguments).expect_code(0).json()
    }

    fn expect_refusal(&self, arguments: &[&str], about: &str) {
        self.run(arguments).expect_refusal(&[2], about);
    }
}

async fn is_filled(scenario: &Scenario) -> bool {
    let rows = scenario.rows().await;
    rows.iter().all(|row| row.int("p") == product(row))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_is_computed_again_by_one_command() {
    let Some(service) = Deployment::start(Settings::default()) else {
        return;
    };
    let operator = Operator::of(&service);
    let shape = Shape::default().fragments_of(400);
    let scenario = service.table("ordered.lance", shape, 1_000).await;
    let uri = scenario.uri.as_str();
    assert_eq!(
        operator.expect(&["tables", "list"])["tables"],
        serde_json::json!([])
    );
    let added = operator.expect(&["column", "add", uri, "p", "--sql", "a * b"]);
    assert_eq!(added["column"], "p");
    let listed = operator.expect(&["tables", "list"]);
    assert_eq!(listed["tables"], serde_json::json!([uri]));
    eventually("'p' is filled", async || is_filled(&scenario).await).await;
    eventually("all is done", async || service.is_drained().await).await;
    service.proxy.quiet();

    let before = service.proxy.rows_computed();
    let options = ["--where", "id < 300", "--recompute", "--progress", "json"];
    let arguments = [&["backfill", uri, "p"][..], &options].concat();
    let ordered = operator.run(&arguments).expect_code(0);
    let done = ordered.json();
    assert_eq!(done["job_state"], "done");
    assert_eq!(
        (&done["rows_selected"], &done["rows_failed_in_job"]),
        (&300.into(), &0.into())
    );
    assert_eq!(done["columns"][0]["rows_assigned"], 300);
    assert_eq!(done["columns"][0]["rows_current"], 1_000);
    let last = ordered
        .stderr
        .lines()
        .rfind(|line| line.starts_with("{\"progress\""));
    let last: Value = serde_json::from_str(last.expect("progress")).expect("JSON");
    let (told, wanted) = (&last["progress"], [300, 0, 300]);
    let numbers = ["rows_done", "rows_failed", "rows_total"].map(|name| &told[name]);
    assert_eq!(numbers, wanted.each_ref().map(|number| number));
    assert_eq!(service.proxy.rows_computed() - before, 300);
    assert_eq!(scenario.check_int("p", product).await, 1_000);

    // Nobody waits for this one.
    let sent = operator.expect(&[&["retry", uri, "p"][..], &["--no-wait"]].concat());
    assert_eq!(
        (&sent["job_id"], &sent["rows_selected"]),
        (&Value::Null, &0.into())
    );
    let options = ["--where", "id >= 300", "--recompute", "--no-wait"];
    let sent = operator.expect(&[&["backfill", uri, "p"][..], &options].concat());
    assert_eq!(sent["job_state"], "open");
    let job = sent["job_id"].as_str().expect("a job");
    let shown = operator.expect(&["jobs", "show", uri, job, "--follow"]);
    assert_eq!(
        (&shown["state"], &shown["rows_assigned"]),
        (&"done".into(), &700.into())
    );
    let status = operator.expect(&["status", uri]);
    assert_eq!(status["service"]["registered"], true);
    assert_eq!(status["service"]["paused"], false);
    let status = operator.expect(&["service", "status"]);
    assert_eq!(status["tables"], serde_json::json!([uri]));
    assert_eq!(status["paused"], Value::Null);
    let queues = status["queues"].as_array().expect("queues");
    assert!(
        queues.iter().all(|queue| queue["dead_letters"] == 0),
        "{status:#}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_called_off_or_paused_stops_within_seconds() {
    let settings = Settings {
        batch_rows: Some(2_000),
        ..Settings::default()
    };
    let Some(service) = Deployment::start(settings) else {
        return;
    };
    let operator = Operator::of(&service);
    let scenario = service.table("slow.lance", Shape::default(), ROWS).await;
    let uri = scenario.uri.as_str();
    operator.expect(&["service", "pause", "--reason", "not yet"]);
    operator.expect(&["column", "add", uri, "slow", "--sql", SLOW]);
    // Nothing is computed but what is ordered.
    operator.expect(&["column", "pause", uri, "slow"]);
    let again = operator.expect(&["service", "pause"]);
    assert_eq!(again["was_paused"], true);
    assert_eq!(again["paused"]["reason"], "not yet");
    let arguments = ["backfill", uri, "slow", "--recompute", "--no-wait"];
    let sent = operator.expect(&arguments);
    let job = sent["job_id"].as_str().expect("a job").to_owned();
    service.proxy.quiet();
    assert_eq!(service.proxy.rows_computed(), 0, "it is paused");

    // A person follows, and goes away.
    let mut following = operator.command(&["jobs", "show", uri, &job, "--follow"]);
    let following = following.stdout(Stdio::piped()).stderr(Stdio::piped());
    let following = following.spawn().expect("the binary starts");
    let resumed = operator.expect(&["service", "resume"]);
    assert_eq!(
        (&resumed["was_paused"], &resumed["tables"]),
        (&true.into(), &1.into())
    );
    let computed = || service.proxy.rows_computed();
    eventually("some rows are computed", async || computed() > 0).await;
    let id = following.id().to_string();
    let stopped = Command::new("kill").args(["-INT", &id]).status();
    assert!(stopped.expect("kill").success());
    let ended = following.wait_with_output().expect("ends");
    assert_eq!(ended.status.code(), Some(130), "{ended:#?}");
    let words = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(
        words.contains("the job goes on") && words.contains(&job),
        "{words}"
    );

    operator.expect(&["service", "pause"]);
    std::thread::sleep(SOON);
    let paused_at = computed();
    service.proxy.quiet();
    assert_eq!(computed(), paused_at, "nothing is computed in a pause");
    assert!(
        paused_at < ROWS as u64,
        "{paused_at} rows: too fast to be paused"
    );
    operator.expect(&["service", "resume"]);
    eventually("it goes on", async || computed() > paused_at).await;

    let cancelled = operator.expect(&["jobs", "cancel", uri, &job]);
    assert_eq!(cancelled["state"], "cancelled");
    std::thread::sleep(SOON);
    let cancelled_at = computed();
    service.proxy.quiet();
    assert_eq!(computed(), cancelled_at, "nobody works on it any more");
    assert!(
        cancelled_at < ROWS as u64,
        "{cancelled_at} rows: too fast to be called off"
    );
    let shown = operator.expect(&["jobs", "show", uri, &job]);
    assert_eq!(shown["state"], "cancelled");
    let following = operator.run(&["jobs", "show", uri, &job, "--follow"]);
    following.expect_code(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_go_back_when_what_killed_them_is_mended() {
    let settings = Settings {
        most_receives: 1,
        visibility_s: 1,
        ..Settings::default()
    };
    let Some(service) = Deployment::start(settings) else {
        return;
    };
    let operator = Operator::of(&service);
    // Nobody can read it, so that it dies; and it dies again.
    service.send("plans", "{\"version\":1,\"table\":7}").await;
    let dead = async || {
        let counted = operator.expect(&["redrive", "--dry-run"]);
        assert_eq!(counted["queues"][0]["moved"], 0);
        counted["queues"][0]["dead_letters"]
            .as_u64()
            .expect("a number")
    };
    eventually("it is dead", async || dead().await == 1).await;
    let moved = operator.expect(&["redrive", "--queue", "plans"]);
    assert_eq!(
        moved["queues"].as_array().map(Vec::len),
        Some(1),
        "{moved:#}"
    );
    assert_eq!(
        (
            &moved["queues"][0]["dead_letters"],
            &moved["queues"][0]["moved"]
        ),
        (&1.into(), &1.into())
    );
    eventually("it is dead again", async || dead().await == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_service_cannot_do_is_refused_and_changes_nothing() {
    let Some(service) = Deployment::start(Settings::default()) else {
        return;
    };
    let operator = Operator::of(&service);
    let scenario = service.table("refused.lance", Shape::default(), 10).await;
    let uri = scenario.uri.as_str();
    let version = scenario.version().await;
    let keys = service.emulator.keys("");
    for (arguments, about) in [
        (&["refresh", uri][..], "give --service none"),
        (&["serve", uri], "give --service none"),
        (&["demo"], "give --service none"),
        (&["optimize", uri], "give --service none"),
        (&["reconcile", uri], "give --service none"),
        (
            &["column", "canary", uri, "p", "--sql", "a"],
            "give --service none",
        ),
        (
            &["refresh", uri, "--service", "s3://tables/service"],
            "leave --service out",
        ),
        (&["status", uri, "--workers", "2"], "its own workers"),
        (&["status", uri, "--branch", "b"], "not --branch"),
        (&["backfill", uri, "p", "--batch-rows", "7"], "--batch-rows"),
        (&["backfill", uri, "p"], "is not a computed column"),
        (
            &["backfill", uri, "p", "--no-wait", "--service", "none"],
            "--no-wait goes with",
        ),
        (
            &["tables", "add", "s3://tables/none.lance"],
            "no lance table at",
        ),
        (&["tables", "add", "/tmp/t.lance"], "cannot reach"),
        (&["tables", "remove", uri], "does not know"),
        (
            &["tables", "list", "--service", "none"],
            "say which service",
        ),
        (
            &["tables", "list", "--service", "s3://tables/other"],
            "there is no service at",
        ),
        (&["column", "add", uri, "p", "--sql", "a *"], "expression"),
        (
            &[
                "column", "add", uri, "p", "--udf", "m:f", "--from", "/nowhere",
            ],
            "runs Python functions",
        ),
        (
            &["register", uri, "--udf", "m:f", "--from", "/nowhere"],
            "runs Python functions",
        ),
    ] {
        operator.expect_refusal(arguments, about);
    }
    assert_eq!(scenario.version().await, version);
    assert_eq!(service.emulator.keys(""), keys);
}
