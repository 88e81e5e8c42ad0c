//! S3 and SQS that throttle, fail, cut connections and lose answers.

use std::time::Duration;

use crate::deployment::{Deployment, Settings};
use crate::faults::Trouble;
use crate::support::Row;
use crate::support::dice::Dice;
use crate::support::oracle::product;
use crate::support::program::{say, setting};
use crate::support::table::Shape;

/// Asks for more seeds than the ordinary run has.
const SEEDS: &str = "LANCE_BACKFILL_STORE_SEEDS";
/// What a planner did not send is sent after a minute, and a message that came back waits for seconds.
const PATIENCE: Duration = Duration::from_secs(240);

#[tokio::test(flavor = "multi_thread")]
async fn whatever_stores_do_the_columns_converge() {
    let mut dice = Dice::for_test("whatever_stores_do_the_columns_converge");
    for round in 1..=setting(SEEDS).unwrap_or(1) {
        let seed = dice.roll(u64::MAX);
        say(&format!("round {round} of trouble, seed {seed}"));
        converges(seed, &mut dice).await;
    }
}

async fn converges(seed: u64, dice: &mut Dice) {
    let settings = Settings {
        visibility_s: 2,
        // What fails by chance is not to be dead by chance.
        most_receives: 100,
        batch_rows: Some(40),
        ..Settings::default()
    };
    let Some(service) = Deployment::start(settings) else {
        return;
    };
    let shape = Shape {
        stable_row_ids: dice.roll(2) == 0,
        ..Shape::default()
    };
    let shape = shape.fragments_of(100);
    let scenario = service.table("trouble.lance", shape, 200).await;
    scenario.add("p", "a * b", &[]);
    scenario.add("q", "p + 1", &["--where", "id % 3 <> 1"]);
    let trouble = Trouble::make(&service.proxy, seed);
    scenario.append(100).await;
    scenario.update("a", "a + 7", "id % 5 = 0").await;
    scenario.delete("id % 17 = 4").await;
    scenario.append(60).await;
    let next = |row: &Row| Some(product(row)? + 1).filter(|_| row.id() % 3 != 1);
    let holds = async || {
        let rows = scenario.rows().await;
        (rows.iter()).all(|row| row.int("p") == product(row) && row.int("q") == next(row))
    };
    let what = format!("both columns converge, seed {seed}");
    service.eventually(&what, PATIENCE, holds).await;
    service.proxy.no_rule();
    let drawn = trouble.drawn();
    say(&format!("trouble of seed {seed}: {drawn:?}"));
    assert!(drawn.values().sum::<usize>() > 10, "{drawn:?}");
    let rows = scenario.check_int("p", product).await as u64;
    scenario.check_int("q", next).await;
    let what = format!("all is done, seed {seed}");
    service
        .eventually(&what, PATIENCE, async || service.is_drained().await)
        .await;
    assert!(service.all_dead().await.is_empty());
    scenario.expect_computed_nothing();
    let status = scenario.status();
    assert_eq!(status.column("p").rows_current, rows, "no row is lost");
    assert_eq!(status.column("p").rows_failed, 0);
    for kind in ["planner", "worker", "committer"] {
        let log = service.log(kind);
        assert!(!log.contains("panicked"), "{log}");
    }
}
