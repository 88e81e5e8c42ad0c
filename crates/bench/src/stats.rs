//! Medians and spreads of a few measurements.

/// Measurements of one thing, one a round.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// The middle one, or the mean of the two in the middle; NaN without measurements.
    pub(crate) fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        match (sorted.get(middle), sorted.len() % 2) {
            (Some(upper), 1) => *upper,
            (Some(upper), _) => {
                let lower = middle.checked_sub(1).and_then(|place| sorted.get(place));
                lower.map_or(*upper, |lower| f64::midpoint(*lower, *upper))
            }
            (None, _) => f64::NAN,
        }
    }

    pub(crate) fn least(&self) -> f64 {
        self.0.iter().copied().fold(f64::NAN, f64::min)
    }

    pub(crate) fn most(&self) -> f64 {
        self.0.iter().copied().fold(f64::NAN, f64::max)
    }

    /// Combines the measurements of each round.
    pub(crate) fn paired(&self, other: &Self, combine: impl Fn(f64, f64) -> f64) -> Self {
        Self(
            (self.0.iter().zip(&other.0))
                .map(|(left, right)| combine(*left, *right))
                .collect(),
        )
    }

    /// The ratio to another thing, round by round: what slows a whole round does not count.
    pub(crate) fn ratio(&self, to: &Self) -> Self {
        self.paired(to, |left, right| left / right)
    }

    pub(crate) fn minus(&self, other: &Self) -> Self {
        self.paired(other, |left, right| left - right)
    }

    pub(crate) fn plus(&self, other: &Self) -> Self {
        self.paired(other, |left, right| left + right)
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(values: &[f64]) -> Samples {
        values.iter().copied().collect()
    }

    #[test]
    fn the_median_is_in_the_middle_and_no_outlier_moves_it() {
        assert_eq!(samples(&[9.0, 1.0, 2.0]).median(), 2.0);
        assert_eq!(samples(&[4.0, 1.0, 2.0, 900.0]).median(), 3.0);
        assert_eq!(samples(&[7.0]).median(), 7.0);
        assert!(samples(&[]).median().is_nan());
    }

    #[test]
    fn a_slow_round_does_not_change_the_ratio() {
        let ours = samples(&[2.0, 20.0, 2.0]);
        let theirs = samples(&[1.0, 10.0, 1.0]);
        assert_eq!(ours.ratio(&theirs).median(), 2.0);
        assert_eq!((ours.least(), ours.most()), (2.0, 20.0));
        assert_eq!(ours.minus(&theirs).plus(&theirs).most(), 20.0);
    }
}
