//! What a service runs: functions that an operator registered with it, and only as they were registered.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use lance_backfill_core::message::{PlanMessage, Wake};
use lance_backfill_embedded::{Engine, EnvironmentChoice, PackRequest, Target};
use lance_backfill_ports::Result;
use lance_backfill_ports::secrets::{Secret, Secrets};
use lance_backfill_ports::state_store::{Created, StateStore};
use lance_backfill_service::{Planned, Worked};
use serde_json::{Value, json};

use crate::fill::product;
use crate::support::in_process::{InProcess, Setup};
use crate::support::{Functions, Row, Scenario, Shape};

const CODE: &str = r#"
@udf
def double(id: int) -> int:
    note("double", id)
    return 2 * id

@udf
def other(id: int) -> int:
    note("other", id)
    return -id
"#;

fn doubled(row: &Row) -> Option<i64> {
    Some(2 * row.id())
}

/// A service whose workers have the interpreter of these functions.
async fn service(functions: &Functions) -> InProcess {
    InProcess::with(Setup {
        only_registered: true,
        python: Some(functions.interpreter().to_owned()),
        ..Setup::default()
    })
    .await
}

/// What an operator does with `register`.
async fn register(service: &InProcess, scenario: &Scenario, functions: &Functions, name: &str) {
    let engine = Engine::open(&scenario.uri, service.engine.clone()).await;
    let engine = engine.expect("opens");
    let request = PackRequest {
        entrypoint: format!("udfs:{name}"),
        from: functions.path().into(),
        environment: EnvironmentChoice::Current,
        target: Target::default(),
    };
    let packed = engine.pack(&request).await.expect("packs");
    let stored = packed.register_with(&service.store).await;
    stored.expect("registers");
    // Idempotent.
    let again = packed.register_with(&service.store).await;
    again.expect("registers again");
    functions.take_log();
}

/// Why a plan held a column, if it did, and how many batches it sent of it.
async fn held(service: &InProcess, scenario: &Scenario, column: &str) -> (Option<String>, usize) {
    let plan = PlanMessage::new(scenario.uri.clone(), Wake::Committed);
    let planned = service.service.plan(&plan).await.expect("plans");
    let Planned::Looked { columns, .. } = planned else {
        panic!("{planned:?}");
    };
    let found = columns.into_iter().find(|plan| plan.column == column);
    let sent = found.expect("the column").sent;
    (sent.held, sent.batches)
}

