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
    outage: Option<Outage>,
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
fn a_rate_limit_that_lets_rows_through_is_no_outage_however_long_it_takes() {
    // Each call has time for three rows of what the other side allows.
    let mut calls = Calls::new(2_000, 3);
    let mut waited_ms = 0;
    while let Some(piece) = calls.take(WHOLE) {
        waited_ms += piece.wait_ms;
        let after_ms = Some(300);
        let limited = error("limited", Again::RateLimited { after_ms });
        let end = match piece.rows.len() {
            ..=3 => End::Complete,
            _ => End::Raised(limited),
        };
        let finished = piece.rows.len().min(3);
        let failed = vec![];
        calls.answer(
            &piece,
            Answered {
                finished,
                failed,
                end,
            },
        );
    }
    assert_eq!(calls.finish(false), Ok(vec![]));
    assert_eq!(
        waited_ms,
        2_000 / 3 * 300,
        "as long as was asked for, each time"
    );
}

#[test]
fn what_other_batches_get_done_is_progress_too() {
    let limited = || Answered {
        finished: 0,
        failed: vec![],
        end: End::Raised(error("limited", Again::RateLimited { after_ms: None })),
    };
    for others in [false, true] {
        let mut calls = Calls::new(8, 3);
        let mut rounds = 0;
        while let Some(piece) = calls.take(WHOLE).filter(|_| rounds < 1_000) {
            calls.answer(&piece, limited());
            if others {
                calls.progressed();
            }
            rounds += 1;
        }
        assert_eq!(calls.finish(false).is_ok(), others, "after {rounds} rounds");
    }
}

#[test]
fn a_host_that_dies_after_its_last_row_costs_no_other_row() {
    let mut calls = Calls::new(10, 3);
    let first = calls.take(4).expect("a piece");
    let killed = error("killed", Again::Later { after_ms: None });
    let end = End::Killed {
        row: None,
        error: killed,
    };
    let answered = Answered {
        finished: 4,
        failed: vec![],
        end,
    };
    calls.answer(&first, answered);
    assert_eq!(calls.waiting_rows(), 6);
    assert_eq!(calls.take(WHOLE).expect("the rest").rows, 4..10);
}

#[test]
fn rows_that_were_tried_are_not_left_to_another_batch() {
    let mut calls = Calls::new(10, 3);
    let first = calls.take(4).expect("a piece");
    assert_eq!(calls.take_begun(WHOLE), None, "nothing was tried yet");
    let failed = vec![(1, error("later", Again::Later { after_ms: None }))];
    let answered = Answered {
        finished: 4,
        failed,
        end: End::Complete,
    };
    calls.answer(&first, answered);
    let begun = calls.take_begun(WHOLE).expect("the row that failed");
    assert_eq!(begun.rows, 1..2);
    assert_eq!(calls.take_begun(WHOLE), None);
    assert_eq!(calls.waiting_rows(), 6);
}

#[test]
fn a_function_that_gives_one_value_for_all_rows_is_no_function_of_rows() {
    let mut calls = Calls::new(100, 3);
    let mut rows_done = 0;
    while let Some(piece) = calls.take(WHOLE) {
        let alone = piece.rows.len() == 1;
        let answered = Answered {
            finished: usize::from(alone),
            failed: vec![],
            end: match alone {
                true => End::Complete,
                false => End::Raised(error(WRONG_LENGTH, Again::Never)),
            },
        };
        let settled = calls.answer(&piece, answered);
        rows_done += settled.done.into_iter().flatten().count();
    }
    assert!(rows_done <= 3, "{rows_done} rows were called alone");
    assert!(matches!(calls.finish(true), Err(Outage::NotByRow(_))));
}

#[test]
fn a_row_for_which_there_are_too_many_values_fails_alone() {
    let mut calls = Calls::new(64, 3);
    let mut failed = vec![];
    while let Some(piece) = calls.take(WHOLE) {
        let answered = match piece.rows.contains(&17) {
            true => Answered {
                finished: 0,
                failed: vec![],
                end: End::Raised(error(WRONG_LENGTH, Again::Never)),
            },
            false => Answered {
                finished: piece.rows.len(),
                failed: vec![],
                end: End::Complete,
            },
        };
        let settled = calls.answer(&piece, answered);
        failed.extend(settled.failed.into_iter().map(|row| row.place));
    }
    assert_eq!(failed, [17]);
    assert_eq!(calls.finish(false), Ok(vec![]));
}

#[test]
fn one_row_that_never_works_is_no_outage_for_a_batch_that_must_end() {
    for bad in [1, 99] {
        let mut calls = Calls::new(10, 2);
        let mut asked = 0;
        let first = calls.take(1).expect("a piece");
        let mut next = Some(first);
        while let Some(piece) = next {
            asked += 1;
            let later = error("later", Again::Later { after_ms: None });
            let failed = match piece.rows.start < bad {
                true => vec![(0, later)],
                false => vec![],
            };
            let finished = piece.rows.len();
            let end = End::Complete;
            calls.answer(
                &piece,
                Answered {
                    finished,
                    failed,
                    end,
                },
            );
            next = calls.take_begun(1);
        }
        match bad {
            1 => {
                assert_eq!(asked, 3, "twice the bad one, once the next");
                assert_eq!(calls.finish(false).expect("one failed").len(), 1);
            }
            _ => {
                assert_eq!(asked, 2 * ROWS_THAT_TELL_AN_OUTAGE);
                assert!(calls.finish(false).is_err());
            }
        }
    }
}

