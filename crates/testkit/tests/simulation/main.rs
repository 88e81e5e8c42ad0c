//! The stages under other writers, crashes and lost answers, one seed at a time.
//!
//! A column `p = a * b` is kept up to date by two processes while others write to the table. All run on
//! one thread and give way at each call of a port, as the seed says. At the end the faults stop, one
//! process converges, and each row must have the value that a plain model of the table expects.

mod behind;
mod column;
mod foreigner;
mod process;
mod run;
mod trace;

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io::Write;

use foreigner::Hardship;
use run::Run;
use trace::Trace;

/// Names the one seed to run.
const SEED: &str = "LANCE_BACKFILL_SIM_SEED";
/// Names the first seed of many; without it chance does.
const FIRST: &str = "LANCE_BACKFILL_SIM_FIRST";
/// Says how many seeds to run.
const COUNT: &str = "LANCE_BACKFILL_SIM_SEEDS";
/// How to run the simulation, before which the seed is set.
const REPLAY: &str =
    "cargo test --release -p lance-backfill-testkit --test simulation -- --nocapture";
/// Seeds of an ordinary run.
const SEEDS: u64 = 500;
/// First seeds that chance names are below this: short enough to be typed.
const FRESH: u64 = 1_000_000_000;

#[expect(
    clippy::disallowed_methods,
    reason = "the person who runs the tests asks for a seed, or for more of them"
)]
fn asked(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Plays a seed; returns what happened, and on failure also what went wrong.
fn check(seed: u64, hardship: Hardship) -> Result<String, String> {
    let trace = Trace::default();
    let outcome = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| {
            let run = Run::new(seed, hardship, &trace);
            runtime.block_on(Box::pin(run.play()))
        });
    match outcome {
        Ok(()) => Ok(trace.to_string()),
        Err(error) => Err(format!("{trace}\nseed {seed}: {error:#}")),
    }
}

/// Says something that the log shows also when the test passes.
fn say(line: &str) {
    // Nobody reads along: the test decides without it.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Runs the one seed that is asked for, or a range of them: a fresh one, so that each run looks elsewhere.
#[expect(clippy::print_stdout, reason = "a replayed seed tells its story")]
fn check_all(hardship: Hardship) {
    if let Some(seed) = asked(SEED) {
        let told = check(seed, hardship);
        println!("{}", told.as_ref().unwrap_or_else(|error| error));
        assert!(told.is_ok(), "seed {seed} fails");
        return;
    }
    let first = asked(FIRST).unwrap_or_else(|| RandomState::new().build_hasher().finish() % FRESH);
    let count = asked(COUNT).unwrap_or(SEEDS);
    say(&format!(
        "simulation, {hardship:?}: replay with {FIRST}={first} {COUNT}={count} {REPLAY}"
    ));
    let broken: Vec<String> = (first..first.saturating_add(count))
        .filter_map(|seed| check(seed, hardship).err())
        .map(|error| error.lines().last().unwrap_or_default().to_owned())
        .collect();
    assert!(
        broken.is_empty(),
        "{} of {count} seeds fail:\n{}\nreplay seed N with: {SEED}=N {REPLAY}",
        broken.len(),
        broken.join("\n")
    );
    say(&format!("simulation, {hardship:?}: {count} seeds passed"));
}

#[test]
fn every_row_gets_its_value_whatever_happens_meanwhile() {
    check_all(Hardship::Ordinary);
}

#[test]
fn a_correction_stands_that_was_made_while_work_was_under_way() {
    check_all(Hardship::CorrectionsAtAnyTime);
}

#[test]
fn inputs_that_change_after_the_state_was_lost_are_noticed() {
    check_all(Hardship::LostState);
}

#[test]
fn a_seed_always_plays_the_same() {
    for seed in [1, 2, 3] {
        let once = check(seed, Hardship::Ordinary);
        assert_eq!(once, check(seed, Hardship::Ordinary));
    }
}
