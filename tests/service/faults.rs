//! Trouble with S3 and SQS, drawn by a seed.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::proxy::{Fault, Proxy, Refusal, Request};
use crate::support::dice::Dice;

/// Of a thousand requests so many meet trouble.
const PER_MILLE: u64 = 100;
/// Longest time for which a request is held up.
const MOST_DELAY_MS: u64 = 400;

/// What happened to requests, by kind.
pub(crate) type Drawn = BTreeMap<&'static str, usize>;

/// Trouble that a seed decides: what happens to the n-th request of a kind does not depend on the
/// others.
pub(crate) struct Trouble {
    seed: u64,
    seen: Mutex<HashMap<String, u64>>,
    drawn: Mutex<Drawn>,
}

impl Trouble {
    /// Makes it on this proxy, until it has no rule any more.
    pub(crate) fn make(proxy: &Proxy, seed: u64) -> Arc<Self> {
        let trouble = Arc::new(Self {
            seed,
            seen: Mutex::default(),
            drawn: Mutex::default(),
        });
        let ruling = trouble.clone();
        proxy.rule(move |request| ruling.rule(request));
        trouble
    }

    /// What happened until now.
    pub(crate) fn drawn(&self) -> Drawn {
        let drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        drawn.clone()
    }

    fn rule(&self, request: &Request) -> Option<Fault> {
        let place = {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let seen = seen.entry(request.class.clone()).or_default();
            *seen += 1;
            *seen
        };
        let class = (request.class.bytes()).fold(self.seed, |seed, byte| {
            seed.wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte)
        });
        let mut dice = Dice::of(class.wrapping_add(place.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        if dice.roll(1_000) >= PER_MILLE {
            return None;
        }
        let (what, fault) = match dice.roll(6) {
            0 => ("503 or throttled", Some(Fault::Refused(Refusal::SlowDown))),
            1 => ("500", Some(Fault::Refused(Refusal::Internal))),
            2 => ("cut before", Some(Fault::CutBefore)),
            3 => ("answer lost", Some(Fault::AnswerLost)),
            4 if request.is_conditional => ("409", Some(Fault::Refused(Refusal::Conflict))),
            _ => {
                // The delay is the trouble.
                std::thread::sleep(Duration::from_millis(dice.roll(MOST_DELAY_MS)));
                ("late", None)
            }
        };
        let mut drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        *drawn.entry(what).or_default() += 1;
        fault
    }
}
