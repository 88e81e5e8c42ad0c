//! kill -9 of functions at any moment, and on sight of what they ask of S3 and SQS: nothing is lost,
//! nothing is wrong, and nothing that was finished is computed again.
//!
//! This is the suite of the engine's kills with SQS and S3 in place of one process and its disk. The
//! oracle is a table that nobody disturbed: what each row must hold follows from its inputs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::deployment::{Deployment, Settings};
use crate::processes;
use crate::proxy::{Fault, Request};
use crate::support::dice::Dice;
use crate::support::emulator::BUCKET;
use crate::support::oracle::product;
use crate::support::program::{say, setting};
use crate::support::serving::now;
use crate::support::table::Shape;
use crate::support::{Row, Scenario};

/// Asks for more kills than the ordinary run has.
const KILLS: &str = "LANCE_BACKFILL_KILLS";
const FUNCTIONS: [&str; 3] = ["planner", "worker", "committer"];
/// Longest wait for the request on whose sight a function is killed.
const PATIENCE: Duration = Duration::from_secs(90);
/// What a planner did not live to send is sent a minute later.
const LONG_PATIENCE: Duration = Duration::from_secs(240);

/// What a function was doing when it was killed, by the request that shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    HandingOut,
    Sending,
    Staging,
    Checkpointing,
    Covering,
    Publishing,
    Settling,
}

const STAGES: [Stage; 7] = [
    Stage::HandingOut,
    Stage::Sending,
    Stage::Staging,
    Stage::Checkpointing,
    Stage::Covering,
    Stage::Publishing,
    Stage::Settling,
];

impl Stage {
    fn is_shown_by(self, request: &Request) -> bool {
        match self {
            Self::HandingOut => request.writes("ledger"),
            Self::Sending => request.what == "AmazonSQS.SendMessageBatch",
            Self::Staging => request.writes("data") || request.writes("values"),
            Self::Checkpointing => request.writes("checkpoints"),
            Self::Covering => request.writes("coverage"),
            Self::Publishing => request.writes("_versions"),
            Self::Settling => request.writes("snapshot"),
        }
    }
}

struct Victim {
    service: Deployment,
    scenario: Scenario,
    rows: u64,
    kills: BTreeMap<Stage, u64>,
    random_kills: u64,
}

impl Victim {
    async fn new(dice: &mut Dice) -> Option<Self> {
        let settings = Settings {
            visibility_s: 2,
            // Who is killed by chance is not to be dead by chance.
            most_receives: 100,
            batch_rows: Some(25),
            ..Settings::default()
        };
        let service = Deployment::start(settings)?;
        let shape = Shape {
            stable_row_ids: dice.roll(2) == 0,
            ..Shape::default()
        };
        let shape = shape.fragments_of(60);
        let scenario = service.table("victim.lance", shape, 120).await;
        scenario.add("p", "a * b", &[]);
        Some(Self {
            service,
            scenario,
            rows: 120,
            kills: BTreeMap::new(),
            random_kills: 0,
        })
    }

    async fn append(&mut self) {
        self.scenario.append(60).await;
        self.rows += 60;
    }

    /// Kills the function that shows a stage next, before its request is passed on or before it knows
    /// the answer.
    async fn kill_on_sight(&mut self, stage: Stage, fault: Fault) {
        let killed = Arc::new(AtomicU64::new(0));
        let kills = killed.clone();
        self.service.proxy.rule(move |request| {
            let strikes = stage.is_shown_by(request)
                && kills
                    .compare_exchange(0, 1, Ordering::AcqRel, Ordering::Acquire)
                    .is_ok();
            strikes.then_some(fault)
        });
        self.append().await;
        let what = format!("a function shows that it is {stage:?}");
        let struck = async || killed.load(Ordering::Acquire) > 0;
        self.service.eventually(&what, PATIENCE, struck).await;
        self.service.proxy.no_rule();
        *self.kills.entry(stage).or_default() += 1;
        say(&format!(
            "kill {:>3}: {fault:?} on sight of {stage:?}",
            self.count()
        ));
    }

