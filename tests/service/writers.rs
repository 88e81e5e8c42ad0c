//! Many writers at once, while the service publishes to the same table.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lance::dataset::WriteMode;

use crate::delivery::is_filled;
use crate::deployment::{Deployment, Settings};
use crate::support::oracle::product;
use crate::support::program::say;
use crate::support::serving::eventually;
use crate::support::table::{Shape, standard};

const WRITERS: i64 = 10;
const APPENDS: i64 = 6;
const ROWS: i64 = 20;
/// The first id of rows that are appended.
const FIRST: i64 = 1_000;
const PATIENCE: Duration = Duration::from_secs(180);
/// A writer without retries of its own tries again; more often than this somebody keeps it out.
const MOST_ATTEMPTS: u64 = 20;

/// Writes, however often Lance gives up; how often it did.
///
/// It tries again by itself, for half a minute: on a machine that does much else that may be few times.
async fn persist<F: Future<Output = lance::Result<()>>>(write: impl Fn() -> F) -> u64 {
    let mut attempts = 0;
    while let Err(error) = write().await {
        let gave_up = matches!(error, lance::Error::TooMuchWriteContention { .. });
        attempts += 1;
        assert!(gave_up && attempts < MOST_ATTEMPTS, "{error}");
    }
    attempts
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_writers_and_the_service_do_not_keep_each_other_out() {
    let Some(service) = Deployment::start(Settings::default()) else {
        return;
    };
    let scenario = service.table("shared.lance", Shape::default(), 200).await;
    scenario.add("p", "a * b", &[]);
    eventually("'p' is filled", async || is_filled(&scenario).await).await;
    let scenario = Arc::new(scenario);
    let before = scenario.version().await;
    let again = Arc::new(AtomicU64::new(0));
    let mut writers = vec![];
    for writer in 0..WRITERS {
        let (scenario, again) = (scenario.clone(), again.clone());
        writers.push(tokio::spawn(async move {
            for turn in 0..APPENDS {
                let first = FIRST + (writer * APPENDS + turn) * ROWS;
                let rows = standard(first..first + ROWS);
                let append = || scenario.try_write(WriteMode::Append, rows.clone());
                again.fetch_add(persist(append).await, Ordering::Relaxed);
                if writer == 0 {
                    let filter = format!("id % 10 = {turn}");
                    let update = || scenario.try_update("a", "a + 1", &filter);
                    again.fetch_add(persist(update).await, Ordering::Relaxed);
                }
                if writer == 1 {
                    // Lance does not retry a compaction that met a commit to the same fragments.
                    let mut attempts = 0;
                    while let Err(error) = scenario.try_compact().await {
                        attempts += 1;
                        assert!(attempts < MOST_ATTEMPTS, "compaction is kept out: {error}");
                    }
                    again.fetch_add(attempts, Ordering::Relaxed);
                }
            }
        }));
    }
    for writer in writers {
        writer.await.expect("a writer without an error");
    }
    let rows = 200 + u64::try_from(WRITERS * APPENDS * ROWS).expect("rows");
    let all = async || is_filled(&scenario).await;
    service
        .eventually("all rows are filled", PATIENCE, all)
        .await;
    assert_eq!(scenario.check_int("p", product).await as u64, rows);
    let drained = async || service.is_drained().await;
    service.eventually("all is done", PATIENCE, drained).await;
    assert!(service.all_dead().await.is_empty());
    scenario.expect_computed_nothing();
    assert_eq!(
        scenario.status().column("p").rows_current,
        rows,
        "no row is lost"
    );
    say(&format!(
        "{WRITERS} writers: {rows} rows, {} versions, {} of their writes tried again",
        scenario.version().await - before,
        again.load(Ordering::Relaxed)
    ));
}
