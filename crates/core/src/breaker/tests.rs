use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::batch::{BatchSpec, Lane};
use crate::checkpoint::{Fault, FaultKind};
use crate::format::Stored;
use crate::ledger::{Page, still_needed};
use crate::testing::{batch, binding, generation};

const FIRST_MS: u64 = 1_000;

/// How a batch ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Succeeded,
    Faulty,
    /// Its inputs changed before it began.
    Obsolete,
    /// Too many of its rows failed, each by itself.
    OverBudget,
}

const ENDED: [Ended; 4] = [
    Ended::Succeeded,
    Ended::Faulty,
    Ended::Obsolete,
    Ended::OverBudget,
];

fn manifest(batch: &BatchId, made_by: u8, ended: Ended) -> CheckpointManifest {
    let kind = match ended {
        Ended::Succeeded | Ended::Obsolete => None,
        Ended::Faulty => Some(FaultKind::Function),
        Ended::OverBudget => Some(FaultKind::Budget),
    };
    CheckpointManifest {
        version: CheckpointManifest::VERSION,
        batch: batch.clone(),
        binding: binding(),
        generation: generation(made_by),
        job: None,
        attempt: "a".to_owned(),
        read_version: 1,
        slices: vec![],
        fault: kind.map(|kind| Fault {
            kind,
            message: "nobody answers".to_owned(),
            traceback: None,
        }),
        calls: u64::from(ended != Ended::Obsolete),
        elapsed_ms: 1,
        finished_ms: 1,
        bytes_written: 0,
    }
}

/// A ledger with what was collected, and without.
#[derive(Default)]
struct World {
    now_ms: u64,
    made_by: u8,
    all: Vec<(LedgerEntry, u64)>,
    checkpoints: BTreeMap<BatchId, CheckpointManifest>,
    open: BTreeSet<BatchId>,
    collected: BTreeSet<LedgerSeq>,
}

impl World {
    fn write(&mut self, body: EntryBody) -> LedgerSeq {
        let seq = LedgerSeq(self.all.len() as u64 + 1);
        let entry = LedgerEntry {
            version: LedgerEntry::VERSION,
            binding: binding(),
            seq,
            token: "ab12".to_owned(),
            after: None,
            table_version: 1,
            session: None,
            body,
        };
        self.all.push((entry, self.now_ms));
        seq
    }

    fn page(&mut self, batches: u32) {
        let spec = BatchSpec {
            slices: vec![],
            deadline_s: 600,
        };
        let seq = self.write(EntryBody::Page(Page {
            generation: generation(self.made_by),
            job: None,
            lane: Lane::Fresh,
            batches: vec![spec; batches as usize],
            folds: vec![],
            approved_left: 0,
        }));
        self.open
            .extend((0..batches).map(|index| batch(seq.0, index)));
    }

    fn end(&mut self, batch: &BatchId, ended: Ended) {
        self.open.remove(batch);
        let done = manifest(batch, self.made_by, ended);
        self.checkpoints.insert(batch.clone(), done);
    }

    /// Entries with the time at which they were written, those that were collected too, or not.
    fn entries(&self, collected_too: bool) -> Vec<(LedgerEntry, u64)> {
        let is_there = |(entry, _): &&(LedgerEntry, u64)| {
            collected_too || !self.collected.contains(&entry.seq)
        };
        self.all.iter().filter(is_there).cloned().collect()
    }

    fn asked(&self, collected_too: bool) -> Breaker {
        let entries = self.entries(collected_too);
        let entries: Vec<(&LedgerEntry, u64)> =
            entries.iter().map(|(entry, ms)| (entry, *ms)).collect();
        let evidence = Evidence {
            entries: &entries,
            checkpoint: &|batch| {
                let gone = !collected_too && self.collected.contains(&batch.seq);
                self.checkpoints.get(batch).filter(|_| !gone)
            },
            open: &self.open,
        };
        decide(evidence, &generation(self.made_by), FIRST_MS, self.now_ms)
    }

    fn breaker(&self) -> Breaker {
        let asked = self.asked(false);
        assert_eq!(asked, self.asked(true), "what was collected counts");
        asked
    }

