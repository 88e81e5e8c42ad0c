//! What nobody can do is acknowledged or dead-lettered with the reason in the log, and nothing else is
//! disturbed.

use std::time::Duration;

use aws_sdk_sqs::error::ProvideErrorMetadata;
use lance_backfill_core::format::encode;
use lance_backfill_core::message::{PlanMessage, Wake};
use serde_json::json;

use crate::delivery::is_filled;
use crate::deployment::{Deployment, Settings};
use crate::proxy::{Fault, Refusal};
use crate::support::oracle::product;
use crate::support::serving::eventually;
use crate::support::table::Shape;

/// The most that SQS takes.
const MOST_BYTES: usize = 1 << 20;
/// What cannot be read is hidden twice before it is a dead letter.
const PATIENCE: Duration = Duration::from_secs(180);

fn plan(table: &str) -> String {
    let message = PlanMessage::new(table.to_owned(), Wake::Requested);
    String::from_utf8(encode(&message).expect("a message")).expect("text")
}

fn created(bucket: &str, key: &str) -> String {
    let detail = json!({ "bucket": { "name": bucket }, "object": { "key": key } });
    json!({ "source": "aws.s3", "detail-type": "Object Created", "detail": detail }).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_told_and_disturbs_nothing() {
    let settings = Settings {
        visibility_s: 15,
        most_receives: 2,
        ..Settings::default()
    };
    let Some(service) = Deployment::start(settings) else {
        return;
    };
    service.proxy.rule(|request| {
        let is_forbidden = request.what.contains("/forbidden");
        is_forbidden.then_some(Fault::Refused(Refusal::Forbidden))
    });
    let good = service.table("good.lance", Shape::default(), 100).await;
    good.add("p", "a * b", &[]);
    let gone = service.table("gone.lance", Shape::default(), 10).await;
    gone.add("p", "a * b", &[]);
    eventually("both are filled", async || {
        is_filled(&good).await && is_filled(&gone).await
    })
    .await;
    for key in service.emulator.keys("gone.lance/") {
        let path = format!("/tables/{key}");
        service.emulator.ask("DELETE", &path, "");
    }

    let garbage = "x".repeat(MOST_BYTES);
    let newer = json!({ "version": 999, "table": "t", "why": "requested" }).to_string();
    let forbidden = plan("s3://forbidden/table.lance");
    let dead = [
        ("plans", "{ this is no JSON"),
        ("plans", garbage.as_str()),
        ("plans", newer.as_str()),
        ("plans", r#"{"some":"thing else"}"#),
        ("plans", forbidden.as_str()),
        ("fresh", "[]"),
        ("fresh", r#"{"version":999}"#),
        ("bulk", "{}"),
    ];
    for (lane, body) in &dead {
        service.send(lane, body).await;
    }
    // Of a table's group nothing goes on while one of its messages is tried, so these are dropped: what
    // they said is in the state store.
    for body in ["null", r#"{"version":999}"#] {
        service.send("commits", body).await;
    }
    let ignored = [
        plan(&service.emulator.uri("never.lance")),
        plan("s3://no-such-bucket/table.lance"),
        // Foreign keys: not of Lance, of a data file, of what lies inside of a table.
        created("tables", "holiday.jpg"),
        created("tables", "good.lance/data/0.lance"),
        created("tables", "good.lance/_backfill/x/_versions/1.manifest"),
        r#"{"Event":"s3:TestEvent","Bucket":"tables"}"#.to_owned(),
        json!({ "source": "aws.ec2", "detail-type": "Spot Interruption", "detail": {} })
            .to_string(),
    ];
    for body in &ignored {
        service.send("plans", body).await;
    }
    let too_large = service.sqs.send_message().queue_url(service.queue("bulk"));
    let refused = too_large.message_body(format!("{garbage}x")).send().await;
    let refused = refused
        .expect_err("SQS takes no more than 1 MiB")
        .into_service_error();
    assert!(refused.code().is_some(), "{refused:?}");
    // It knows of a table that is gone.
    service.schedule().await;
    // Beside all that, a table is kept up to date.
    good.append(50).await;
    eventually("new rows are filled", async || is_filled(&good).await).await;
    assert_eq!(good.check_int("p", product).await, 150);
    let done = service.eventually("all is done", PATIENCE, async || service.is_drained().await);
    done.await;

    let mut found: Vec<(String, String)> = (service.all_dead().await.into_iter())
        .flat_map(|(lane, bodies)| bodies.into_iter().map(move |body| (lane.clone(), body)))
        .collect();
    found.sort();
    let mut wanted = dead.map(|(lane, body)| (lane.to_owned(), body.to_owned()));
    wanted.sort();
    let short = |letters: &[(String, String)]| -> Vec<(String, String)> {
        let cut = |body: &String| body.chars().take(80).collect();
        letters
            .iter()
            .map(|(lane, body)| (lane.clone(), cut(body)))
            .collect()
    };
    assert_eq!(short(&found), short(&wanted));
    for (kind, reasons) in [
        (
            "planner",
            &[
                "it is not a message that we know",
                "newer than 1 which this program reads: upgrade",
                "it is neither an event nor a plan message",
                "no permission",
                "no lance table at",
                "there is no such bucket",
                "holiday.jpg",
                "gone.lance",
                "S3 tests whether it may send here",
                "'Spot Interruption' is not ours",
            ][..],
        ),
        (
            "worker",
            &[
                "a batch message is damaged",
                "a batch message has format 999",
            ][..],
        ),
        (
            "committer",
            &[
                "a commit message is damaged",
                "a commit message has format 999",
            ][..],
        ),
    ] {
        let log = service.log(kind);
        for reason in reasons {
            assert!(
                log.to_lowercase().contains(&reason.to_lowercase()),
                "'{reason}' in the log of the {kind}:\n{log}"
            );
        }
        assert!(!log.contains("panicked"), "{log}");
    }
}
