//! Environments: what a function runs in, packed along or named.

use crate::support::program::{command, finish};
use crate::support::{Functions, Report, Row, Scenario, Shape};

const CODE: &str = r#"
@udf
def stem(id: int) -> str:
    import six
    return f"{six.__version__}-{id}"
"#;

fn expected(version: &str) -> impl Fn(&Row) -> Option<String> {
    let version = version.to_owned();
    move |row| Some(format!("{version}-{}", row.id()))
}

/// The interpreter of the tests has no `six`: it comes from the requirements alone.
#[tokio::test(flavor = "multi_thread")]
async fn requirements_are_locked_packed_and_unpacked_by_the_worker() {
    let Some(functions) = Functions::new(CODE) else {
        return;
    };
    let scenario = Scenario::standard(Shape::default(), 50).await;
    functions.write_file("requirements.txt", "six==1.16.0\n");
    let requirements = format!("{}/requirements.txt", functions.path());
    functions.add(&scenario, "p", "stem", &["--requirements", &requirements]);
    functions.run(&scenario, &["refresh"], &[]).expect_code(0);
    scenario.check("p", expected("1.16.0")).await;

    // Only the environment changes: the values stay, later rows get the new one.
    functions.write_file("requirements.txt", "six==1.17.0\n");
    functions.alter(&scenario, "p", "stem", &["--requirements", &requirements]);
    functions.run(&scenario, &["refresh"], &[]).expect_code(0);
    scenario.check("p", expected("1.16.0")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_packed_is_refused_by_name() {
    let Some(functions) = Functions::new(CODE) else {
        return;
    };
    let scenario = Scenario::standard(Shape::default(), 50).await;
    let before = (scenario.version().await, scenario.state_files().len());
    functions.write_file("requirements.txt", "no-such-package-of-ours==1.0\n");
    let requirements = format!("{}/requirements.txt", functions.path());
    let wheel = format!(
        "{}/thing-1.0-cp311-cp311-macosx_11_0_arm64.whl",
        functions.path()
    );
    std::fs::write(&wheel, "").expect("written");
    for (options, about) in [
        (
            &["--requirements", requirements.as_str()][..],
            "no-such-package-of-ours",
        ),
        (&["--env", "image:worker:latest"], "sha256"),
    ] {
        functions
            .try_add(&scenario, "p", "stem", options)
            .expect_refusal(&[2], about);
    }
    functions
        .run(
            &scenario,
            &["column", "add"],
            &[
                "p", "--udf", "thing:f", "--from", &wheel, "--env", "capture",
            ],
        )
        .expect_refusal(&[2], "macos");
    let now = (scenario.version().await, scenario.state_files().len());
    assert_eq!(now, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_checked_at_start() {
    let code = "@udf\ndef next(id: int) -> int:\n    return id + 1\n";
    let Some(functions) = Functions::new(code) else {
        return;
    };
    let scenario = Scenario::standard(Shape::default(), 50).await;
    let image = format!("worker@sha256:{}", "ab".repeat(32));
    let env = format!("image:{image}");
    functions.add(&scenario, "p", "next", &["--env", &env]);
    let outcome = functions.run(&scenario, &["refresh"], &[]).expect_code(1);
    assert!(outcome.stderr.contains(&image), "{outcome:#?}");
    let mut inside = functions.command(&scenario, &["refresh"], &[]);
    inside.env("LANCE_BACKFILL_IMAGE", &image);
    crate::support::program::finish(inside).expect_code(0);
    scenario.check_int("p", |row| Some(row.id() + 1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_is_imported_with_what_its_function_declares_and_no_more() {
    let code = |secrets: &str| {
        format!(
            "KEY = os.environ['LB_AT_IMPORT']\n\n@udf({secrets})\ndef f(id: int) -> int:\n    return id + len(KEY)\n"
        )
    };
    let Some(functions) = Functions::new(&code("")) else {
        return;
    };
    let scenario = Scenario::standard(Shape::default(), 10).await;
    let with_key = |words: &[&str], options: &[&str]| {
        let mut command = functions.command(&scenario, words, options);
        command
            .env("LB_AT_IMPORT", "0123456789")
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        finish(command)
    };
    let from = functions.path();
    let add = ["p", "--udf", "udfs:f", "--from", &from];
    let before = scenario.version().await;
    let refused = with_key(&["column", "add"], &add).expect_code(2);
    for words in ["LB_AT_IMPORT", "secrets=[…]"] {
        assert!(refused.stderr.contains(words), "{refused:#?}");
    }
    assert_eq!(scenario.version().await, before);
    functions.write(&code("secrets=['LB_AT_IMPORT']"));
    with_key(&["column", "add"], &add).expect_code(0);
    let outcome = with_key(&["refresh"], &[]).expect_code(0);
    assert_eq!(Report::read(outcome.json()).assigned("p"), 10);
    scenario.check_int("p", |row| Some(row.id() + 10)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_may_be_named_from_where_one_stands() {
    let Some(functions) = Functions::new("@udf\ndef f(id: int) -> int:\n    return id + 1\n")
    else {
        return;
    };
    let scenario = Scenario::standard(Shape::default(), 10).await;
    let stand = tempfile::tempdir().expect("a folder");
    let from = functions.path();
    let add = ["p", "--udf", "udfs:f", "--from", &from];
    for (words, options) in [(&["column", "add"][..], &add[..]), (&["refresh"], &[])] {
        let mut command = command(&[words, &[&scenario.table.uri], options].concat());
        command
            .current_dir(stand.path())
            .args(["--cache", "here/cache", "--interpreter"])
            .arg(functions.interpreter())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        finish(command).expect_code(0);
    }
    scenario.check_int("p", |row| Some(row.id() + 1)).await;
}
