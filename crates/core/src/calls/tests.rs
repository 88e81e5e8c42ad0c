use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// What a row does to the call that holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Row {
    Good,
    Raises,
    Kills,
    /// Fails so often with a transient error, then succeeds.
    Flaky(u32),
    Limited(u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Rows one after the other, and the place of the row it is at is known.
    Scalar,
    /// All rows or none.
    Batched,
}

fn error(kind: &str, again: Again) -> RowError {
    RowError {
        kind: kind.to_owned(),
        message: String::new(),
        traceback: None,
        again,
    }
}

/// Plays a function until nothing waits; returns how often each row was in a call that succeeded,
/// the failed rows, the calls and the restarts.
struct Played {
    done: Vec<u32>,
    failed: BTreeMap<usize, FailedRow>,
    calls: usize,
    restarts: usize,
    waited_ms: u64,
    outage: Option<RowError>,
}

fn play(rows: &[Row], kind: Kind, most: usize) -> Played {
    let mut rows = rows.to_vec();
    let mut calls = Calls::new(rows.len(), 3);
    let mut played = Played {
        done: vec![0; rows.len()],
        failed: BTreeMap::new(),
        calls: 0,
        restarts: 0,
        waited_ms: 0,
        outage: None,
    };
    while let Some(piece) = calls.take(most) {
        played.calls += 1;
        played.waited_ms += piece.wait_ms;
        let answered = match kind {
            Kind::Scalar => scalar(&mut rows[piece.rows.clone()]),
            Kind::Batched => batched(&mut rows[piece.rows.clone()]),
        };
        played.restarts += usize::from(matches!(answered.end, End::Killed { .. }));
        let settled = calls.answer(&piece, answered);
        for place in settled.done.into_iter().flatten() {
            played.done[place] += 1;
        }
        for row in settled.failed {
            assert!(played.failed.insert(row.place, row).is_none());
        }
    }
    match calls.finish(false) {
        Ok(exhausted) => {
            for row in exhausted {
                assert!(played.failed.insert(row.place, row).is_none());
            }
        }
        Err(outage) => played.outage = Some(outage),
    }
    played
}

fn spend(row: &mut Row) -> Option<RowError> {
    let (left, again) = match row {
        Row::Good => return None,
        Row::Raises | Row::Kills => return Some(error("raises", Again::Never)),
        Row::Flaky(left) => (left, Again::Later { after_ms: None }),
        Row::Limited(left) => (left, Again::RateLimited { after_ms: None }),
    };
    if *left == 0 {
        return None;
    }
    *left -= 1;
    Some(error("later", again))
}

fn scalar(rows: &mut [Row]) -> Answered {
    let mut failed = vec![];
    for (place, row) in rows.iter_mut().enumerate() {
        if *row == Row::Kills {
            let error = error("kills", Again::Never);
            // What was finished since the last part is lost with the process.
            failed.retain(|(failed, _)| *failed < place / 2);
            let end = End::Killed {
                row: Some(place),
                error,
            };
            return Answered {
                finished: place / 2,
                failed,
                end,
            };
        }
        match spend(row) {
            Some(error) if matches!(error.again, Again::RateLimited { .. }) => {
                let end = End::Raised(error);
                return Answered {
                    finished: place,
                    failed,
                    end,
                };
            }
            Some(error) => failed.push((place, error)),
            None => {}
        }
    }
    Answered {
        finished: rows.len(),
        failed,
        end: End::Complete,
    }
}

fn batched(rows: &mut [Row]) -> Answered {
    let end = match rows.contains(&Row::Kills) {
        true => End::Killed {
            row: None,
            error: error("kills", Again::Never),
        },
        false => match rows.iter_mut().find_map(spend) {
            Some(error) => End::Raised(error),
            None => {
                return Answered {
                    finished: rows.len(),
                    failed: vec![],
                    end: End::Complete,
                };
            }
        },
    };
    Answered {
        finished: 0,
        failed: vec![],
        end,
    }
}

