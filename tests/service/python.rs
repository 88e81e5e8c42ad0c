//! Python functions in a deployed service: registered by an operator, called by workers with Python.

use std::process::Command;

use crate::deployment::{Deployment, Settings};
use crate::support::emulator::BUCKET;
use crate::support::program::{Outcome, command, finish};
use crate::support::serving::eventually;
use crate::support::table::Shape;
use crate::support::{Functions, Row, Scenario};

/// The image that the workers are said to be in: it has the interpreter of the test.
pub(crate) const IMAGE: &str =
    "worker@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const CODE: &str = r#"
@udf
def doubled(id: int) -> int:
    return 2 * id
"#;

/// Runs a command through the service.
pub(crate) fn through(service: &Deployment, arguments: &[&str]) -> Outcome {
    finish(call(service, arguments))
}

pub(crate) fn call(service: &Deployment, arguments: &[&str]) -> Command {
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

fn add_doubled(service: &Deployment, functions: &Functions, scenario: &Scenario) -> Outcome {
    let from = functions.path();
    let words = ["column", "add", &scenario.uri, "d", "--udf", "udfs:doubled"];
    let environment = format!("image:{IMAGE}");
    let more = ["--from", &from, "--env", &environment];
    let mut call = call(service, &[&words[..], &more].concat());
    call.env("LANCE_BACKFILL_PYTHON", functions.interpreter());
    call.env("LANCE_BACKFILL_IMAGE", IMAGE);
    finish(call)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_python_column_is_filled_by_workers_with_python() {
    let Some(functions) = Functions::new(CODE) else {
        return;
    };
    let interpreter = functions.interpreter().display().to_string();
    let variables = [
        ("LANCE_BACKFILL_PYTHON".to_owned(), interpreter),
        ("LANCE_BACKFILL_IMAGE".to_owned(), IMAGE.to_owned()),
    ];
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
