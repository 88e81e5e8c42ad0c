//! What a group wanted before.

use std::time::Duration;

/// What was wanted of a group since it wanted less than it has; a controller that starts knows nothing,
/// and waits its cool-down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct History {
    below: Option<Below>,
    raised_ms: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Below {
    since_ms: u64,
    most: u32,
}

impl History {
    /// Pods to ask for, given what is wanted and what is asked for now, and what to remember.
    pub(super) fn settle(
        self,
        now_ms: u64,
        want: u32,
        replicas: u32,
        cool_down: Duration,
    ) -> (u32, Self) {
        if want >= replicas {
            let raised_ms = if want > replicas {
                Some(now_ms)
            } else {
                self.raised_ms
            };
            return (
                want,
                Self {
                    below: None,
                    raised_ms,
                },
            );
        }
        let below = match self.below {
            Some(below) => Below {
                since_ms: below.since_ms,
                most: below.most.max(want),
            },
            None => Below {
                since_ms: now_ms,
                most: want,
            },
        };
        let waited = now_ms.saturating_sub(below.since_ms);
        if u128::from(waited) < cool_down.as_millis() {
            return (
                replicas,
                Self {
                    below: Some(below),
                    ..self
                },
            );
        }
        // What was wanted at times meanwhile may be wanted again.
        (
            below.most.min(replicas),
            Self {
                below: None,
                ..self
            },
        )
    }

    /// How long ago more pods were asked for.
    pub(super) fn since_raised(&self, now_ms: u64) -> Option<u64> {
        self.raised_ms.map(|raised| now_ms.saturating_sub(raised))
    }
}
