//! A deployed service is operated from outside: by the command line, which acts through it.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::delivery::is_filled;
use crate::deployment::{Deployment, Settings};
use crate::support::emulator::BUCKET;
use crate::support::oracle::product;
use crate::support::program::{Outcome, command, finish};
use crate::support::serving::eventually;
use crate::support::table::Shape;
use crate::support::{Functions, Row, Scenario};

/// Time in which a service that is paused would have done something.
const A_WHILE: Duration = Duration::from_secs(4);
const CODE: &str = r#"
@udf
def doubled(id: int) -> int:
    return 2 * id
"#;

/// Runs a command through the service.
pub(crate) fn through(service: &Deployment, arguments: &[&str]) -> Outcome {
    finish(call(service, arguments))
}

fn call(service: &Deployment, arguments: &[&str]) -> Command {
    let prefix = format!("s3://{BUCKET}/service");
    let mut call = command(arguments);
    call.args(["--json", "--service", &prefix])
        // As the environment of an operator says it, for S3 and SQS alike.
        .env("AWS_ENDPOINT_URL", service.emulator.endpoint())
        .env("AWS_ALLOW_HTTP", "true")
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .env("AWS_REGION", "us-east-1");
    call
}

fn done(service: &Deployment, arguments: &[&str]) -> Value {
    through(service, arguments).expect_code(0).json()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_operated_by_the_command_line() {
    let Some(service) = Deployment::start(Settings::default()) else {
        return;
    };
    let scenario = service.table("operated.lance", Shape::default(), 300).await;
    let table = scenario.uri.as_str();
    done(&service, &["column", "add", table, "p", "--sql", "a * b"]);
    eventually("'p' is filled", async || is_filled(&scenario).await).await;
    let listed = done(&service, &["tables", "list"]);
    assert!(listed.to_string().contains(table), "{listed}");

    // A filtered range again is one command, which waits for it.
    let before = service.proxy.rows_computed();
    let again = ["backfill", table, "p", "--where", "id < 30", "--recompute"];
    let job = done(&service, &again);
    assert_eq!(job["rows_selected"], 30, "{job:#}");
    assert_eq!(job["job_state"], "done", "{job:#}");
    assert_eq!(service.proxy.rows_computed() - before, 30);

    // A service that is paused spends nothing, and goes on where it was.
    done(&service, &["service", "pause", "--reason", "a test"]);
    let status = done(&service, &["service", "status"]);
    assert_eq!(status["paused"]["reason"], "a test", "{status:#}");
    let before = service.proxy.rows_computed();
    scenario.append(100).await;
    service.schedule().await;
    std::thread::sleep(A_WHILE);
    assert_eq!(service.proxy.rows_computed(), before, "nothing is spent");
    done(&service, &["service", "resume"]);
    eventually("'p' is filled", async || is_filled(&scenario).await).await;
    assert_eq!(scenario.check_int("p", product).await, 400);
    let status = done(&service, &["status", table]);
    assert_eq!(status["columns"][0]["rows_current"], 400, "{status:#}");
    let refused = through(&service, &["refresh", table]);
    refused.expect_refusal(&[2], "a service keeps its tables up to date by itself");
    // No worker has Python here.
    if let Some(functions) = Functions::new(CODE) {
        let refused = add_doubled(&service, &functions, &scenario);
        assert_ne!(refused.code, 0, "no worker could call it: {refused:#?}");
    }
}

fn add_doubled(service: &Deployment, functions: &Functions, scenario: &Scenario) -> Outcome {
    let from = functions.path();
    let words = ["column", "add", &scenario.uri, "d", "--udf", "udfs:doubled"];
    let mut call = call(service, &[&words[..], &["--from", &from]].concat());
    call.env("LANCE_BACKFILL_PYTHON", functions.interpreter());
    finish(call)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_python_column_is_filled_by_workers_with_python() {
    let Some(functions) = Functions::new(CODE) else {
        return;
    };
    let interpreter = functions.interpreter().display().to_string();
    let variables = [("LANCE_BACKFILL_PYTHON".to_owned(), interpreter)];
    let settings = Settings {
        environment: [("worker", variables.into())].into(),
        ..Settings::default()
    };
    let Some(service) = Deployment::start(settings) else {
        return;
    };
    let scenario = service.table("python.lance", Shape::default(), 200).await;
    add_doubled(&service, &functions, &scenario).expect_code(0);
    let doubled = |row: &Row| Some(2 * row.id());
    let filled = async || {
        let rows = scenario.rows().await;
        rows.iter().all(|row| row.int("d") == doubled(row))
    };
    eventually("'d' is filled", filled).await;
    scenario.append(100).await;
    eventually("new rows are filled", filled).await;
    assert_eq!(scenario.check_int("d", doubled).await, 300);
    eventually("all is done", async || service.is_drained().await).await;
    assert!(service.all_dead().await.is_empty());
}
