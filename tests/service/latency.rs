//! How long it takes from an append to its values.

use std::time::Duration;

use crate::delivery::is_filled;
use crate::deployment::{Deployment, Settings};
use crate::support::oracle::product;
use crate::support::program::{say, setting};
use crate::support::serving::{eventually, now};
use crate::support::table::Shape;

/// Asks for more appends than the ordinary run has, and for the limit to be held.
const APPENDS: &str = "LANCE_BACKFILL_APPENDS";
const ROWS: i64 = 10_000;
/// Half of the appends are to be visible within this.
const MOST_HALF: Duration = Duration::from_secs(3);
const LOOK_AGAIN: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn values_of_appended_rows_are_visible_soon() {
    let Some(service) = Deployment::start(Settings::default()) else {
        return;
    };
    let scenario = service.table("soon.lance", Shape::default(), ROWS).await;
    scenario.add("p", "a * b", &[]);
    eventually("'p' is filled", async || is_filled(&scenario).await).await;
    let measured = setting(APPENDS);
    let mut dataset = scenario.open().await;
    let column = dataset.schema().field("p").expect("the column").id;
    let mut took = vec![];
    for _ in 0..measured.unwrap_or(3) {
        let started = now();
        scenario.append(ROWS).await;
        let appended = started.elapsed();
        // A version in which each fragment has a file of the column: what any reader sees.
        loop {
            dataset.checkout_latest().await.expect("the newest version");
            let is_visible = (dataset.fragments().iter()).all(|fragment| {
                let mut fields = fragment.files.iter().flat_map(|file| file.fields.iter());
                fields.any(|field| *field == column)
            });
            if is_visible {
                break;
            }
            assert!(started.elapsed() < PATIENCE, "the rows get no values");
            std::thread::sleep(LOOK_AGAIN);
        }
        // From the moment at which the append was over, and with it its event was sent.
        took.push(started.elapsed() - appended);
    }
    let rows = scenario.check_int("p", product).await;
    assert_eq!(
        rows,
        usize::try_from(ROWS).expect("rows") * (took.len() + 1)
    );
    took.sort_unstable();
    let half = took[took.len() / 2];
    say(&format!(
        "latency of {} appends of {ROWS} rows: half within {:.2} s, nine of ten within {:.2} s, all within {:.2} s",
        took.len(),
        half.as_secs_f64(),
        took[(took.len() * 9 / 10).min(took.len() - 1)].as_secs_f64(),
        took[took.len() - 1].as_secs_f64(),
    ));
    if measured.is_some() {
        assert!(
            half <= MOST_HALF,
            "half of the appends took {half:?} or more"
        );
    }
}