const WHOLE: usize = usize::MAX;

fn row() -> impl Strategy<Value = Row> {
    prop_oneof![
        20 => Just(Row::Good),
        1 => Just(Row::Raises),
        1 => Just(Row::Kills),
        1 => (0..5_u32).prop_map(Row::Flaky),
        1 => (0..3_u32).prop_map(Row::Limited),
    ]
}

proptest! {
    #[test]
    fn each_row_is_done_once_or_failed(
        rows in proptest::collection::vec(row(), 1..200),
        scalar in any::<bool>(),
        rows_per_call in 1..300_usize,
    ) {
        let kind = if scalar { Kind::Scalar } else { Kind::Batched };
        let played = play(&rows, kind, rows_per_call);
        prop_assume!(played.outage.is_none());
        for (place, row) in rows.iter().enumerate() {
            let failed = played.failed.get(&place);
            prop_assert_eq!(u32::from(failed.is_none()), played.done[place], "{:?}", row);
            match row {
                Row::Good | Row::Limited(_) => prop_assert!(failed.is_none()),
                Row::Raises => prop_assert!(failed.is_some()),
                Row::Kills => prop_assert_eq!(&failed.expect("it kills").error.kind, "kills"),
                // Alone it has three attempts; in a batched call others spend them too.
                Row::Flaky(times) => prop_assert!(*times >= 3 || !scalar || failed.is_none()),
            }
        }
        if scalar {
            let killers = rows.iter().filter(|row| **row == Row::Kills).count();
            prop_assert_eq!(played.restarts, killers);
        }
    }
}

#[test]
fn one_poisonous_row_of_ten_thousand_is_found_in_thirty_calls() {
    for place in [0, 1, 4_999, 5_000, 7_777, 9_999] {
        for bad in [Row::Raises, Row::Kills] {
            let mut rows = vec![Row::Good; 10_000];
            rows[place] = bad;
            let played = play(&rows, Kind::Batched, WHOLE);
            assert_eq!(
                played.failed.keys().collect::<BTreeSet<_>>(),
                BTreeSet::from([&place])
            );
            assert!(played.calls <= 30, "{} calls", played.calls);
            assert!(played.restarts <= 28, "{} restarts", played.restarts);
            assert_eq!(played.done.iter().sum::<u32>(), 9_999);
        }
    }
}

#[test]
fn what_hits_every_row_is_an_outage() {
    for kind in [Kind::Scalar, Kind::Batched] {
        let played = play(&[Row::Flaky(99); 20], kind, WHOLE);
        assert!(played.outage.is_some() && played.failed.is_empty());
        let played = play(&[Row::Limited(99); 20], kind, WHOLE);
        assert!(played.outage.is_some() && played.failed.is_empty());
    }
}

#[test]
fn a_row_that_stays_transient_failed_where_others_succeed() {
    for kind in [Kind::Scalar, Kind::Batched] {
        let mut rows = vec![Row::Good; 64];
        rows[17] = Row::Flaky(99);
        let played = play(&rows, kind, WHOLE);
        assert_eq!(played.failed.keys().collect::<Vec<_>>(), [&17]);
        assert_eq!(played.failed[&17].attempts, 3);
    }
}

#[test]
fn a_rate_limit_is_waited_for_and_counts_as_no_attempt() {
    let mut rows = vec![Row::Good; 64];
    rows[17] = Row::Limited(4);
    let played = play(&rows, Kind::Scalar, WHOLE);
    assert!(played.failed.is_empty());
    assert_eq!(played.waited_ms, 500 + 1_000 + 2_000 + 4_000);
}

#[test]
fn the_other_side_says_how_long_to_wait() {
    assert_eq!(backoff_ms(0, Some(7_000)), 7_000);
    assert_eq!(backoff_ms(0, Some(10)), 500);
    assert_eq!(backoff_ms(40, None), LONGEST_BACKOFF_MS);
    assert_eq!(backoff_ms(0, Some(90_000)), 90_000);
}