    /// Kills a process of some function that is there, after a while.
    async fn kill_at_random(&mut self, dice: &mut Dice) {
        let life = Duration::from_millis(dice.roll(1_500));
        // The moment is the point of the test.
        std::thread::sleep(life);
        let kind = dice.pick(&FUNCTIONS);
        let found = self.service.processes(kind);
        if !found.is_empty() {
            processes::kill(dice.pick(&found));
            self.random_kills += 1;
            say(&format!(
                "kill {:>3}: a {kind} after {} ms",
                self.count(),
                life.as_millis()
            ));
        }
    }

    fn count(&self) -> u64 {
        self.kills.values().sum::<u64>() + self.random_kills
    }

    async fn converge(&self, expected: impl Fn(&Row) -> Option<i64> + Copy) {
        let filled = async || {
            let rows = self.scenario.rows().await;
            rows.iter().all(|row| row.int("p") == expected(row))
        };
        let started = now();
        self.service
            .eventually("'p' converges", LONG_PATIENCE, filled)
            .await;
        let drained = async || self.service.is_drained().await;
        self.service
            .eventually("all is done", LONG_PATIENCE, drained)
            .await;
        say(&format!(
            "converged {:.1} s after the last kill",
            started.elapsed().as_secs_f64()
        ));
        assert!(self.service.all_dead().await.is_empty());
        self.scenario.check_int("p", expected).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_that_are_killed_lose_nothing_and_repeat_nothing_that_is_finished() {
    let test = "functions_that_are_killed_lose_nothing_and_repeat_nothing_that_is_finished";
    let mut dice = Dice::for_test(test);
    let wanted = setting(KILLS).unwrap_or(11);
    let Some(mut victim) = Victim::new(&mut dice).await else {
        return;
    };
    // Appends alone: each row is needed once, and so is computed once, whoever was killed.
    while victim.count() < wanted * 2 / 3 {
        let at = usize::try_from(victim.count()).expect("a number");
        let fault = dice.pick(&[Fault::KillBefore, Fault::KillAfter]);
        victim.kill_on_sight(STAGES[at % STAGES.len()], fault).await;
    }
    victim.converge(product).await;
    assert_eq!(
        victim.scenario.rows().await.len() as u64,
        victim.rows,
        "no row is lost"
    );
    let computed = victim.service.proxy.rows_computed();
    assert_eq!(
        computed, victim.rows,
        "what is finished is not computed again"
    );
    let struck = victim.service.proxy.struck().len() as u64;
    assert_eq!(struck, victim.count(), "each strike hit");

    // Corrections and edits at any time, and kills at any time.
    let mut addend = 0;
    while victim.count() < wanted {
        match dice.roll(6) {
            0 => {
                addend += 1;
                let sql = format!("a * b + {addend}");
                victim
                    .scenario
                    .alter("p", &["--sql", &sql, "--on-change", "recompute_all"]);
            }
            1 => {
                let rest = dice.roll(97);
                victim.scenario.delete(&format!("id % 97 = {rest}")).await;
            }
            2 => {
                let rest = dice.roll(7);
                victim
                    .scenario
                    .update("a", "a + 1", &format!("id % 7 = {rest}"))
                    .await;
            }
            // Whoever compacts while columns are written tries again.
            3 => drop(victim.scenario.try_compact().await),
            _ => victim.append().await,
        }
        victim.kill_at_random(&mut dice).await;
    }
    let expected = |row: &Row| Some(product(row)? + addend);
    victim.converge(expected).await;

    // Somebody deletes all that is known beside the table; what is in it stands, and goes on.
    let state = "victim.lance/_backfill/";
    for key in victim.service.emulator.keys(state) {
        let path = format!("/{BUCKET}/{key}");
        victim.service.emulator.ask("DELETE", &path, "");
    }
    victim.append().await;
    victim.kill_at_random(&mut dice).await;
    victim.converge(expected).await;
    victim.scenario.expect_computed_nothing();
    let status = victim.scenario.status();
    let rows = victim.scenario.rows().await.len() as u64;
    let known = status.column("p").rows_current + status.column("p").rows_unknown;
    assert_eq!(known, rows, "no row is lost");
    for kind in FUNCTIONS {
        let log = victim.service.log(kind);
        assert!(!log.contains("panicked"), "{log}");
    }
    say(&format!(
        "{} kills of functions, {} of them at random, on sight: {:?}",
        victim.count(),
        victim.random_kills,
        victim.kills
    ));
}
