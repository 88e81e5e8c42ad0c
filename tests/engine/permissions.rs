//! Tables that may only be read, or not even that.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::fill::product;
use crate::support::program::{Outcome, binary, finish, skip};
use crate::support::table::files_below;
use crate::support::{Scenario, Shape};

/// Runs the program as somebody to whom permissions apply.
struct Somebody {
    /// Root ignores permissions: it acts as another user.
    is_root: bool,
    /// With the binary, where others may run it, and a folder for locks.
    folder: tempfile::TempDir,
}

impl Somebody {
    fn find() -> Option<Self> {
        let id = Command::new("id").arg("-u").output().expect("id");
        let folder = tempfile::tempdir().expect("a folder");
        let somebody = Self {
            is_root: id.stdout.starts_with(b"0\n"),
            folder,
        };
        set_mode(somebody.folder.path(), 0o755);
        let program = somebody.folder.path().join("lance-backfill");
        if std::fs::hard_link(binary(), &program).is_err() {
            std::fs::copy(binary(), &program).expect("copies the binary");
        }
        let cache = somebody.folder.path().join("cache");
        std::fs::create_dir(&cache).expect("creates");
        set_mode(&cache, 0o777);
        let able = somebody.command().arg("--version").output();
        able.is_ok_and(|output| output.status.success())
            .then_some(somebody)
    }

    fn command(&self) -> Command {
        let program = self.folder.path().join("lance-backfill");
        if !self.is_root {
            return Command::new(program);
        }
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(program);
        command
    }

    fn run(&self, arguments: &[&str]) -> Outcome {
        let mut call = self.command();
        call.args(arguments)
            .args(["--json", "--cache"])
            .arg(self.folder.path().join("cache"));
        finish(call)
    }
}

fn set_mode(path: &Path, mode: u32) {
    let permissions = std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(path, permissions).expect("chmod");
}

/// Sets the modes of all folders and files of a table.
fn set_modes(scenario: &Scenario, folders: u32, files: u32) {
    let mut all: Vec<std::path::PathBuf> = vec![scenario.root()];
    for file in files_below(&scenario.root()).into_keys() {
        set_mode(&file, files);
        all.extend(
            file.ancestors()
                .skip(1)
                .take_while(|folder| *folder != scenario.root())
                .map(Path::to_owned),
        );
    }
    // Deepest first, so that a closed folder does not hide another.
    all.sort_by_key(|folder| std::cmp::Reverse(folder.components().count()));
    all.dedup();
    all.iter().for_each(|folder| set_mode(folder, folders));
}

/// A table with ten rows in need, which others may look at.
async fn in_need() -> Scenario {
    let scenario = Scenario::filled(Shape::default().fragments_of(50), 100).await;
    scenario.append(10).await;
    set_mode(scenario.folder.path(), 0o755);
    scenario
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_may_only_be_read_is_reported_and_left_alone() {
    let Some(somebody) = Somebody::find() else {
        skip("a table without write permission: root needs setpriv to act as another user");
        return;
    };
    let scenario = in_need().await;
    let version = scenario.version().await;
    let files = files_below(&scenario.root());
    set_modes(&scenario, 0o555, 0o444);
    let table = scenario.uri.as_str();
    let status = somebody.run(&["status", table]).expect_code(0);
    assert_eq!(status.json()["columns"][0]["rows_remaining"], 10);
    somebody.run(&["plan", table]).expect_code(0);
    for call in [
        &["refresh", table][..],
        &["column", "add", table, "q", "--sql", "a"],
        &["column", "alter", table, "p", "--sql", "b * a + 1"],
        &["column", "pause", table, "p"],
        &["column", "drop", table, "p"],
    ] {
        somebody.run(call).expect_refusal(&[1, 2], "permission");
    }
    set_modes(&scenario, 0o755, 0o644);
    assert_eq!(scenario.version().await, version);
    assert_eq!(
        files_below(&scenario.root()),
        files,
        "nothing is left behind"
    );
    assert_eq!(scenario.refresh().assigned("p"), 10);
    scenario.check_int("p", product).await;
    scenario.expect_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_may_not_be_read_is_refused_by_every_command() {
    let Some(somebody) = Somebody::find() else {
        skip("a table without read permission: root needs setpriv to act as another user");
        return;
    };
    let scenario = in_need().await;
    let version = scenario.version().await;
    let table = scenario.uri.as_str();
    // The folder itself, the manifests, the column files, the state.
    let places = ["", "_versions", "_backfill"];
    for place in places {
        let closed = scenario.root().join(place);
        set_mode(&closed, 0o000);
        for call in [
            &["status", table][..],
            &["plan", table],
            &["refresh", table],
            &["column", "list", table],
            &["failures", table, "p"],
        ] {
            if place == "_backfill" && call[0] == "column" {
                // What is declared stands in the table.
                continue;
            }
            let outcome = somebody.run(call);
            assert_ne!(outcome.code, 0, "'{place}' cannot be read: {outcome:#?}");
            outcome.expect_refusal(&[1, 2], "permission");
        }
        set_mode(&closed, 0o755);
    }
    let data = scenario.root().join("data");
    set_mode(&data, 0o000);
    let outcome = somebody.run(&["refresh", table]);
    outcome.expect_refusal(&[1, 2], "permission");
    set_mode(&data, 0o755);
    assert_eq!(scenario.version().await, version);
    assert_eq!(scenario.refresh().assigned("p"), 10);
    scenario.check_int("p", product).await;
    scenario.expect_rest().await;
}
