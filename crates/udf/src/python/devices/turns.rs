//! Whose turn it is on the devices of this process.
//!
//! A host has its share of a device from its start to its end, since its model is there. So devices are
//! taken by hosts that rest, too, and a function that needs one may have to end another's.

use std::time::{Duration, Instant};

use super::found::PARTS;

/// A function whose host rested for so long has nothing to do at the moment. Between two calls of a
/// batch less time goes by, and to load a model anew takes longer.
const LINGER: Duration = Duration::from_millis(500);
/// How long a function may keep others from its device at least, while it always has another call.
const SHORTEST_TURN: Duration = Duration::from_secs(20);
/// A turn is so many times what it takes to load the model: in the worst case of two functions that
/// always have work, a tenth of the time is spent on loading.
const LOADS_PER_TURN: u32 = 10;

/// What a host needs of devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Need {
    pub(super) devices: usize,
    /// Of each.
    pub(super) parts: u32,
}

impl Need {
    /// Of so many devices, or of a part of one.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to what fits"
    )]
    pub(super) fn of(gpus: f64) -> Self {
        match gpus < 1.0 {
            true => Self {
                devices: 1,
                parts: (gpus * f64::from(PARTS)).floor().max(1.0) as u32,
            },
            false => Self {
                devices: gpus.ceil().min(1e6) as usize,
                parts: PARTS,
            },
        }
    }

    /// The fullest devices on which it fits.
    fn places(self, free: &[u32]) -> Option<Vec<usize>> {
        let mut fitting: Vec<usize> = (0..free.len())
            .filter(|place| free.get(*place).is_some_and(|parts| *parts >= self.parts))
            .collect();
        fitting.sort_by_key(|place| free.get(*place));
        fitting.truncate(self.devices);
        (fitting.len() == self.devices).then_some(fitting)
    }

    /// Hosts that fit side by side.
    pub(super) fn hosts(self, mut free: Vec<u32>) -> usize {
        let mut hosts = 0;
        while let Some(places) = self.places(&free) {
            take(&mut free, &places, self.parts);
            hosts += 1;
        }
        hosts
    }
}

fn take(free: &mut [u32], places: &[usize], parts: u32) {
    for place in places {
        if let Some(free) = free.get_mut(*place) {
            *free = free.saturating_sub(parts);
        }
    }
}

fn give(free: &mut [u32], places: &[usize], parts: u32) {
    for place in places {
        if let Some(free) = free.get_mut(*place) {
            *free += parts;
        }
    }
}

/// What is free, who waits, and who rests.
pub(super) struct Turns<T> {
    free: Vec<u32>,
    waiting: Vec<Waiting>,
    resting: Vec<Rest<T>>,
    tickets: u64,
}

/// Calls wait in the order in which they came.
struct Waiting {
    ticket: u64,
    function: u64,
    need: Need,
    since: Instant,
}

/// A host without a call; those that rest longest come first.
struct Rest<T> {
    function: u64,
    since: Instant,
    taken: Taken,
    host: T,
}

/// What a host has, and what it would cost to end it.
#[derive(Debug, Clone)]
pub(super) struct Taken {
    pub(super) places: Vec<usize>,
    pub(super) parts: u32,
    /// How long its start took.
    pub(super) load: Duration,
}

impl Taken {
    fn turn(&self) -> Duration {
        SHORTEST_TURN.max(self.load.saturating_mul(LOADS_PER_TURN))
    }
}

/// What a call gets.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn<T> {
    /// A warm host.
    Warm(T),
    /// Room for a new one, on these devices.
    Room(Vec<usize>),
    /// These hosts must be ended first; then it asks again.
    End(Vec<T>),
    /// It asks again after a change, or at this time.
    Wait(Option<Instant>),
}

/// The same before anything is taken, by place among those at rest.
enum Choice {
    Warm(usize),
    Room(Vec<usize>),
    End(Vec<usize>),
    Wait(Option<Instant>),
}

impl<T> Turns<T> {
    pub(super) const fn new(free: Vec<u32>) -> Self {
        Self {
            free,
            waiting: vec![],
            resting: vec![],
            tickets: 0,
        }
    }

    /// Gets in line.
    pub(super) fn wait(&mut self, function: u64, need: Need, since: Instant) -> u64 {
        self.tickets += 1;
        self.waiting.push(Waiting {
            ticket: self.tickets,
            function,
            need,
            since,
        });
        self.tickets
    }

    /// Waits no longer.
    pub(super) fn leave(&mut self, ticket: u64) {
        self.waiting.retain(|waiting| waiting.ticket != ticket);
    }

