//! How much of a call a function gets at once: as much as it may, and as its device has memory for.
//!
//! What is measured is the weight of rows: their number, or about the bytes of their inputs.

/// The cutting of one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cuts {
    /// Most weight that is called together.
    most: Option<u64>,
    /// The same before something did not fit.
    before: Option<u64>,
}

/// What it means that rows did not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// They are called again, half of them first.
    Halved,
    /// It was one row, which will never fit: it is to blame, and not the number of rows.
    RowFails,
}

impl Cuts {
    /// Of a call that may have so much weight at once, or any without.
    pub const fn new(most: Option<u64>) -> Self {
        Self { most, before: most }
    }

    /// The weight to begin another call with, if that is less than this one began with.
    pub fn learned(&self) -> Option<u64> {
        self.most.filter(|_| self.most != self.before)
    }

    /// How many of the next `rows` are called together: at least one, if there is any.
    ///
    /// `weight` tells what the first so many weigh: at least 1 more with each row.
    pub fn next(&self, rows: usize, weight: impl Fn(usize) -> u64) -> usize {
        let Some(most) = self.most.filter(|most| rows > 1 && weight(rows) > *most) else {
            return rows;
        };
        let (mut fits, mut exceeds) = (1, rows);
        while exceeds - fits > 1 {
            let middle = fits + (exceeds - fits) / 2;
            match weight(middle) <= most {
                true => fits = middle,
                false => exceeds = middle,
            }
        }
        fits
    }

    /// Takes note that the device had no memory for so many rows of this weight.
    ///
    /// It never grows back, but for one case. A row that does not fit alone tells nothing of the
    /// others: without it the rows around it are called as before, and what was too much of them is
    /// found again.
    pub fn did_not_fit(&mut self, rows: usize, weight: u64) -> Full {
        match rows {
            0 | 1 => {
                self.most = self.before;
                Full::RowFails
            }
            _ => {
                self.most = Some(weight / 2);
                Full::Halved
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a device with so much memory made of a call, row by row, and what it was asked.
    struct Played {
        computed: Vec<u32>,
        failed: Vec<usize>,
        calls: Vec<usize>,
        did_not_fit: usize,
        cuts: Cuts,
    }

    fn play(needs: &[u64], weights: &[u64], memory: u64, most: Option<u64>) -> Played {
        let mut played = Played {
            computed: vec![0; needs.len()],
            failed: vec![],
            calls: vec![],
            did_not_fit: 0,
            cuts: Cuts::new(most),
        };
        let mut from = 0;
        while from < needs.len() {
            let weight = |rows: usize| weights[from..from + rows].iter().sum::<u64>();
            let rows = played.cuts.next(needs.len() - from, weight);
            assert!(rows >= 1 && rows <= needs.len() - from);
            played.calls.push(rows);
            if needs[from..from + rows].iter().sum::<u64>() <= memory {
                played.computed[from..from + rows]
                    .iter_mut()
                    .for_each(|row| *row += 1);
                from += rows;
                continue;
            }
            played.did_not_fit += 1;
            match played.cuts.did_not_fit(rows, weight(rows)) {
                Full::Halved => assert!(rows > 1),
                Full::RowFails => {
                    assert_eq!(rows, 1);
                    played.failed.push(from);
                    from += 1;
                }
            }
        }
        played
    }

    #[test]
    fn rows_are_cut_by_weight_and_a_heavy_one_goes_alone() {
        let weights = [3, 3, 3, 20, 1, 1];
        let played = play(&[1; 6], &weights, 100, Some(7));
        assert_eq!(played.calls, [2, 1, 1, 2]);
        assert_eq!(played.cuts.learned(), None);
        assert_eq!(play(&[1; 6], &weights, 100, None).calls, [6]);
    }

    #[test]
    fn halves_are_called_until_they_fit_and_no_more_is_asked_for_afterwards() {
        let played = play(&[1; 100], &[1; 100], 30, None);
        assert_eq!(played.calls, [100, 50, 25, 25, 25, 25]);
        assert_eq!(played.cuts.learned(), Some(25));
        assert_eq!(play(&[1; 100], &[1; 100], 30, Some(25)).calls, [25; 4]);
    }

    #[test]
    fn a_row_that_never_fits_fails_alone_and_the_others_are_called_as_before() {
        let mut needs = [1; 100];
        needs[3] = 1_000;
        let played = play(&needs, &[1; 100], 200, None);
        assert_eq!(played.failed, [3]);
        assert_eq!(played.calls.last(), Some(&96));
        assert_eq!(played.cuts.learned(), None, "the size is not to blame");
    }

    proptest! {
        #[test]
        fn each_row_that_fits_is_computed_once_and_each_other_one_fails(
            needs in prop::collection::vec((1_u64..40, 1_u64..1_000), 0..120),
            memory in 20_u64..200,
            most in prop::option::of(1_u64..5_000),
        ) {
            let (needs, weights): (Vec<u64>, Vec<u64>) = needs.into_iter().unzip();
            let played = play(&needs, &weights, memory, most);
            for (row, need) in needs.iter().enumerate() {
                let fits = *need <= memory;
                prop_assert_eq!(played.computed[row], u32::from(fits));
                prop_assert_eq!(played.failed.contains(&row), !fits);
            }
            // Each search halves a weight down to that of a row at most.
            let searches = played.failed.len() + 1;
            prop_assert!(played.did_not_fit <= searches * 18, "{} in vain", played.did_not_fit);
            if let Some(learned) = played.cuts.learned() {
                prop_assert!(most.is_none_or(|most| learned < most));
            }
        }
    }
}