    fn collect(&mut self) {
        let entries: Vec<LedgerEntry> = (self.entries(false).into_iter())
            .map(|(entry, _)| entry)
            .collect();
        let mut kept: BTreeSet<LedgerSeq> = self.open.iter().map(|batch| batch.seq).collect();
        let checkpoint = |batch: &BatchId| self.checkpoints.get(batch);
        kept.extend(still_counts(&entries, &checkpoint, &kept));
        let needed = still_needed(&entries, &kept, |_| true);
        let spent = entries.iter().map(|entry| entry.seq);
        let spent: Vec<LedgerSeq> = spent.filter(|seq| !needed.contains(seq)).collect();
        self.collected.extend(spent);
    }

    /// What a planner does; how many batches it handed out.
    fn plan(&mut self, most: u32) -> u32 {
        loop {
            match self.breaker() {
                Breaker::Closed => {
                    self.page(most);
                    return most;
                }
                Breaker::ToOpen(open) => {
                    self.write(EntryBody::Breaker(open));
                }
                Breaker::ToClose(_) => {
                    self.write(EntryBody::BreakerClosed {});
                }
                Breaker::Open { .. } | Breaker::Probing => return 0,
                Breaker::Probe => {
                    self.page(1);
                    return 1;
                }
            }
        }
    }

    fn standing(&self) -> Option<(LedgerSeq, OpenBreaker, u64)> {
        let entries: Vec<LedgerEntry> = self.all.iter().map(|(entry, _)| entry.clone()).collect();
        let (seq, open) = standing(&entries)?;
        let created_ms = self.all.iter().find(|(entry, _)| entry.seq == seq)?.1;
        Some((seq, open.clone(), created_ms))
    }
}

fn fault_and_open(world: &mut World) {
    world.page(1);
    let probe = world.open.first().expect("open").clone();
    world.end(&probe, Ended::Faulty);
    assert_eq!(world.plan(9), 0);
}

#[test]
fn a_fault_opens_it_and_a_probe_that_succeeds_closes_it() {
    let mut world = World::default();
    assert_eq!(world.plan(3), 3);
    world.end(&batch(1, 0), Ended::Succeeded);
    world.end(&batch(1, 1), Ended::Faulty);
    // The third one is still at work, and is no probe.
    assert_eq!(world.plan(3), 0);
    assert_eq!(world.breaker(), Breaker::Open { until_ms: FIRST_MS });
    world.end(&batch(1, 2), Ended::Faulty);
    assert_eq!(world.breaker(), Breaker::Open { until_ms: FIRST_MS });
    world.now_ms = FIRST_MS;
    assert_eq!(world.plan(3), 1);
    assert_eq!(world.breaker(), Breaker::Probing);
    world.end(&batch(3, 0), Ended::Faulty);
    assert_eq!(world.plan(3), 0);
    let (_, open, _) = world.standing().expect("open");
    assert_eq!((open.faults, open.wait_ms), (2, 2 * FIRST_MS));
    world.now_ms = 3 * FIRST_MS;
    assert_eq!(world.plan(3), 1);
    world.end(&batch(5, 0), Ended::OverBudget);
    assert_eq!(world.breaker(), Breaker::ToClose(Closing::ProbeSucceeded));
    assert_eq!(world.plan(3), 3);
}

#[test]
fn an_edit_or_a_person_closes_it() {
    let mut world = World::default();
    fault_and_open(&mut world);
    world.made_by = 1;
    assert_eq!(world.breaker(), Breaker::ToClose(Closing::Edited));
    assert_eq!(world.plan(2), 2);

    let mut world = World::default();
    fault_and_open(&mut world);
    world.write(EntryBody::Resume {});
    assert_eq!(world.plan(2), 2);
    assert_eq!(world.standing(), None);
}

#[test]
fn what_came_of_a_probe_that_was_not_tried_tells_nothing() {
    let mut world = World::default();
    fault_and_open(&mut world);
    world.now_ms = FIRST_MS;
    assert_eq!(world.plan(2), 1);
    world.end(&batch(3, 0), Ended::Obsolete);
    assert_eq!(world.breaker(), Breaker::Probe);
    // Its rows may be gone, too.
    world.plan(2);
    world.open.clear();
    assert_eq!(world.breaker(), Breaker::Probe);
}

