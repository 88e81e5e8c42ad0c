//! Whether a cluster is to be there.

use std::time::Duration;

use crate::pool::Lifetime;

/// What to do with the cluster as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Step {
    /// It is to be there, as the pool file says.
    Keep,
    /// It is not to be there any more.
    Delete,
    /// It need not be there.
    Leave,
}

/// What to do, and since when there has been no work.
pub fn step(
    now_ms: u64,
    lifetime: Lifetime,
    exists: bool,
    has_work: bool,
    cool_down: Duration,
    idle_since_ms: Option<u64>,
) -> (Step, Option<u64>) {
    if lifetime == Lifetime::Persistent || has_work {
        return (Step::Keep, None);
    }
    if !exists {
        return (Step::Leave, None);
    }
    let since = idle_since_ms.unwrap_or(now_ms);
    let is_over = u128::from(now_ms.saturating_sub(since)) >= cool_down.as_millis();
    let step = if is_over { Step::Delete } else { Step::Keep };
    (step, Some(since))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_demand_is_there_while_there_is_work_and_a_while_after() {
        let pause = Duration::from_secs(60);
        let next =
            |now, exists, work, since| step(now, Lifetime::OnDemand, exists, work, pause, since);
        assert_eq!(next(0, false, false, None), (Step::Leave, None));
        assert_eq!(next(0, false, true, None), (Step::Keep, None));
        assert_eq!(next(5, true, false, None), (Step::Keep, Some(5)));
        assert_eq!(next(60_004, true, false, Some(5)), (Step::Keep, Some(5)));
        assert_eq!(next(60_005, true, false, Some(5)), (Step::Delete, Some(5)));
        assert_eq!(next(60_005, true, true, Some(5)), (Step::Keep, None));
        let always = step(0, Lifetime::Persistent, false, false, pause, None);
        assert_eq!(always, (Step::Keep, None));
    }
}
