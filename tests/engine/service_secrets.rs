//! Secrets of a deployment, in the Secrets Manager of an emulator.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_secretsmanager::config::{BehaviorVersion, Credentials, Region};
use lance_backfill_aws::{ManagedSecrets, SecretsClient};
use lance_backfill_ports::ErrorKind;
use lance_backfill_ports::secrets::Secrets;

use crate::support::emulator::Emulator;

const HOUR: Duration = Duration::from_secs(3_600);

fn client(emulator: &Emulator) -> SecretsClient {
    let config = aws_sdk_secretsmanager::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(emulator.endpoint())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .build();
    SecretsClient::from_conf(config)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_read_when_it_is_needed_and_again_when_it_is_too_old() {
    let Some(emulator) = Emulator::start() else {
        return;
    };
    let client = client(&emulator);
    let create = client.create_secret().name("team/key");
    let created = create.secret_string("the first value").send().await;
    let arn = created.expect("a secret").arn.expect("an ARN");
    let arns = [
        ("KEY".to_owned(), arn.clone()),
        ("GONE".to_owned(), format!("{arn}-of-nobody")),
    ];
    let secrets = ManagedSecrets::new(BTreeMap::from(arns)).with_client(client.clone());
    let read = async |name: &str, most_age: Duration| {
        let found = secrets.value(name, most_age).await;
        found.map(|found| found.map(|secret| secret.reveal().to_owned()))
    };
    let value = read("KEY", HOUR).await.expect("it is there");
    assert_eq!(value.as_deref(), Some("the first value"));

    let put = client.put_secret_value().secret_id(&arn);
    let put = put.secret_string("the second value").send().await;
    put.expect("another value");
    let value = read("KEY", HOUR).await.expect("it is there");
    assert_eq!(value.as_deref(), Some("the first value"), "young enough");
    let value = read("KEY", Duration::ZERO).await.expect("it is there");
    assert_eq!(value.as_deref(), Some("the second value"));

    assert_eq!(read("OTHER", HOUR).await.expect("no request"), None);
    let error = read("GONE", HOUR).await.expect_err("no such secret");
    assert_eq!(error.kind, ErrorKind::Invalid, "{}", error.one_line());
    assert!(error.one_line().contains("'GONE'"), "{}", error.one_line());

    // Whoever had a value goes on with it while Secrets Manager does not answer.
    drop(emulator);
    let value = read("KEY", Duration::ZERO).await.expect("the last value");
    assert_eq!(value.as_deref(), Some("the second value"));
    for shown in [
        format!("{secrets:?}"),
        format!("{:?}", secrets.value("KEY", HOUR).await),
    ] {
        assert!(!shown.contains("second value"), "{shown}");
    }
}