    /// What a call that is in line gets now; it leaves the line with a host or room for one.
    pub(super) fn ask(&mut self, ticket: u64, now: Instant) -> Turn<T> {
        let need = self.waiting.iter().find(|waiting| waiting.ticket == ticket);
        let need = need.map(|waiting| waiting.need);
        match self.choose(ticket, now) {
            Choice::Warm(place) => {
                self.leave(ticket);
                Turn::Warm(self.resting.remove(place).host)
            }
            Choice::Room(places) => {
                self.leave(ticket);
                take(&mut self.free, &places, need.map_or(0, |need| need.parts));
                Turn::Room(places)
            }
            Choice::End(mut places) => {
                places.sort_unstable();
                let ended = places.into_iter().rev();
                Turn::End(ended.map(|place| self.resting.remove(place).host).collect())
            }
            Choice::Wait(until) => Turn::Wait(until),
        }
    }

    /// Goes through the line to the one that asks: those before it have their turn first.
    ///
    /// SUBTLE: two functions whose models do not fit together both have calls all the time. If each call
    /// of the other one ended this one's host, most of the time would go by with loading models; if a
    /// function could always take its own warm host again, the other one would wait for ever. So a
    /// function keeps its host while it uses it, until another one has waited for a turn; from then on
    /// its warm hosts are kept back for the one that waits, and so is what gets free.
    fn choose(&self, ticket: u64, now: Instant) -> Choice {
        let mut free = self.free.clone();
        let mut gone = vec![false; self.resting.len()];
        for waiting in &self.waiting {
            let asks = waiting.ticket == ticket;
            let own = self.rests(&gone, |rest| rest.function == waiting.function);
            if let Some(place) = own.last() {
                if asks {
                    return Choice::Warm(*place);
                }
                mark(&mut gone, &[*place]);
                continue;
            }
            if let Some(places) = waiting.need.places(&free) {
                if asks {
                    return Choice::Room(places);
                }
                take(&mut free, &places, waiting.need.parts);
                continue;
            }
            let may_end_at = |rest: &Rest<T>| {
                let idle = rest.since + LINGER;
                idle.min(waiting.since + rest.taken.turn())
            };
            let mut freed = free.clone();
            let mut ended = vec![];
            for place in self.rests(&gone, |rest| may_end_at(rest) <= now) {
                if waiting.need.places(&freed).is_some() {
                    break;
                }
                if let Some(rest) = self.resting.get(place) {
                    give(&mut freed, &rest.taken.places, rest.taken.parts);
                    ended.push(place);
                }
            }
            if let Some(places) = waiting.need.places(&freed) {
                let ended = self.useful(ended, &places);
                if asks {
                    return Choice::End(ended);
                }
                mark(&mut gone, &ended);
                // What they free is not free yet, and not for anybody else.
                take(&mut free, &places, waiting.need.parts);
                continue;
            }
            let waited_a_turn = |rest: &Rest<T>| waiting.since + rest.taken.turn() <= now;
            if asks {
                let later = self.rests(&gone, |rest| may_end_at(rest) > now);
                let later = later.iter().filter_map(|place| self.resting.get(*place));
                return Choice::Wait(later.map(may_end_at).min());
            }
            let kept_back = self.rests(&gone, waited_a_turn);
            mark(&mut gone, &kept_back);
            if waiting.since + SHORTEST_TURN <= now {
                free.fill(0);
            }
        }
        Choice::Wait(None)
    }

    /// Hosts at rest that are not spoken for.
    fn rests(&self, gone: &[bool], which: impl Fn(&Rest<T>) -> bool) -> Vec<usize> {
        let resting = self.resting.iter().zip(gone).enumerate();
        let left = resting.filter(|(_, (rest, gone))| !**gone && which(rest));
        left.map(|(place, _)| place).collect()
    }

    /// Those of some hosts that are on some devices.
    fn useful(&self, mut hosts: Vec<usize>, places: &[usize]) -> Vec<usize> {
        hosts.retain(|host| {
            let rest = self.resting.get(*host);
            rest.is_some_and(|rest| rest.taken.places.iter().any(|place| places.contains(place)))
        });
        hosts
    }

    /// A call of a host is over.
    pub(super) fn rest(&mut self, function: u64, taken: Taken, host: T, since: Instant) {
        self.resting.push(Rest {
            function,
            since,
            taken,
            host,
        });
    }

    /// What a host had is free.
    pub(super) fn free(&mut self, taken: &Taken) {
        give(&mut self.free, &taken.places, taken.parts);
    }

    /// Hosts of a function that is gone.
    pub(super) fn remove(&mut self, function: u64) -> Vec<T> {
        self.extract(|rest| rest.function == function)
    }

    /// Hosts that rest for so long.
    pub(super) fn expired(&mut self, longest: Duration, now: Instant) -> Vec<T> {
        self.extract(|rest| now.saturating_duration_since(rest.since) >= longest)
    }

    fn extract(&mut self, goes: impl Fn(&Rest<T>) -> bool) -> Vec<T> {
        let gone = self.resting.extract_if(.., |rest| goes(rest));
        gone.map(|rest| rest.host).collect()
    }
}

fn mark(gone: &mut [bool], places: &[usize]) {
    for place in places {
        if let Some(gone) = gone.get_mut(*place) {
            *gone = true;
        }
    }
}

#[cfg(test)]
mod tests;
