//! Secrets: named in the definition, seen by the host alone, and nowhere else.

use std::path::Path;
use std::process::Stdio;

use crate::support::{Functions, Report, Row, Scenario, Shape};

const VALUE: &str = "sk-3f9a\"77'c1-very-secret";

const CODE: &str = r#"
@udf(secrets=["LB_TEST_KEY"], env={"LB_TEST_PLACE": "here"})
def guarded(id: int) -> int:
    key = os.environ["LB_TEST_KEY"]
    print("the key is", key, flush=True)
    assert os.environ["LB_TEST_PLACE"] == "here"
    assert "LB_TEST_OTHER" not in os.environ
    if id % 50 == 7:
        raise ValueError(f"denied with {key}", {"headers": {"authorization": key}})
    return id + len(key)
"#;

fn mentions(folder: &Path, text: &[u8]) -> Vec<std::path::PathBuf> {
    let mut found = vec![];
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(mentions(&path, text));
        } else {
            let bytes = std::fs::read(&path).expect("a file");
            if bytes.windows(text.len()).any(|window| window == text) {
                found.push(path);
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_in_no_log_no_failure_and_no_file() {
    let Some(functions) = Functions::new(CODE) else {
        return;
    };
    let scenario = Scenario::standard(Shape::default(), 200).await;
    functions.add(&scenario, "p", "guarded", &[]);

    // Missing: refused before any row.
    let before = (scenario.version().await, scenario.state_files());
    let outcome = functions.run(&scenario, &["refresh"], &[]).expect_code(1);
    assert!(outcome.stderr.contains("LB_TEST_KEY"), "{outcome:#?}");
    assert_eq!((scenario.version().await, scenario.state_files()), before);
    assert!(functions.calls().is_empty());

    let mut command = functions.command(&scenario, &["refresh"], &["-vv"]);
    command
        .env("LB_TEST_KEY", VALUE)
        .env("LB_TEST_OTHER", "seen by nobody")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let outcome = crate::support::program::finish(command).expect_code(0);
    assert_eq!(Report::read(outcome.json()).assigned("p"), 196);
    let length = i64::try_from(VALUE.len()).expect("short");
    let expected = |row: &Row| Some(row.id() + length).filter(|_| row.id() % 50 != 7);
    scenario.check_int("p", expected).await;
    // What it printed is in the log, without the key.
    assert!(
        outcome.stderr.contains("the key is ***"),
        "{}",
        outcome.stderr
    );
    let failures = functions
        .run(&scenario, &["failures"], &["p"])
        .expect_code(0);
    assert!(failures.stdout.contains("denied with ***"), "{failures:#?}");
    let distinct = "very-secret";
    for text in [
        &outcome.stdout,
        &outcome.stderr,
        &failures.stdout,
        &failures.stderr,
    ] {
        assert!(!text.contains(distinct), "{text}");
    }
    for folder in [Path::new(&scenario.uri), scenario.cache()] {
        assert_eq!(
            mentions(folder, distinct.as_bytes()),
            Vec::<std::path::PathBuf>::new()
        );
    }
}
