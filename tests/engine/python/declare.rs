//! Declaring Python functions: what is refused changes nothing.

use crate::support::{Functions, Scenario, Shape, Table};

const CODE: &str = r#"
@udf
def fine(id: int) -> int:
    return id + 1

@udf
def untyped(id: int):
    return id

bare = 5

@udf
def texts(s: str) -> str:
    return s

@udf
def stranger(nothing_like_it: int) -> int:
    return 1

@udf(num_gpus=1)
def on_gpu(id: int) -> int:
    return id
"#;

async fn state(table: &Table) -> (u64, usize) {
    (table.version().await, table.state_files().len())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_declared_is_refused_in_one_line_and_changes_nothing() {
    let Some(functions) = Functions::new(CODE) else {
        return;
    };
    functions.write_file("needy.py", "import numpy_of_the_future\nfrom lance_backfill import udf\n@udf\ndef f(id: int) -> int: return id\n");
    functions.write_file("broken.py", "def f(:\n");
    let scenario = Scenario::standard(Shape::default(), 20).await;
    let before = state(&scenario).await;
    let from = functions.path();
    let missing = format!("{from}/nowhere");
    for (udf, from, about) in [
        ("nothing:fine", from.as_str(), "nothing"),
        ("udfs:absent", from.as_str(), "absent"),
        ("udfs", from.as_str(), "udfs"),
        ("udfs:untyped", from.as_str(), "data_type"),
        ("udfs:bare", from.as_str(), "bare"),
        ("needy:f", from.as_str(), "numpy_of_the_future"),
        ("broken:f", from.as_str(), "broken"),
        ("udfs:fine", missing.as_str(), "nowhere"),
        ("udfs:stranger", from.as_str(), "nothing_like_it"),
        ("udfs:on_gpu", from.as_str(), "GPU"),
    ] {
        functions
            .run(
                &scenario,
                &["column", "add"],
                &["p", "--udf", udf, "--from", from],
            )
            .expect_refusal(&[2], about);
        assert_eq!(state(&scenario).await, before, "{udf}");
    }
    for (options, about) in [
        (&["--inputs", "id,a"][..], "inputs"),
        (&["--where", "no_such > 1"], "no_such"),
        (&["--env", "moon"], "moon"),
        (&["--target", "linux-x86_64"], "--env capture"),
        (&["--type", "double"], "--type"),
    ] {
        functions
            .try_add(&scenario, "p", "fine", options)
            .expect_refusal(&[2], about);
        assert_eq!(state(&scenario).await, before, "{options:?}");
    }
    // The column is there and has another type.
    functions
        .try_add(&scenario, "b", "texts", &["--adopt"])
        .expect_refusal(&[2], "int64");
    functions
        .run(&scenario, &["column", "add"], &["p", "--function", "abc"])
        .expect_refusal(&[2], "abc");
    functions
        .run(&scenario, &["column", "add"], &["p"])
        .expect_refusal(&[2], "--udf");
    assert_eq!(state(&scenario).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registered_function_is_declared_by_its_digest() {
    let Some(functions) = Functions::new(CODE) else {
        return;
    };
    let scenario = Scenario::standard(Shape::default(), 20).await;
    let from = functions.path();
    let options = ["--udf", "udfs:fine", "--from", &from];
    let version = scenario.version().await;
    let first = functions
        .run(&scenario, &["register"], &options)
        .expect_code(0)
        .json();
    let again = functions
        .run(&scenario, &["register"], &options)
        .expect_code(0)
        .json();
    assert_eq!(first["function"], again["function"]);
    assert_eq!(scenario.version().await, version);
    let digest = first["function"].as_str().expect("a digest");
    // Whoever declares it needs no code and no interpreter.
    let added = scenario.run(&["column", "add"], &["p", "--function", &digest[..12]]);
    added.expect_code(0);
    functions.run(&scenario, &["refresh"], &[]).expect_code(0);
    scenario.check_int("p", |row| Some(row.id() + 1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_artifact_is_not_run() {
    let Some(functions) = Functions::new(CODE) else {
        return;
    };
    let scenario = Scenario::standard(Shape::default(), 20).await;
    let added = functions.add(&scenario, "p", "fine", &[]);
    let function = &added["definition"]["function"];
    for (folder, digest, ending) in [
        ("artifacts", &function["artifact"], "zip"),
        ("environments", &function["environment"], "json"),
    ] {
        let name = format!("{}.{ending}", digest.as_str().expect("a digest"));
        let path = std::path::Path::new(&scenario.uri)
            .join("_backfill")
            .join(folder)
            .join(name);
        let bytes = std::fs::read(&path).expect("the artifact");
        let mut changed = bytes.clone();
        changed.push(b' ');
        std::fs::write(&path, changed).expect("written");
        // On a machine that has not unpacked it yet.
        let _ = std::fs::remove_dir_all(scenario.cache().join("python"));
        let outcome = functions.run(&scenario, &["refresh"], &[]).expect_code(1);
        assert!(outcome.stderr.contains("was changed"), "{outcome:#?}");
        assert!(functions.calls().is_empty());
        std::fs::write(&path, bytes).expect("written");
    }
    functions.run(&scenario, &["refresh"], &[]).expect_code(0);
    scenario.check_int("p", |row| Some(row.id() + 1)).await;
}