/// What whoever can write the table makes of a column's definition.
async fn rewrite(scenario: &Scenario, change: impl Fn(&mut Value)) {
    let mut dataset = scenario.open().await;
    let is_python = |json: &str| json.contains("\"python\"");
    let (key, json) = (dataset.metadata().iter())
        .find(|(key, json)| key.starts_with("backfill.column.") && is_python(json))
        .map(|(key, json)| (key.clone(), json.clone()))
        .expect("the definition");
    let mut definition: Value = serde_json::from_str(&json).expect("JSON");
    change(&mut definition);
    let changed = definition.to_string();
    let written = dataset.update_metadata([(key.as_str(), changed.as_str())]);
    written.await.expect("writes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_nobody_registered_is_held_and_other_columns_fill() {
    let Some(functions) = Functions::new(CODE) else {
        return;
    };
    let scenario = Scenario::standard(Shape::default(), 200).await;
    functions.add(&scenario, "d", "double", &[]);
    scenario.add("p", "a * b", &[]);
    let service = service(&functions).await;
    let (reason, batches) = held(&service, &scenario, "d").await;
    let reason = reason.expect("held");
    assert!(reason.contains("udfs:double"), "{reason}");
    assert!(reason.contains("is not registered"), "{reason}");
    assert!(reason.contains("lance-backfill register"), "{reason}");
    assert_eq!(batches, 0);
    service.converge(&scenario.uri).await;
    assert_eq!(scenario.check_int("p", product).await, 200);
    scenario.check_int("d", |_| None).await;
    assert_eq!(functions.take_log(), [""; 0], "nothing of it ran");

    // What lies beside the table is not what is registered, and nobody reads it.
    for (path, _) in scenario.state_files() {
        if path.extension().is_some_and(|end| end == "zip") {
            std::fs::write(&path, "somebody's own code").expect("writes");
        }
    }
    register(&service, &scenario, &functions, "double").await;
    service.converge(&scenario.uri).await;
    assert_eq!(scenario.check_int("d", doubled).await, 200);
    assert_eq!(functions.calls().len(), 200);
    let (reason, batches) = held(&service, &scenario, "d").await;
    assert_eq!((reason, batches), (None, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_refuses_what_its_own_service_does_not_have() {
    let Some(functions) = Functions::new(CODE) else {
        return;
    };
    let scenario = Scenario::standard(Shape::default(), 50).await;
    functions.add(&scenario, "d", "double", &[]);
    let lenient = service(&functions).await;
    register(&lenient, &scenario, &functions, "double").await;
    let (_, batches) = held(&lenient, &scenario, "d").await;
    assert_eq!(batches, 1);
    // Somebody else's message in this service's queue, or a permit that was taken back.
    let strict = service(&functions).await;
    let sent = lenient.batches().await;
    for batch in &sent {
        let worked = strict.service.work(batch).await.expect("an answer");
        let Worked::Refused { reason, .. } = worked else {
            panic!("{worked:?}");
        };
        assert!(reason.contains("is not registered"), "{reason}");
    }
    assert_eq!(functions.take_log(), [""; 0], "nothing of it ran");
    for batch in &sent {
        let worked = lenient.service.work(batch).await.expect("works");
        assert!(matches!(worked, Worked::Done { .. }), "{worked:?}");
    }
    assert_eq!(functions.calls().len(), 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_of_the_table_makes_no_other_thing_of_a_registered_function() {
    let Some(functions) = Functions::new(CODE) else {
        return;
    };
    let scenario = Scenario::standard(Shape::default(), 50).await;
    functions.add(&scenario, "d", "double", &[]);
    let service = service(&functions).await;
    register(&service, &scenario, &functions, "double").await;
    let (code, env) = ("udfs:double", json!({}));
    let refused = async |entrypoint: &str, secrets: Value, env: Value, word: &str| {
        rewrite(&scenario, |definition| {
            definition["function"]["entrypoint"] = json!(entrypoint);
            definition["secrets"] = secrets.clone();
            definition["call"]["env"] = env.clone();
        })
        .await;
        let (reason, batches) = held(&service, &scenario, "d").await;
        let reason = reason.expect("held");
        assert!(reason.contains(word), "{reason}");
        assert_eq!(batches, 0);
    };
    refused("udfs:other", json!([]), env.clone(), "is not registered").await;
    refused("os:system", json!([]), env.clone(), "is not registered").await;
    let credential = "AWS_SECRET_ACCESS_KEY";
    refused(code, json!([credential]), env, credential).await;
    let preload = json!({"LD_PRELOAD": "/tmp/mine.so"});
    refused(code, json!([]), preload, "LD_PRELOAD").await;
    assert_eq!(functions.take_log(), [""; 0], "nothing of it ran");
    // As it was registered it runs.
    rewrite(&scenario, |definition| {
        definition["secrets"] = json!([]);
        definition["call"]["env"] = json!({});
    })
    .await;
    service.converge(&scenario.uri).await;
    assert_eq!(scenario.check_int("d", doubled).await, 50);
}

/// A secret that was changed a minute ago.
struct Changed {
    name: &'static str,
    old: &'static str,
    new: &'static str,
}

#[async_trait]
impl Secrets for Changed {
    async fn value(&self, name: &str, most_age: Duration) -> Result<Option<Secret>> {
        let value = match most_age > Duration::from_secs(60) {
            true => self.old,
            false => self.new,
        };
        Ok((name == self.name).then(|| Secret::new(value.to_owned())))
    }

    fn advice(&self, name: &str) -> String {
        format!("nobody has {name}")
    }
}

const GUARDED: &str = r#"
@udf(secrets=["LB_TEST_KEY"])
def guarded(id: int) -> int:
    key = os.environ["LB_TEST_KEY"]
    if key != "the new one":
        raise PermissionError(f"401 for {key}")
    return id
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_fails_by_an_old_secret_is_called_again_with_the_new_one() {
    let Some(functions) = Functions::new(GUARDED) else {
        return;
    };
    let scenario = Scenario::standard(Shape::default(), 300).await;
    functions.add(&scenario, "g", "guarded", &[]);
    let secrets = Changed {
        name: "LB_TEST_KEY",
        old: "the old one",
        new: "the new one",
    };
    let service = InProcess::with(Setup {
        only_registered: true,
        python: Some(functions.interpreter().to_owned()),
        secrets: Some(Arc::new(secrets)),
        ..Setup::default()
    })
    .await;
    register(&service, &scenario, &functions, "guarded").await;
    service.converge(&scenario.uri).await;
    assert_eq!(scenario.check_int("g", |row| Some(row.id())).await, 300);
    assert!(scenario.failures("g").is_empty());
}

/// What a deployment says of itself.
async fn deploy(store: &dyn StateStore, python: bool, secrets: &[&str]) {
    let urls = json!({"plans": "p", "fresh": "f", "bulk": "b", "commits": "c"});
    let deployment = json!({
        "version": 1, "name": "lance-backfill", "queues": urls, "dead_letters": urls,
        "python": python, "secrets": secrets, "classes": {}, "batches_at_once": 10,
    });
    store.delete("service.json").await.expect("deletes");
    let written = store.create("service.json", Bytes::from(deployment.to_string()));
    assert_eq!(written.await.expect("writes"), Created::New);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_deployment_lacks_holds_a_column_until_it_has_it() {
    let Some(functions) = Functions::new(GUARDED) else {
        return;
    };
    let scenario = Scenario::standard(Shape::default(), 50).await;
    functions.add(&scenario, "g", "guarded", &[]);
    let service = service(&functions).await;
    register(&service, &scenario, &functions, "guarded").await;
    let store = service.store.as_ref();
    let reason = async |python: bool, secrets: &[&str]| {
        deploy(store, python, secrets).await;
        held(&service, &scenario, "g").await
    };
    let (no_python, _) = reason(false, &["LB_TEST_KEY"]).await;
    assert!(
        no_python.as_ref().is_some_and(|it| it.contains("Python")),
        "{no_python:?}"
    );
    let (no_secret, _) = reason(true, &["OTHER"]).await;
    assert!(
        no_secret
            .as_ref()
            .is_some_and(|it| it.contains("LB_TEST_KEY")),
        "{no_secret:?}"
    );
    assert_eq!(reason(true, &["LB_TEST_KEY", "OTHER"]).await, (None, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_secrets_of_a_service_are_not_those_of_its_environment() {
    let Some(functions) = Functions::new(GUARDED) else {
        return;
    };
    let scenario = Scenario::standard(Shape::default(), 50).await;
    functions.add(&scenario, "g", "guarded", &[]);
    let service = InProcess::with(Setup {
        only_registered: true,
        python: Some(functions.interpreter().to_owned()),
        environment: BTreeMap::from([("LB_TEST_KEY".to_owned(), "the new one".to_owned())]),
        secrets: Some(Arc::new(lance_backfill_aws::ManagedSecrets::new(
            BTreeMap::new(),
        ))),
        ..Setup::default()
    })
    .await;
    register(&service, &scenario, &functions, "guarded").await;
    held(&service, &scenario, "g").await;
    for batch in service.batches().await {
        let worked = service.service.work(&batch).await.expect("works");
        let Worked::Done { fault, .. } = worked else {
            panic!("{worked:?}");
        };
        let fault = fault.expect("a fault");
        assert!(fault.contains("LB_TEST_KEY"), "{fault}");
        assert!(fault.contains("this service has none"), "{fault}");
    }
    scenario.check_int("g", |_| None).await;
}
