use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::python::watch::now;

fn second(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn taken(places: &[usize], parts: u32) -> Taken {
    Taken {
        places: places.to_vec(),
        parts,
        load: Duration::ZERO,
    }
}

const WHOLE: Need = Need {
    devices: 1,
    parts: PARTS,
};
const HALF: Need = Need {
    devices: 1,
    parts: PARTS / 2,
};

#[test]
fn needs_are_parts_of_one_device_or_whole_ones() {
    for (gpus, devices, parts) in [
        (1.0, 1, 1000),
        (2.0, 2, 1000),
        (0.5, 1, 500),
        (0.333_333, 1, 333),
        (0.000_1, 1, 1),
        (1.5, 2, 1000),
    ] {
        assert_eq!(Need::of(gpus), Need { devices, parts }, "{gpus}");
    }
    for (gpus, free, hosts) in [
        (1.0, &[1000, 1000][..], 2),
        (0.5, &[1000, 500], 3),
        (1.0 / 3.0, &[1000], 3),
        (2.0, &[1000, 1000, 1000], 1),
        (1.0, &[500], 0),
        (1.0, &[], 0),
    ] {
        assert_eq!(Need::of(gpus).hosts(free.to_vec()), hosts, "{gpus}");
    }
}

#[test]
fn a_function_gets_its_warm_host_again_and_the_next_call_waits_for_it() {
    let mut turns = Turns::new(vec![1000]);
    let at = now();
    let first = turns.wait(1, WHOLE, at);
    let second_call = turns.wait(1, WHOLE, at);
    assert_eq!(turns.ask(second_call, at), Turn::Wait(None));
    assert_eq!(turns.ask(first, at), Turn::Room(vec![0]));
    assert_eq!(turns.ask(second_call, at), Turn::Wait(None));
    turns.rest(1, taken(&[0], 1000), "host", at);
    assert_eq!(turns.ask(second_call, at), Turn::Warm("host"));
    assert!(turns.remove(1).is_empty());
}

#[test]
fn two_halves_share_a_device_and_a_third_waits_until_one_of_them_has_nothing_to_do() {
    let mut turns = Turns::new(vec![1000]);
    let at = now();
    for function in [1, 2] {
        let ticket = turns.wait(function, HALF, at);
        assert_eq!(turns.ask(ticket, at), Turn::Room(vec![0]));
    }
    let third = turns.wait(3, HALF, at);
    assert_eq!(turns.ask(third, at), Turn::Wait(None));
    turns.rest(1, taken(&[0], 500), "one", at);
    assert_eq!(turns.ask(third, at), Turn::Wait(Some(at + LINGER)));
    // Its function comes back before that.
    let again = turns.wait(1, HALF, at);
    assert_eq!(turns.ask(again, at), Turn::Warm("one"));
    turns.rest(2, taken(&[0], 500), "two", at);
    assert_eq!(turns.ask(third, at + LINGER), Turn::End(vec!["two"]));
    assert_eq!(turns.ask(third, at + LINGER), Turn::Wait(None));
    turns.free(&taken(&[0], 500));
    assert_eq!(turns.ask(third, at + LINGER), Turn::Room(vec![0]));
}

#[test]
fn who_rests_longest_goes_and_only_as_many_as_need_be() {
    let mut turns = Turns::new(vec![0, 0]);
    let at = now();
    turns.rest(1, taken(&[1], 1000), "old", at);
    turns.rest(2, taken(&[0], 1000), "new", at + second(1));
    let ticket = turns.wait(3, WHOLE, at + second(2));
    assert_eq!(turns.ask(ticket, at + second(2)), Turn::End(vec!["old"]));
}

#[test]
fn a_function_that_always_has_calls_gives_its_device_up_after_its_turn() {
    let mut turns = Turns::new(vec![0]);
    let at = now();
    let slow = Taken {
        load: second(10),
        ..taken(&[0], 1000)
    };
    turns.rest(1, slow.clone(), "busy", at + second(99));
    let other = turns.wait(2, WHOLE, at);
    let own = turns.wait(1, WHOLE, at + second(99));
    assert_eq!(turns.ask(own, at + second(99)), Turn::Warm("busy"));
    turns.rest(1, slow, "busy", at + second(100));
    let own = turns.wait(1, WHOLE, at + second(100));
    assert_eq!(turns.ask(own, at + second(100)), Turn::Wait(None));
    assert_eq!(turns.ask(other, at + second(100)), Turn::End(vec!["busy"]));
    turns.free(&taken(&[0], 1000));
    assert_eq!(turns.ask(own, at + second(100)), Turn::Wait(None));
    assert_eq!(turns.ask(other, at + second(100)), Turn::Room(vec![0]));
}

#[test]
fn a_whole_device_is_not_kept_from_who_waits_for_it_by_halves_that_come_and_go() {
    let mut turns = Turns::new(vec![500]);
    let at = now();
    let whole = turns.wait(1, WHOLE, at);
    // One half is at work; another function takes the other half, for a turn.
    let half = turns.wait(2, HALF, at);
    assert_eq!(turns.ask(half, at + second(19)), Turn::Room(vec![0]));
    turns.rest(2, taken(&[0], 500), "half", at + second(20));
    let half = turns.wait(2, HALF, at + second(20));
    assert_eq!(turns.ask(half, at + second(20)), Turn::Wait(None));
    turns.rest(3, taken(&[0], 500), "other half", at + second(21));
    assert_eq!(
        turns.ask(whole, at + second(21)),
        Turn::End(vec!["other half", "half"])
    );
}

#[test]
fn hosts_go_with_their_function_and_after_a_long_rest() {
    let mut turns = Turns::new(vec![0, 0, 0]);
    let at = now();
    turns.rest(1, taken(&[0], 1000), "a", at);
    turns.rest(2, taken(&[1], 1000), "b", at);
    turns.rest(1, taken(&[2], 1000), "c", at + second(10));
    assert_eq!(turns.expired(second(300), at + second(300)), ["a", "b"]);
    assert_eq!(turns.remove(1), ["c"]);
    assert!(turns.remove(1).is_empty());
}

/// What happens next, drawn.
#[derive(Debug, Clone, Copy)]
enum Event {
    Comes(u64),
    Leaves(usize),
    Rests(usize),
    Ends(usize),
    Passes(u64),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => (0_u64..4).prop_map(Event::Comes),
        1 => (0_usize..8).prop_map(Event::Leaves),
        4 => (0_usize..8).prop_map(Event::Rests),
        1 => (0_usize..8).prop_map(Event::Ends),
        2 => (1_u64..15).prop_map(Event::Passes),
    ];
    prop::collection::vec(event, 0..80)
}