#[test]
fn the_other_side_says_how_long_to_wait() {
    assert_eq!(limit_wait_ms(0, Some(300)), 300);
    assert_eq!(limit_wait_ms(0, None), 500);
    assert_eq!(limit_wait_ms(40, Some(0)), LONGEST_BACKOFF_MS / 10);
    assert_eq!(backoff_ms(0, Some(7_000)), 7_000);
    assert_eq!(backoff_ms(0, Some(10)), 500);
    assert_eq!(backoff_ms(40, None), LONGEST_BACKOFF_MS);
    assert_eq!(backoff_ms(0, Some(90_000)), 90_000);
}

/// Plays rows one by one, of which the first `good` work before the other side goes down, and
/// `poison` never do; says how it ended and how many calls that took.
fn go_down_after(
    good: usize,
    rows: usize,
    poison: &[usize],
) -> (Result<Vec<usize>, Outage>, usize) {
    let mut calls = Calls::new(rows, 3);
    let (mut worked, mut asked) = (0, 0);
    while let Some(piece) = calls.take(1) {
        asked += 1;
        let works = worked < good && !poison.contains(&piece.rows.start);
        worked += usize::from(works);
        let later = error("later", Again::Later { after_ms: None });
        let failed = match works {
            true => vec![],
            false => vec![(0, later)],
        };
        let answered = Answered {
            finished: 1,
            failed,
            end: End::Complete,
        };
        calls.answer(&piece, answered);
    }
    let ended = calls.finish(false);
    let places = ended.map(|failed| failed.iter().map(|row| row.place).collect());
    (places, asked)
}

#[test]
fn an_outage_that_begins_in_the_middle_fails_no_row() {
    for rows in [11, 12, 40] {
        let (ended, asked) = go_down_after(10, rows, &[]);
        assert!(matches!(ended, Err(Outage::EveryRowFailed(_))), "{ended:?}");
        assert_eq!(
            asked,
            10 + 3 * (rows - 10) + 1,
            "a row that worked is asked again"
        );
    }
}

#[test]
fn rows_at_the_end_that_never_work_are_told_from_an_outage() {
    for poison in [&[39][..], &[37, 38, 39], &[3], &[0, 1, 2, 39]] {
        let (ended, _) = go_down_after(1_000, 40, poison);
        assert_eq!(ended, Ok(poison.to_vec()));
    }
}

#[test]
fn rows_that_would_wait_for_too_long_are_left_to_another_batch() {
    for works in [false, true] {
        let mut calls = Calls::new(10, 3);
        let first = calls.take(5).expect("a piece");
        let after_ms = Some(3_600_000);
        let end = End::Raised(error("limited", Again::RateLimited { after_ms }));
        let finished = usize::from(works);
        let failed = vec![];
        calls.answer(
            &first,
            Answered {
                finished,
                failed,
                end,
            },
        );
        while let Some(piece) = calls.take(WHOLE) {
            if piece.wait_ms > 60_000 {
                calls.put_off(&piece);
                continue;
            }
            let after_ms = Some(3_600_000);
            let end = End::Raised(error("limited", Again::RateLimited { after_ms }));
            calls.answer(
                &piece,
                Answered {
                    finished: 0,
                    failed: vec![],
                    end,
                },
            );
        }
        assert_eq!(calls.waiting_rows(), 0);
        match (works, calls.finish(false)) {
            (true, Ok(failed)) => assert!(failed.is_empty()),
            (false, Err(Outage::PutOff(error))) => assert_eq!(error.kind, "limited"),
            (_, ended) => panic!("{ended:?}"),
        }
    }
}

#[test]
fn rows_for_which_a_device_has_no_memory_together_are_called_in_halves_and_never_wait() {
    let mut calls = Calls::new(64, 3);
    let (mut good, mut failed) = (0, vec![]);
    while let Some(piece) = calls.take(64) {
        assert_eq!(piece.wait_ms, 0);
        let too_many = piece.rows.len() > 5 || piece.rows.contains(&40);
        let end = match too_many {
            true => End::Raised(error("full", Again::Fewer)),
            false => End::Complete,
        };
        let finished = if too_many { 0 } else { piece.rows.len() };
        let answered = Answered {
            finished,
            failed: vec![],
            end,
        };
        let settled = calls.answer(&piece, answered);
        good += settled
            .done
            .into_iter()
            .map(|rows| rows.len())
            .sum::<usize>();
        failed.extend(settled.failed.iter().map(|row| row.place));
    }
    assert_eq!((good, failed), (63, vec![40]));
    assert_eq!(calls.finish(true), Ok(vec![]));
}
