use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{Cadence, Ended, Kept, Noticed, Schedule};

const CADENCE: Cadence = Cadence {
    poll_ms: 5_000,
    first_retry_ms: 1_000,
    most_retry_ms: 60_000,
    most_rest_ms: 1_000,
    at_once: 2,
};

fn schedule(tables: &[&str]) -> Schedule {
    let mut schedule = Schedule::new(CADENCE);
    for table in tables {
        schedule.add(table, 0);
    }
    schedule
}

/// Runs a round of the table that is due, which must be this one.
fn round(schedule: &mut Schedule, table: &str, ended: Ended, from_ms: u64, to_ms: u64) {
    assert_eq!(schedule.start(from_ms).as_deref(), Some(table));
    assert_eq!(schedule.end(table, ended, to_ms), Kept::Watched);
}

#[test]
fn a_new_table_is_looked_at_at_once_and_then_at_every_poll() {
    let mut schedule = schedule(&["t"]);
    round(&mut schedule, "t", Ended::Settled, 0, 10);
    assert_eq!(schedule.start(10), None);
    assert_eq!(schedule.next_due_ms(), Some(5_010));
    round(&mut schedule, "t", Ended::Settled, 5_010, 5_011);
    assert_eq!(schedule.next_due_ms(), Some(10_011));
}

#[test]
fn an_event_on_a_resting_table_waits_as_long_as_its_round_took() {
    let mut schedule = schedule(&["t"]);
    round(&mut schedule, "t", Ended::Settled, 0, 40);
    let _ = schedule.notice("t", 41);
    assert_eq!(schedule.next_due_ms(), Some(80));
    round(&mut schedule, "t", Ended::Settled, 80, 20_080);
    let _ = schedule.notice("t", 20_080);
    assert_eq!(
        schedule.next_due_ms(),
        Some(21_080),
        "a long round rests a second"
    );
    let _ = schedule.notice("t", 30_000);
    assert_eq!(schedule.next_due_ms(), Some(21_080));
}

#[test]
fn an_event_on_an_idle_table_starts_a_round_at_once() {
    let mut schedule = schedule(&["t"]);
    round(&mut schedule, "t", Ended::Settled, 0, 40);
    let _ = schedule.notice("t", 500);
    assert_eq!(schedule.start(500).as_deref(), Some("t"));
}

#[test]
fn an_event_during_a_round_is_not_lost() {
    let mut schedule = schedule(&["t"]);
    assert_eq!(schedule.start(0).as_deref(), Some("t"));
    let _ = schedule.notice("t", 5);
    assert_eq!(schedule.start(6), None, "not twice at once");
    assert_eq!(schedule.end("t", Ended::Settled, 30), Kept::Watched);
    assert_eq!(schedule.next_due_ms(), Some(60));
}

#[test]
fn failures_wait_longer_each_time_and_success_forgets_them() {
    let mut schedule = schedule(&["t"]);
    let mut now_ms = 0;
    for wait_ms in [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000] {
        round(&mut schedule, "t", Ended::Failed, now_ms, now_ms);
        assert_eq!(schedule.next_due_ms(), Some(now_ms + wait_ms));
        now_ms += wait_ms;
    }
    round(&mut schedule, "t", Ended::Settled, now_ms, now_ms);
    round(
        &mut schedule,
        "t",
        Ended::Failed,
        now_ms + 5_000,
        now_ms + 5_000,
    );
    assert_eq!(schedule.next_due_ms(), Some(now_ms + 6_000));
}

#[test]
fn an_event_shortens_the_wait_of_a_failing_table_but_never_below_the_first() {
    let mut schedule = schedule(&["t"]);
    for now_ms in [0, 1_000, 3_000] {
        round(&mut schedule, "t", Ended::Failed, now_ms, now_ms);
    }
    let _ = schedule.notice("t", 3_001);
    assert_eq!(schedule.next_due_ms(), Some(4_000));
    assert_eq!(schedule.start(3_999), None);
}

