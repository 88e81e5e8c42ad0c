//! Faults on demand: a port that fails at a chosen call, before or after the call did its work.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use futures::future::poll_fn;
use lance_backfill_ports::{Error, ErrorKind, Result};

use crate::random::Random;

mod state_store;
mod table;

/// What goes wrong at one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The call is not made; it may work later.
    Refuse,
    /// The call does its work, and the answer is lost.
    LoseAnswer,
    /// The process dies before the call: it and all later ones fail until [`Faults::revive`].
    CrashBefore,
    /// The process dies after the call did its work: it and all later ones fail likewise.
    CrashAfter,
}

/// The faults to come, by number of call; ports that share it are numbered together.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<Budget>>);

#[derive(Debug, Default)]
struct Budget {
    calls: u64,
    planned: BTreeMap<u64, Fault>,
    dead: bool,
    yields: Option<Random>,
}

/// Which half of a call is to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Works,
    AnswerLost,
}

impl Faults {
    /// No faults.
    pub fn none() -> Self {
        Self::default()
    }

    /// No faults, and before each call others get their turn, none to three times as the seed says.
    pub fn with_yields(seed: u64) -> Self {
        let faults = Self::default();
        faults.budget().yields = Some(Random::new(seed));
        faults
    }

    /// Plans a fault for the `nth` call from now; the next one is the first.
    pub fn plan(&self, nth: u64, fault: Fault) {
        let mut budget = self.budget();
        let call = budget.calls + nth;
        budget.planned.insert(call, fault);
    }

    /// Calls made so far.
    pub fn calls(&self) -> u64 {
        self.budget().calls
    }

    /// Whether the process died.
    pub fn is_dead(&self) -> bool {
        self.budget().dead
    }

    /// Starts the process again, without any fault to come.
    pub fn revive(&self) {
        let mut budget = self.budget();
        budget.dead = false;
        budget.planned.clear();
    }

    fn budget(&self) -> MutexGuard<'_, Budget> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call; an error means that it must not be made.
    async fn before(&self, call: &str) -> Result<Verdict> {
        let yields = match &mut self.budget().yields {
            Some(random) => random.below(4),
            None => 0,
        };
        yield_now(yields).await;
        let mut budget = self.budget();
        if budget.dead {
            return Err(refused(call));
        }
        budget.calls += 1;
        let number = budget.calls;
        match budget.planned.remove(&number) {
            None => Ok(Verdict::Works),
            Some(Fault::Refuse) => Err(refused(call)),
            Some(Fault::LoseAnswer) => Ok(Verdict::AnswerLost),
            Some(Fault::CrashBefore) => {
                budget.dead = true;
                Err(refused(call))
            }
            Some(Fault::CrashAfter) => {
                budget.dead = true;
                Ok(Verdict::AnswerLost)
            }
        }
    }

    /// Makes a call that changes nothing, or whose lost answer is an error.
    async fn call<T>(&self, name: &str, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let verdict = self.before(name).await?;
        let answer = call.await?;
        match verdict {
            Verdict::Works => Ok(answer),
            Verdict::AnswerLost => Err(Error::new(
                ErrorKind::Indeterminate,
                format!("planned fault: the answer of '{name}' was lost"),
            )),
        }
    }
}

/// Lets other tasks of the thread go first, several times.
pub async fn yield_now(mut times: u64) {
    poll_fn(move |context| {
        if times == 0 {
            return Poll::Ready(());
        }
        times -= 1;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

fn refused(call: &str) -> Error {
    let context = format!("planned fault: '{call}' was refused");
    Error::new(ErrorKind::Unavailable, context)
}

/// A port that fails as planned and otherwise does what the one inside does.
#[derive(Debug, Clone)]
pub struct Faulty<P> {
    inner: P,
    faults: Faults,
}

impl<P> Faulty<P> {
    /// Puts a port under a plan of faults.
    pub const fn new(inner: P, faults: Faults) -> Self {
        Self { inner, faults }
    }
}
