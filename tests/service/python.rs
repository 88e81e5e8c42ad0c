//! Python functions in a deployed service: registered by an operator, called by workers with Python.

use std::process::Command;
use std::time::Duration;

use crate::deployment::{Deployment, Settings};
use crate::support::emulator::BUCKET;
use crate::support::program::{Outcome, command, finish};
use crate::support::serving::eventually;
use crate::support::table::Shape;
use crate::support::{Functions, Row};

const PATIENCE: Duration = Duration::from_secs(60);
/// The image that the workers are said to be in: it has the interpreter of the test.
pub(crate) const IMAGE: &str =
    "worker@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const CODE: &str = r#"
@udf
def doubled(id: int) -> int:
    return 2 * id
"#;
/// A few rows fail while there is a flag, fewer than the policy tolerates.
const PICKY: &str = r#"
@udf
def doubled(id: int) -> int:
    if id % 50 == 3 and os.path.exists(FLAG):
        raise ValueError("not yet")
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

/// Runs a command that packs a function for the image.
pub(crate) fn packing(service: &Deployment, functions: &Functions, words: &[&str]) -> Outcome {
    let (from, environment) = (functions.path(), format!("image:{IMAGE}"));
    let more = ["--from", &from, "--env", &environment];
    let mut call = call(service, &[words, &more].concat());
    call.env("LANCE_BACKFILL_PYTHON", functions.interpreter());
    call.env("LANCE_BACKFILL_IMAGE", IMAGE);
    finish(call)
}

/// Workers with the interpreter of the functions, in what is said to be the image.
pub(crate) fn settings_for(functions: &Functions) -> Settings {
    let interpreter = functions.interpreter().display().to_string();
    let variables = [
        ("LANCE_BACKFILL_PYTHON".to_owned(), interpreter),
        ("LANCE_BACKFILL_IMAGE".to_owned(), IMAGE.to_owned()),
    ];
    Settings {
        environment: [("worker", variables.into())].into(),
        ..Settings::default()
    }
}

pub(crate) fn doubled(row: &Row) -> Option<i64> {
    Some(2 * row.id())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_python_column_is_filled_by_workers_with_python() {
    let Some(functions) = Functions::new(CODE) else {
        return;
    };
    let settings = settings_for(&functions);
    let Some(service) = Deployment::start(settings) else {
        return;
    };
    let scenario = service.table("python.lance", Shape::default(), 200).await;
    let add = ["column", "add", &scenario.uri, "d", "--udf", "udfs:doubled"];
    packing(&service, &functions, &add).expect_code(0);
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

#[tokio::test(flavor = "multi_thread")]
async fn what_is_registered_with_a_service_runs_there_and_failed_rows_are_tried_again() {
    let Some(functions) = Functions::new("") else {
        return;
    };
    let flag = functions.flag();
    functions.write(&format!("FLAG = {:?}\n{PICKY}", flag.display().to_string()));
    std::fs::write(&flag, "").expect("written");
    let Some(service) = Deployment::start(settings_for(&functions)) else {
        return;
    };
    let scenario = service
        .table("registered.lance", Shape::default(), 100)
        .await;
    let uri = scenario.uri.as_str();
    let register = ["register", uri, "--udf", "udfs:doubled"];
    let registered = packing(&service, &functions, &register)
        .expect_code(0)
        .json();
    let digest = registered["function"].as_str().expect("a digest");
    // Another operator, who has neither the code nor a Python.
    let add = ["column", "add", uri, "d", "--function", digest];
    through(&service, &add).expect_code(0);
    let rows = async |state: &str| {
        let status = through(&service, &["status", uri]).expect_code(0).json();
        status["columns"][0][state].as_u64().expect("a number")
    };
    let most = async || rows("rows_current").await == 98;
    service
        .eventually("what can be filled is", PATIENCE, most)
        .await;
    eventually("all is done", async || service.is_drained().await).await;
    assert_eq!(rows("rows_failed").await, 2);
    let failures = through(&service, &["failures", uri, "d"])
        .expect_code(0)
        .json();
    assert_eq!(
        failures["failures"][0]["message"], "not yet",
        "{failures:#}"
    );
    std::fs::remove_file(&flag).expect("removed");
    let again = through(&service, &["retry", uri, "d"])
        .expect_code(0)
        .json();
    assert_eq!(
        (&again["job_state"], &again["rows_selected"]),
        (&"done".into(), &2.into())
    );
    assert_eq!(scenario.check_int("d", doubled).await, 100);
    assert!(service.all_dead().await.is_empty());
}