#[test]
fn a_table_that_vanishes_during_its_round_is_forgotten_after_it() {
    let mut schedule = schedule(&["t"]);
    assert!(schedule.start(0).is_some());
    schedule.remove("t");
    assert_eq!(schedule.tables().count(), 0);
    assert_eq!(schedule.end("t", Ended::Failed, 5), Kept::Gone);
    assert_eq!(schedule.next_due_ms(), None);
}

#[test]
fn a_table_that_comes_back_during_its_round_starts_anew() {
    let mut schedule = schedule(&["t"]);
    assert!(schedule.start(0).is_some());
    schedule.remove("t");
    schedule.add("t", 3);
    assert_eq!(schedule.tables().collect::<Vec<_>>(), ["t"]);
    assert_eq!(schedule.end("t", Ended::Failed, 5), Kept::Reborn);
    assert_eq!(schedule.start(5).as_deref(), Some("t"));
}

#[test]
fn a_failing_table_does_not_delay_the_others() {
    let mut schedule = schedule(&["bad", "good"]);
    for now_ms in (0..100_000).step_by(100) {
        let _ = schedule.notice("bad", now_ms);
        let _ = schedule.notice("good", now_ms);
        let mut good = false;
        while let Some(table) = schedule.start(now_ms) {
            let ended = match table.as_str() {
                "bad" => Ended::Failed,
                _ => Ended::Settled,
            };
            good |= table == "good";
            assert_eq!(schedule.end(&table, ended, now_ms), Kept::Watched);
        }
        assert!(good, "the good table had its round at {now_ms}");
    }
}

#[derive(Debug, Clone)]
enum Step {
    Notice(u8),
    Remove(u8),
    Add(u8),
    Start,
    End(u8, Ended),
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ended = prop_oneof![
        Just(Ended::Settled),
        Just(Ended::Unfinished),
        Just(Ended::Failed)
    ];
    let step = prop_oneof![
        (0_u8..5).prop_map(Step::Notice),
        (0_u8..5).prop_map(Step::Remove),
        (0_u8..5).prop_map(Step::Add),
        Just(Step::Start),
        Just(Step::Start),
        (0_u8..5, ended).prop_map(|(table, ended)| Step::End(table, ended)),
        (0_u64..3_000).prop_map(Step::Pass),
    ];
    proptest::collection::vec(step, 1..120)
}

proptest! {
    #[test]
    fn rounds_are_bounded_and_no_notice_is_lost(steps in steps()) {
        let mut schedule = Schedule::new(CADENCE);
        let mut now_ms = 0;
        // Rounds that run, and tables that somebody spoke of since their last start.
        let mut running: BTreeMap<String, u64> = BTreeMap::new();
        let mut noticed: BTreeMap<String, u64> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Notice(table) => {
                    let table = table.to_string();
                    let known = schedule.tables().any(|known| known == table);
                    let said = schedule.notice(&table, now_ms);
                    prop_assert_eq!(said == Noticed::Known, known);
                    if known {
                        noticed.entry(table).or_insert(now_ms);
                    }
                }
                Step::Remove(table) => {
                    schedule.remove(&table.to_string());
                    noticed.remove(&table.to_string());
                }
                Step::Add(table) => schedule.add(&table.to_string(), now_ms),
                Step::Start => {
                    if let Some(table) = schedule.start(now_ms) {
                        noticed.remove(&table);
                        prop_assert!(running.insert(table, now_ms).is_none(), "once at a time");
                    }
                }
                Step::End(table, ended) => {
                    let table = table.to_string();
                    if running.remove(&table).is_some() {
                        let _ = schedule.end(&table, ended, now_ms);
                    }
                }
                Step::Pass(ms) => now_ms += ms,
            }
            prop_assert!(running.len() <= CADENCE.at_once);
        }
        // Let everything end; then whoever was spoken of has its round within the longest rest.
        for table in std::mem::take(&mut running).into_keys() {
            let _ = schedule.end(&table, Ended::Settled, now_ms);
        }
        now_ms += CADENCE.most_rest_ms.max(CADENCE.first_retry_ms);
        while let Some(table) = schedule.start(now_ms) {
            noticed.remove(&table);
            let _ = schedule.end(&table, Ended::Settled, now_ms);
        }
        prop_assert!(noticed.is_empty(), "waiting: {noticed:?}");
    }
}