#[test]
fn a_fault_that_a_later_page_disproved_opens_nothing() {
    let mut world = World::default();
    world.page(1);
    world.page(1);
    world.end(&batch(1, 0), Ended::Faulty);
    assert!(matches!(world.breaker(), Breaker::ToOpen(_)));
    world.end(&batch(2, 0), Ended::Succeeded);
    assert_eq!(world.breaker(), Breaker::Closed);
}

#[test]
fn waits_double_up_to_an_hour() {
    let mut world = World::default();
    let mut waits = vec![];
    world.plan(1);
    for _ in 0..20 {
        let probe = world.open.first().expect("open").clone();
        world.end(&probe, Ended::Faulty);
        world.plan(1);
        let (_, open, created_ms) = world.standing().expect("open");
        waits.push(open.wait_ms);
        world.now_ms = created_ms + open.wait_ms;
        assert_eq!(world.plan(1), 1);
        world.collect();
    }
    let expected = (0..20).map(|probes| (FIRST_MS << probes).min(LONGEST_WAIT_MS));
    assert_eq!(waits, expected.collect::<Vec<_>>());
    assert!(
        world.entries(false).len() <= 3,
        "an outage leaves no heap of entries"
    );
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Plan,
    /// The nth open batch ends.
    End(usize, usize),
    Wait(u64),
    Edit,
    Resume,
    /// A person hands out batches, whatever the breaker says.
    Order(u32),
    Collect,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => Just(Event::Plan),
        6 => (any::<usize>(), 0..ENDED.len()).prop_map(|(nth, ended)| Event::End(nth, ended)),
        4 => (0..3 * FIRST_MS).prop_map(Event::Wait),
        1 => Just(Event::Edit),
        1 => Just(Event::Resume),
        1 => (1..3_u32).prop_map(Event::Order),
        3 => Just(Event::Collect),
    ]
}

proptest! {
    #[test]
    fn one_probe_at_a_time_and_longer_and_longer_waits(
        events in prop::collection::vec(event(), 1..80)
    ) {
        let mut world = World::default();
        // Batches that planners handed out while a breaker stood.
        let mut probes: BTreeSet<BatchId> = BTreeSet::new();
        for event in events {
            match event {
                Event::Plan => {
                    let before = world.standing();
                    let known = world.open.clone();
                    world.plan(3);
                    let after = world.standing();
                    if let Some((seq, open, created_ms)) = after {
                        let doubled = FIRST_MS << (open.faults - 1).min(40);
                        prop_assert_eq!(open.wait_ms, doubled.min(LONGEST_WAIT_MS));
                        probes.extend(world.open.difference(&known).cloned());
                        probes.retain(|probe| world.open.contains(probe));
                        prop_assert!(probes.len() <= 1, "probes {:?}", probes);
                        let handed_out = world.open.len() > known.len();
                        prop_assert!(!handed_out || world.now_ms >= created_ms + open.wait_ms);
                        if let Some((before, was, _)) = before.filter(|(before, ..)| *before != seq)
                            && open.faults > 1
                        {
                            prop_assert!(before < seq && open.faults == was.faults + 1);
                        }
                    } else {
                        probes.clear();
                    }
                }
                Event::End(nth, ended) => {
                    let batch = world.open.iter().nth(nth % world.open.len().max(1)).cloned();
                    if let Some(batch) = batch {
                        world.end(&batch, ENDED[ended]);
                    }
                }
                Event::Wait(ms) => world.now_ms += ms,
                Event::Edit => world.made_by += 1,
                Event::Resume => {
                    world.write(EntryBody::Resume {});
                    probes.clear();
                }
                Event::Order(batches) => world.page(batches),
                Event::Collect => {
                    // Whoever collects has looked at the breaker before.
                    if !matches!(world.breaker(), Breaker::ToOpen(_) | Breaker::ToClose(_)) {
                        world.collect();
                    }
                }
            }
            let _ = world.breaker();
        }
        // The other side is back: whatever happened, all that is left can be handed out at last.
        for _ in 0..3 {
            for batch in std::mem::take(&mut world.open) {
                world.end(&batch, Ended::Succeeded);
            }
            world.now_ms += LONGEST_WAIT_MS;
            world.plan(3);
        }
        prop_assert_eq!(world.standing(), None);
    }
}
