//! The module of `infra/`, applied to the emulator as its README says, and then only pylance.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::emulator::Emulator;
use crate::support::functions::Functions;
use crate::support::program::{built, run, say, skip};
use crate::support::serving::now;

/// The exit code of `apply.py` where it cannot run.
const CANNOT_RUN: i32 = 3;

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The configuration that the README of the module tells people to try, with its own emulator.
fn configuration(endpoint: &str) -> String {
    let readme = std::fs::read_to_string(file("../infra/README.md")).expect("a README");
    let mut blocks = readme.split("```hcl\n").skip(1);
    let block = blocks.find_map(|rest| {
        let (block, _) = rest.split_once("```")?;
        block.contains("AWS_ENDPOINT_URL").then_some(block)
    });
    let block = block.expect("a configuration for an emulator in infra/README.md");
    for told in [
        "../lance-backfill/infra",
        "http://127.0.0.1:4566",
        "bootstrap.zip",
    ] {
        assert!(block.contains(told), "'{told}' in:\n{block}");
    }
    block
        .replace("../lance-backfill/infra", "./infra")
        .replace("http://127.0.0.1:4566", endpoint)
}

/// A zip with a program of this machine in it, which is not copied.
fn release(folder: &Path) {
    let program = built("bootstrap");
    let script = format!("#!/bin/sh\nexec '{}'\n", program.display());
    let code = "import sys, zipfile\n\
        info = zipfile.ZipInfo('bootstrap')\n\
        info.external_attr = 0o755 << 16\n\
        zipfile.ZipFile(sys.argv[1], 'w').writestr(info, sys.argv[2])";
    let zip = folder.join("bootstrap.zip");
    let zipped = Command::new("python3")
        .args(["-c", code])
        .arg(zip)
        .arg(script)
        .output();
    succeeded(&zipped.expect("python3 starts"));
}

fn succeeded(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{stderr}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn terraform_applied_then_pylance_appends_and_the_column_is_filled() {
    // The Python of functions has pylance, too.
    let Some(functions) = Functions::new("") else {
        return;
    };
    let Some(emulator) = Emulator::start() else {
        return;
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let copied = Command::new("cp")
        .arg("-R")
        .arg(file("../infra"))
        .arg(folder.path().join("infra"))
        .output();
    succeeded(&copied.expect("cp starts"));
    let main = folder.path().join("main.tf");
    std::fs::write(main, configuration(&emulator.endpoint())).expect("written");
    release(folder.path());
    let started = now();
    let applied = Command::new("python3")
        .arg(file("service/terraform/apply.py"))
        .arg(file("../../shared/tools/terraform-stub"))
        .arg(emulator.endpoint())
        .arg(folder.path())
        .output()
        .expect("python3 starts");
    if applied.status.code() == Some(CANNOT_RUN) {
        let why = String::from_utf8_lossy(&applied.stderr);
        skip(&format!("the Terraform module on the emulator: {why}"));
        return;
    }
    succeeded(&applied);
    let took = started.elapsed().as_secs_f64();

    let table = emulator.uri("lake/client.lance");
    let client = |words: &[&str]| {
        let mut call = Command::new(functions.interpreter());
        call.arg(file("service/terraform/client.py")).args(words);
        for (name, value) in emulator.options() {
            call.env(name.to_uppercase(), value);
        }
        call.env("AWS_ALLOW_HTTP", "true");
        succeeded(&call.output().expect("Python starts"))
    };
    client(&["append", &table, "0", "1000"]);
    let options: Vec<String> = (emulator.options().into_iter())
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let mut arguments = vec!["column", "add", &table, "p", "--sql", "a * b"];
    for option in &options {
        arguments.extend(["--storage-option", option]);
    }
    let cache = folder.path().join("cache").display().to_string();
    run(&[&arguments[..], &["--cache", &cache]].concat()).expect_code(0);
    client(&["wait", &table, "1000"]);
    // From here on nothing runs but a client that appends.
    client(&["append", &table, "1000", "500"]);
    assert_eq!(client(&["wait", &table, "1500"]).trim(), "1500");
    say(&format!(
        "the Terraform module was applied in {took:.1} s, and filled what pylance appended"
    ));
}
