//! How fast a function is, as its batches showed.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Batches shorter than this show overhead, not the function.
const SHORTEST_MS: u64 = 50;

/// Measured speed of one worker with one generation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Rows computed.
    pub rows: u64,
    /// In this time.
    pub elapsed_ms: u64,
    /// Rows per second of the slowest batch.
    pub slowest: f64,
    /// Rows per second of the fastest batch.
    pub fastest: f64,
}

/// How long something takes, and between which bounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// Expected seconds.
    pub seconds: f64,
    /// If all batches are like the fastest.
    pub at_least_s: f64,
    /// If all are like the slowest.
    pub at_most_s: f64,
    /// Rows per second of all workers together.
    pub rows_per_s: f64,
    /// What it costs, at the price that was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
}

/// What something costs, and between which bounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Cost {
    /// Expected.
    pub expected: f64,
    /// If all batches are like the fastest.
    pub at_least: f64,
    /// If all are like the slowest.
    pub at_most: f64,
}

impl Estimate {
    /// The same with its cost at a price for an hour.
    #[must_use]
    pub fn priced(self, per_hour: Option<f64>) -> Self {
        let of = |seconds: f64, price: f64| seconds / 3_600.0 * price;
        Self {
            cost: per_hour.map(|price| Cost {
                expected: of(self.seconds, price),
                at_least: of(self.at_least_s, price),
                at_most: of(self.at_most_s, price),
            }),
            ..self
        }
    }
}

impl Rate {
    /// Of some batches, each with its rows and its time; `None` if they were too short to tell.
    pub fn of(batches: impl Iterator<Item = (u64, u64)>) -> Option<Self> {
        let mut sum: Option<Self> = None;
        for (rows, elapsed_ms) in batches {
            if rows == 0 || elapsed_ms < SHORTEST_MS {
                continue;
            }
            let speed = rows as f64 * 1_000.0 / elapsed_ms as f64;
            let rate = sum.get_or_insert(Self {
                rows: 0,
                elapsed_ms: 0,
                slowest: speed,
                fastest: speed,
            });
            rate.rows += rows;
            rate.elapsed_ms += elapsed_ms;
            rate.slowest = rate.slowest.min(speed);
            rate.fastest = rate.fastest.max(speed);
        }
        sum
    }

    /// Of parts of one sample, however short.
    pub fn of_parts(parts: &[(u64, Duration)]) -> Option<Self> {
        let speed = |(rows, took): &(u64, Duration)| *rows as f64 / took.as_secs_f64().max(1e-6);
        let rows: u64 = parts.iter().map(|(rows, _)| rows).sum();
        let took: Duration = parts.iter().map(|(_, took)| took).sum();
        let speeds = || parts.iter().filter(|(rows, _)| *rows > 0).map(speed);
        // The division by milliseconds in `rows_per_s` must not see a zero.
        let elapsed_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
        // As it is estimated from, so that the expectation lies between slowest and fastest.
        let overall = rows as f64 * 1_000.0 / elapsed_ms as f64;
        (rows > 0).then_some(Self {
            rows,
            elapsed_ms,
            slowest: speeds().fold(overall, f64::min),
            fastest: speeds().fold(overall, f64::max),
        })
    }

    /// Of all batches together, however short: overhead counts, so it is rather too low.
    pub fn at_least(batches: impl Iterator<Item = (u64, u64)>) -> Option<Self> {
        let (rows, elapsed_ms) = batches.fold((0, 0), |(rows, ms), (more, took)| {
            (rows + more, ms + took.max(1))
        });
        let speed = rows as f64 * 1_000.0 / f64::max(elapsed_ms as f64, 1.0);
        (rows > 0).then_some(Self {
            rows,
            elapsed_ms,
            slowest: speed,
            fastest: speed,
        })
    }

    /// Rows per second of one worker.
    pub fn rows_per_s(&self) -> f64 {
        self.rows as f64 * 1_000.0 / self.elapsed_ms.max(1) as f64
    }

    /// How long so many rows take with so many workers.
    pub fn estimate(&self, rows: u64, workers: usize) -> Estimate {
        let seconds =
            |speed: f64| rows as f64 / (speed.max(f64::MIN_POSITIVE) * workers.max(1) as f64);
        Estimate {
            seconds: seconds(self.rows_per_s()),
            at_least_s: seconds(self.fastest),
            at_most_s: seconds(self.slowest),
            rows_per_s: self.rows_per_s() * workers.max(1) as f64,
            cost: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_all_batches_that_were_long_enough() {
        assert_eq!(Rate::of([(1_000_000, 10), (0, 900)].into_iter()), None);
        let short = Rate::at_least([(30, 0), (0, 0), (30, 2)].into_iter()).expect("some rows");
        assert_eq!((short.rows, short.elapsed_ms), (60, 4));
        assert_eq!(Rate::at_least([(0, 5)].into_iter()), None);
        let rate = Rate::of([(100, 100), (100, 300), (9, 1)].into_iter()).expect("two count");
        assert_eq!((rate.rows, rate.elapsed_ms), (200, 400));
        assert!((rate.rows_per_s() - 500.0).abs() < 1e-9);
        let estimate = rate.estimate(1_000, 2);
        assert!((estimate.seconds - 1.0).abs() < 1e-9);
        assert!((estimate.at_least_s - 0.5).abs() < 1e-9);
        assert!((estimate.at_most_s - 1.5).abs() < 1e-9);
        assert!((estimate.rows_per_s - 1_000.0).abs() < 1e-9);
        let sample = [
            (1, Duration::from_micros(10)),
            (3, Duration::from_micros(9)),
        ];
        let estimate = Rate::of_parts(&sample).expect("rows").estimate(10, 1);
        assert!(estimate.at_least_s <= estimate.seconds && estimate.seconds <= estimate.at_most_s);
        let cost = rate
            .estimate(1_000, 2)
            .priced(Some(7_200.0))
            .cost
            .expect("a price");
        assert!((cost.expected - 2.0).abs() < 1e-9 && (cost.at_most - 3.0).abs() < 1e-9);
    }
}
