//! When attempts begin: at random moments, independent of each other, as callers come (a Poisson process).

use std::time::Duration;

/// The moments, from the beginning of a run.
pub(crate) struct Arrivals {
    rate: f64,
    /// In seconds.
    next: f64,
    state: u64,
}

impl Arrivals {
    /// So many a second on average. The same seed gives the same moments.
    pub(crate) fn new(rate: f64, seed: u64) -> Arrivals {
        let mut arrivals = Arrivals { rate, next: 0.0, state: seed | 1 };
        arrivals.step();
        arrivals
    }

    /// The next moment.
    pub(crate) fn next(&self) -> Duration {
        Duration::from_secs_f64(self.next)
    }

    /// Goes on to the one after it.
    pub(crate) fn step(&mut self) {
        self.next -= self.uniform().ln() / self.rate;
    }

    /// A number in (0, 1] from a xorshift generator, good enough to scatter arrivals.
    fn uniform(&mut self) -> f64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        ((self.state >> 11) + 1) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_come_as_the_rate_says_and_not_evenly() {
        let mut arrivals = Arrivals::new(1000.0, 7);
        let mut gaps = Vec::new();
        for _ in 0..10_000 {
            let before = arrivals.next();
            arrivals.step();
            gaps.push((arrivals.next() - before).as_secs_f64());
        }
        assert!((9.5..10.5).contains(&arrivals.next().as_secs_f64()), "{:?}", arrivals.next());
        // Of exponential gaps 63 in 100 are shorter than their mean.
        let short = gaps.iter().filter(|gap| **gap < 0.001).count();
        assert!((6_100..6_500).contains(&short), "{short}");
    }
}
