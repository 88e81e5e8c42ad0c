//! A full disk, and a limit on the size of files.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use lance_backfill_core::checkpoint::CheckpointManifest;

use crate::support::program::{binary, finish, say};
use crate::support::table::standard;
use crate::support::watch::{Objects, read_new};
use crate::support::{Scenario, Shape, Table};

/// Rows of the table; a column of values that no encoding makes smaller has eight bytes for each.
const ROWS: i64 = 32_000;
const SQL: &str = "sin(id * 1.7) * exp(b)";
/// Nothing is skipped then: the limit on file sizes has the same effect, and every user may set it.
const NO_MOUNT: &str =
    "no tmpfs can be mounted here: a full disk is tested by the limit on file sizes alone";

/// A small disk of its own, mounted for as long as it lives.
struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=6m", "tmpfs"])
            .arg(folder.path())
            .output();
        let mounted = mounted.is_ok_and(|output| output.status.success());
        mounted.then_some(Self { folder })
    }

    fn filler(&self) -> PathBuf {
        self.folder.path().join("filler")
    }

    /// Fills the disk but for so many bytes.
    fn fill(&self, free: u64) {
        let mut filler = File::create(self.filler()).expect("creates");
        let block = [0x5a; 4096];
        let mut size = 0;
        while filler.write_all(&block).is_ok() {
            size += block.len() as u64;
        }
        let filler = OpenOptions::new().write(true).open(self.filler());
        (filler.expect("opens").set_len(size.saturating_sub(free))).expect("shortens");
    }

    fn empty(&self) {
        std::fs::remove_file(self.filler()).expect("removes");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // What stays mounted is found by whoever cleans up the folder of temporary files.
        let _ = Command::new("umount")
            .arg("--lazy")
            .arg(self.folder.path())
            .output();
    }
}

async fn declared(folder: tempfile::TempDir) -> Scenario {
    let shape = Shape::default().fragments_of(16_000);
    let scenario = Scenario::on(Table::of_in(folder, shape, standard(0..ROWS)).await);
    scenario.add("p", SQL, &[]);
    scenario
}

/// With room again, the next refresh completes and then rests; finished rows are not computed again.
async fn completes(scenario: &Scenario) {
    let mut finished = Objects::<CheckpointManifest>::new();
    read_new(&scenario.state_folder(), "checkpoints", &mut finished);
    let finished: u64 = (finished.values())
        .map(CheckpointManifest::rows_computed)
        .sum();
    let report = scenario.refresh();
    assert_eq!(report.assigned("p"), ROWS as u64 - finished);
    assert_eq!(report.column("p").rows_current, ROWS as u64);
    let computed = |row: &crate::support::Row| {
        let (id, b) = (row.id() as f64, row.int("b")? as f64);
        Some((id * 1.7).sin() * b.exp())
    };
    scenario.open().await.validate().await.expect("sound");
    for row in scenario.rows().await {
        let found: f64 = row
            .text("p")
            .and_then(|text| text.parse().ok())
            .expect("a value");
        let expected = computed(&row).expect("inputs");
        assert!((found - expected).abs() <= expected.abs() * 1e-9, "{row:?}");
    }
    scenario.expect_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_a_refresh_with_its_cause_and_with_room_the_next_completes() {
    if SmallDisk::mount().is_none() {
        say(NO_MOUNT);
        return;
    }
    for free in [0, 4_096, 32_768, 131_072] {
        // Before the scenario, so that it is unmounted after it.
        let disk = SmallDisk::mount().expect("mounts again");
        let folder = tempfile::tempdir_in(disk.folder.path()).expect("a folder");
        let scenario = declared(folder).await;
        let version = scenario.version().await;
        disk.fill(free);
        let outcome = scenario.run(&["refresh"], &[]);
        outcome.expect_refusal(&[1], "no space left");
        assert_eq!(scenario.version().await, version, "{free} bytes were free");
        // What only reads still works.
        scenario.status();
        disk.empty();
        completes(&scenario).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_a_declaration_and_leaves_the_table_as_it_was() {
    let Some(disk) = SmallDisk::mount() else {
        say(NO_MOUNT);
        return;
    };
    let folder = tempfile::tempdir_in(disk.folder.path()).expect("a folder");
    let scenario = declared(folder).await;
    let version = scenario.version().await;
    disk.fill(0);
    scenario
        .try_add("q", "a + b", &[])
        .expect_refusal(&[1], "no space left");
    assert_eq!(scenario.version().await, version);
    disk.empty();
    scenario.add("q", "a + b", &[]);
    completes(&scenario).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_on_file_sizes_stops_a_refresh_with_its_cause() {
    let scenario = declared(tempfile::tempdir().expect("a folder")).await;
    let version = scenario.version().await;
    // Blocks of 512 bytes by the book and of 1024 in some shells: below the 128,000 of a column file.
    let script = "trap '' XFSZ; ulimit -f 100 || exit 99; exec \"$@\"";
    let mut limited = Command::new("sh");
    limited.args(["-c", script, "sh"]).arg(binary());
    limited.args(scenario.arguments(&["refresh"], &["--json"]));
    let outcome = finish(limited);
    assert_ne!(outcome.code, 99, "the shell sets the limit: {outcome:#?}");
    outcome.expect_refusal(&[1], "file too large");
    assert_eq!(scenario.version().await, version);
    completes(&scenario).await;
}
