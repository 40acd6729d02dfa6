//! The search for the highest rate at which nothing fails (RFC 7502 section 6.1: up until something fails, then halfway).

use anyhow::Result;

use crate::report::Report;

/// Stops when the highest good and the lowest bad rate are this close.
const PRECISION: f64 = 0.05;
/// No server is that fast, and no search goes on for ever.
const MOST_TRIALS: usize = 40;

/// A trial's outcome, as far as the search cares.
pub(crate) trait Outcome {
    fn is_clean(&self) -> bool;
    /// Whether the generator kept up, so that what failed is the server's.
    fn is_meaningful(&self) -> bool;
}

impl Outcome for Report {
    fn is_clean(&self) -> bool {
        Report::is_clean(self)
    }

    fn is_meaningful(&self) -> bool {
        self.kept_up()
    }
}

/// The outcome of the highest rate that was clean; where none was, of the lowest that was tried. A rate that the generator cannot
/// keep up with ends the search upwards: it says nothing about the server.
pub(crate) fn find<T: Outcome>(first: f64, mut trial: impl FnMut(f64) -> Result<T>) -> Result<T> {
    let (mut good, mut bad) = (None, None::<f64>);
    let mut rate = first;
    for _ in 0..MOST_TRIALS {
        let outcome = trial(rate)?;
        if outcome.is_clean() && outcome.is_meaningful() {
            good = Some((rate, outcome));
        } else {
            bad = Some(rate);
            if good.is_none() && rate < 1.0 {
                return Ok(outcome);
            }
        }
        let low = good.as_ref().map(|(rate, _)| *rate);
        rate = match (low, bad) {
            (Some(low), Some(bad)) if bad / low <= 1.0 + PRECISION => break,
            (Some(low), Some(bad)) => (low * bad).sqrt(),
            (Some(low), None) => low * 2.0,
            (None, _) => rate / 2.0,
        };
    }
    match good {
        Some((_, outcome)) => Ok(outcome),
        None => trial(rate),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Trial {
        rate: f64,
        capacity: f64,
        generator: f64,
    }

    impl Outcome for Trial {
        fn is_clean(&self) -> bool {
            self.rate <= self.capacity
        }

        fn is_meaningful(&self) -> bool {
            self.rate <= self.generator
        }
    }

    fn check(first: f64, capacity: f64, generator: f64, expected: std::ops::RangeInclusive<f64>) {
        let mut trials = 0;
        let found = find(first, |rate| {
            trials += 1;
            Ok(Trial { rate, capacity, generator })
        });
        let rate = found.unwrap().rate;
        assert!(expected.contains(&rate), "{rate}");
        assert!(trials < 25, "{trials}");
    }

    #[test]
    fn the_capacity_is_found_from_below_and_from_above() {
        check(100.0, 7_300.0, 1e9, 6_950.0..=7_300.0);
        check(50_000.0, 7_300.0, 1e9, 6_950.0..=7_300.0);
    }

    #[test]
    fn a_generator_that_cannot_keep_up_ends_the_search() {
        check(100.0, 1e12, 9_000.0, 8_500.0..=9_000.0);
    }

    #[test]
    fn a_server_that_does_nothing_ends_the_search() {
        check(100.0, 0.0, 1e9, 0.0..=1.0);
    }
}
