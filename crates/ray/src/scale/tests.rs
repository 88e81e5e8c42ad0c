use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

const MINUTE: u64 = 60_000;

fn group(min: u32, max: u32) -> Group {
    Group {
        name: "a10g".to_owned(),
        class: "a10g".to_owned(),
        gpus: 1,
        workers_per_gpu: 1,
        at_once: 2,
        cpus: 4.0,
        scale: Scale {
            min,
            max,
            batch_s: 20.0,
            drain_target_s: 300.0,
            cool_down: Duration::from_secs(900),
        },
        grace: Duration::from_secs(150),
        pods: None,
    }
}

fn pod(name: &str, busy: usize) -> PodSeen {
    PodSeen {
        name: name.to_owned(),
        ready: true,
        leaving: false,
        is_current: true,
        busy,
        batches_done: 0,
    }
}

fn seen(pods: Vec<PodSeen>) -> GroupSeen {
    GroupSeen {
        replicas: count(pods.len()),
        pods,
        ..GroupSeen::default()
    }
}

fn batches(waiting: u64, in_flight: u64) -> Backlog {
    Backlog {
        waiting,
        in_flight,
        stuck_ms: 0,
    }
}

#[test]
fn as_many_as_do_the_backlog_in_time() {
    let scale = group(0, 10).scale;
    for (waiting, in_flight, workers, pods) in [
        (0, 0, 1, 0),
        (1, 0, 1, 1),
        (15, 0, 1, 1),
        (15, 1, 1, 2),
        (60, 0, 1, 4),
        (60, 0, 2, 2),
        (10_000, 0, 1, 10),
    ] {
        assert_eq!(
            wanted(&batches(waiting, in_flight), &scale, workers),
            pods,
            "{waiting}"
        );
    }
    assert_eq!(wanted(&batches(0, 0), &group(2, 4).scale, 1), 2);
}

#[test]
fn up_at_once_and_down_after_the_cool_down_to_the_most_that_was_wanted() {
    let group = group(0, 10);
    let history = History::default();
    let (up, history) = decide(0, &group, &batches(60, 0), &seen(vec![]), &history);
    assert_eq!((up.replicas, up.reason), (4, Reason::Backlog));
    let four = || seen(["a", "b", "c", "d"].map(|name| pod(name, 0)).to_vec());
    let (stays, history) = decide(MINUTE, &group, &batches(0, 0), &four(), &history);
    assert_eq!((stays.replicas, stays.reason), (4, Reason::CoolingDown));
    let (stays, history) = decide(10 * MINUTE, &group, &batches(20, 0), &four(), &history);
    assert_eq!((stays.replicas, stays.remove.len()), (4, 0));
    let (down, history) = decide(16 * MINUTE, &group, &batches(0, 0), &four(), &history);
    assert_eq!(
        (down.replicas, down.reason),
        (2, Reason::Idle),
        "two were wanted meanwhile"
    );
    assert_eq!(down.remove, ["a", "b"]);
    let (again, _) = decide(17 * MINUTE, &group, &batches(0, 0), &four(), &history);
    assert_eq!(again.reason, Reason::CoolingDown, "it waits anew");
}

#[test]
fn names_of_those_that_leave_stay_until_they_are_gone() {
    let group = group(0, 10);
    let mut leaving = pod("a", 1);
    leaving.leaving = true;
    let mut state = seen(vec![leaving, pod("b", 1)]);
    state.replicas = 1;
    state.leaving = vec!["a".to_owned(), "z".to_owned()];
    let (decision, _) = decide(0, &group, &batches(0, 2), &state, &History::default());
    assert_eq!(
        (decision.replicas, decision.remove),
        (1, vec!["a".to_owned()])
    );
}

#[test]
fn who_lags_behind_what_was_thought_enough_gets_one_more_at_a_time() {
    let group = group(0, 10);
    let state = seen(vec![pod("a", 2), pod("b", 2)]);
    let stuck = |waiting, stuck_ms| Backlog {
        waiting,
        in_flight: 4,
        stuck_ms,
    };
    let (enough, _) = decide(
        0,
        &group,
        &stuck(20, 4 * MINUTE),
        &state,
        &History::default(),
    );
    assert_eq!(enough.reason, Reason::Steady);
    let (more, history) = decide(
        0,
        &group,
        &stuck(20, 5 * MINUTE),
        &state,
        &History::default(),
    );
    assert_eq!((more.replicas, more.reason), (3, Reason::Behind));
    let three = seen(vec![pod("a", 2), pod("b", 2), pod("c", 2)]);
    let (waits, _) = decide(MINUTE, &group, &stuck(20, 6 * MINUTE), &three, &history);
    assert_eq!(waits.replicas, 3, "one each time of the target");
    let (few, _) = decide(
        0,
        &group,
        &stuck(2, 60 * MINUTE),
        &state,
        &History::default(),
    );
    assert_ne!(few.reason, Reason::Behind, "each worker has one to fetch");
}