proptest! {
    /// No device is ever given out twice, and who waits gets a host in the end.
    #[test]
    fn devices_are_never_overtaken_and_nobody_starves(
        devices in prop::collection::vec(prop_oneof![Just(500_u32), Just(1000)], 1..4),
        events in events(),
    ) {
        let needs = [Need::of(0.3), HALF, WHOLE, Need::of(2.0)];
        let mut at = now();
        let mut turns: Turns<usize> = Turns::new(devices.clone());
        // Each host with its function, what it has, and whether it has a call.
        let mut hosts: BTreeMap<usize, (u64, Taken, bool)> = BTreeMap::new();
        let mut line: Vec<(u64, u64, Need)> = vec![];
        let mut started = 0;
        let ask_all = |turns: &mut Turns<usize>,
                           hosts: &mut BTreeMap<usize, (u64, Taken, bool)>,
                           line: &mut Vec<(u64, u64, Need)>,
                           started: &mut usize,
                           at: Instant| {
            for (ticket, function, need) in line.clone() {
                loop {
                    match turns.ask(ticket, at) {
                        Turn::Wait(_) => break,
                        Turn::End(ended) => {
                            for host in ended {
                                let (_, taken, busy) = hosts.remove(&host).expect("it lives");
                                assert!(!busy, "a host with a call is not ended");
                                turns.free(&taken);
                            }
                            continue;
                        }
                        Turn::Warm(host) => {
                            let found = hosts.get_mut(&host).expect("it lives");
                            assert_eq!(found.0, function);
                            found.2 = true;
                        }
                        Turn::Room(places) => {
                            assert_eq!(places.len(), need.devices);
                            hosts.insert(*started, (function, taken(&places, need.parts), true));
                            *started += 1;
                        }
                    }
                    line.retain(|(other, ..)| *other != ticket);
                    break;
                }
            }
            for (place, parts) in devices.iter().enumerate() {
                let used: u32 = (hosts.values())
                    .filter(|(_, taken, _)| taken.places.contains(&place))
                    .map(|(_, taken, _)| taken.parts)
                    .sum();
                assert!(used <= *parts, "{used} of {parts} parts are used");
            }
        };
        let busy = |hosts: &BTreeMap<usize, (u64, Taken, bool)>, nth: usize| {
            let at_work: Vec<usize> = (hosts.iter())
                .filter(|(_, host)| host.2)
                .map(|(host, _)| *host)
                .collect();
            (!at_work.is_empty()).then(|| at_work[nth % at_work.len()])
        };
        for event in events {
            match event {
                Event::Comes(function) => {
                    // A function always needs the same.
                    let need = needs[usize::try_from(function).expect("small")];
                    if need.hosts(devices.clone()) > 0 && line.len() < 8 {
                        let ticket = turns.wait(function, need, at);
                        line.push((ticket, function, need));
                    }
                }
                Event::Leaves(nth) if nth < line.len() => turns.leave(line.remove(nth).0),
                Event::Leaves(_) => {}
                Event::Rests(nth) => {
                    if let Some(host) = busy(&hosts, nth) {
                        let found = hosts.get_mut(&host).expect("it lives");
                        found.2 = false;
                        turns.rest(found.0, found.1.clone(), host, at);
                    }
                }
                Event::Ends(nth) => {
                    if let Some(host) = busy(&hosts, nth) {
                        let (_, taken, _) = hosts.remove(&host).expect("it lives");
                        turns.free(&taken);
                    }
                }
                Event::Passes(seconds) => at += second(seconds),
            }
            ask_all(&mut turns, &mut hosts, &mut line, &mut started, at);
        }
        // Calls end after a while; those that wait come to their turn, one after the other.
        for _ in 0..line.len() + 1 {
            while let Some(host) = busy(&hosts, 0) {
                let found = hosts.get_mut(&host).expect("it lives");
                found.2 = false;
                turns.rest(found.0, found.1.clone(), host, at);
            }
            at += second(30);
            ask_all(&mut turns, &mut hosts, &mut line, &mut started, at);
        }
        prop_assert!(line.is_empty(), "{line:?} still wait");
    }
}