#[test]
fn a_roll_shows_that_the_new_template_works_before_an_old_pod_goes() {
    let group = group(0, 3);
    let old = |name, busy| PodSeen {
        is_current: false,
        ..pod(name, busy)
    };
    let work = batches(28, 2);
    let next = |state: &GroupSeen| decide(0, &group, &work, state, &History::default()).0;

    let both = seen(vec![old("a", 0), old("b", 1)]);
    let beside = next(&both);
    assert_eq!(
        (beside.replicas, beside.remove.len(), beside.reason),
        (3, 0, Reason::Rolling)
    );

    let mut starting = seen(vec![old("a", 0), old("b", 1), pod("c", 0)]);
    starting.pods[2].ready = false;
    assert_eq!(
        next(&starting).remove,
        [""; 0],
        "the new one does not work yet"
    );

    let works = seen(vec![old("a", 0), old("b", 1), pod("c", 1)]);
    assert_eq!(next(&works).remove, ["a"]);
    let last = seen(vec![old("b", 1), pod("c", 1), pod("d", 1)]);
    assert_eq!(
        next(&last).remove,
        [""; 0],
        "who is busy stays until it is idle"
    );

    let at_most = self::group(0, 2);
    let (decision, _) = decide(0, &at_most, &work, &both, &History::default());
    assert_eq!(
        (decision.replicas, decision.remove),
        (2, vec!["a".to_owned()]),
        "there is no room"
    );

    let mut broken = both.clone();
    broken.pods[0].ready = false;
    let (decision, _) = decide(0, &at_most, &work, &broken, &History::default());
    assert_eq!(
        decision.remove,
        ["a"],
        "an old pod that does not work holds nobody up"
    );
}

#[test]
fn a_drained_group_loses_all_pods_and_they_finish_by_themselves() {
    let mut state = seen(vec![pod("a", 1), pod("b", 0)]);
    state.drained = true;
    let (decision, _) = decide(
        0,
        &group(1, 4),
        &batches(50, 1),
        &state,
        &History::default(),
    );
    assert_eq!((decision.replicas, decision.reason), (0, Reason::Drained));
    assert_eq!(decision.remove, ["a", "b"]);
}

prop_compose! {
    fn any_pod()(busy in 0_usize..3, ready in any::<bool>(), leaving in any::<bool>(), is_current in any::<bool>(), batches_done in 0_u64..9) -> PodSeen {
        PodSeen { name: String::new(), ready, leaving, is_current, busy, batches_done }
    }
}

prop_compose! {
    fn any_group()(pods in proptest::collection::vec(any_pod(), 0..8), extra in 0_u32..3, named in proptest::collection::vec(0_usize..9, 0..3), elsewhere in 0_usize..2) -> GroupSeen {
        let mut pods = pods;
        for (place, pod) in pods.iter_mut().enumerate() {
            pod.name = format!("p{place}");
        }
        let leaving: Vec<String> = named.into_iter().map(|place| format!("p{place}")).collect();
        let staying = pods.iter().filter(|pod| !pod.leaving && !leaving.contains(&pod.name)).count();
        GroupSeen { replicas: count(staying) + extra, leaving, pods, busy_elsewhere: elsewhere, drained: false }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn whoever_is_busy_stays_and_the_bounds_hold(
        state in any_group(), min in 0_u32..4, more in 0_u32..6,
        waiting in 0_u64..200, in_flight in 0_u64..50, stuck_ms in 0_u64..1_000_000, idle_ms in 0_u64..3_000_000,
    ) {
        let group = group(min, min + more);
        let backlog = Backlog { waiting, in_flight, stuck_ms };
        let (_, history) = decide(0, &group, &batches(0, 0), &state, &History::default());
        let (decision, _) = decide(idle_ms, &group, &backlog, &state, &history);
        let busy = state.busy();
        prop_assert!(decision.replicas >= busy.min(state.replicas), "below the busy ones");
        prop_assert!(decision.replicas >= min);
        prop_assert!(decision.replicas <= group.scale.max.max(busy));
        prop_assert!(decision.replicas > 0 || min == 0);
        let busy_names: BTreeSet<&String> = state.staying().filter(|pod| pod.busy > 0).map(|pod| &pod.name).collect();
        let all: BTreeSet<&String> = state.pods.iter().map(|pod| &pod.name).collect();
        for name in &decision.remove {
            prop_assert!(!busy_names.contains(name), "a busy pod was chosen");
            prop_assert!(all.contains(name), "a pod that is gone is named");
        }
        // Names that were there stay while the pods do.
        for name in state.leaving.iter().filter(|name| all.contains(name)) {
            prop_assert!(decision.remove.contains(name));
        }
        // Up at once.
        if wanted(&backlog, &group.scale, 1) > state.replicas {
            prop_assert_eq!(decision.replicas, wanted(&backlog, &group.scale, 1).max(busy.min(state.replicas)));
        }
        // Down only after the cool-down, unless the most allowed is less.
        if decision.replicas < state.replicas && state.replicas <= group.scale.max {
            prop_assert!(idle_ms >= 900_000);
        }
        // Enough stay.
        let named: BTreeSet<&String> = decision.remove.iter().collect();
        if decision.reason != Reason::Rolling {
            let left = state.staying().filter(|pod| !named.contains(&pod.name)).count();
            prop_assert!(count(left) >= decision.replicas.min(count(state.staying().count())));
        }
    }
}
