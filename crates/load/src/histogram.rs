//! Counts of durations, exact to 1.6 % from a microsecond to hours, in fixed memory.

use std::time::Duration;

/// Buckets of each doubling.
const STEPS: usize = 64;
const STEP_BITS: u32 = STEPS.trailing_zeros();
/// Doublings from 64 microseconds on; below that each microsecond has a bucket.
const DOUBLINGS: usize = 30;

/// How often each duration was seen.
pub(crate) struct Histogram {
    counts: Box<[u64]>,
    total: u64,
    longest: Duration,
}

impl Histogram {
    pub(crate) fn new() -> Histogram {
        Histogram { counts: vec![0; STEPS * (DOUBLINGS + 1)].into(), total: 0, longest: Duration::ZERO }
    }

    pub(crate) fn add(&mut self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = bucket(micros).min(self.counts.len() - 1);
        self.counts[bucket] += 1;
        self.total += 1;
        self.longest = self.longest.max(duration);
    }

    /// The duration that `share` of all (0 to 1) do not exceed; none when there is nothing.
    pub(crate) fn quantile(&self, share: f64) -> Option<Duration> {
        let rank = ((self.total as f64 * share).ceil() as u64).clamp(1, self.total.max(1));
        let mut seen = 0;
        let found = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        Some(Duration::from_micros(upper(found?)).min(self.longest))
    }

    pub(crate) fn longest(&self) -> Duration {
        self.longest
    }
}

fn bucket(micros: u64) -> usize {
    if micros < STEPS as u64 {
        return micros as usize;
    }
    let doubling = micros.ilog2() - STEP_BITS;
    STEPS + doubling as usize * STEPS + ((micros >> doubling) as usize - STEPS)
}

/// The longest duration of a bucket.
fn upper(bucket: usize) -> u64 {
    if bucket < STEPS {
        return bucket as u64;
    }
    let (doubling, step) = (bucket / STEPS - 1, bucket % STEPS);
    ((STEPS + step + 1) as u64) * (1 << doubling) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_exact_to_a_sixtieth() {
        let mut histogram = Histogram::new();
        (1..=100_000).for_each(|micros| histogram.add(Duration::from_micros(micros)));
        for (share, exact) in [(0.5, 50_000.0), (0.99, 99_000.0), (0.999, 99_900.0)] {
            let found = histogram.quantile(share).unwrap().as_micros() as f64;
            assert!((exact..=exact * 1.016).contains(&found), "{share}: {found}");
        }
        assert_eq!(histogram.quantile(1.0), Some(Duration::from_micros(100_000)));
    }

    #[test]
    fn every_duration_has_a_bucket() {
        for micros in [0, 1, 63, 64, 65, 127, 128, 1_000, 123_456, 3_600_000_000] {
            let bucket = bucket(micros);
            assert!(upper(bucket) >= micros && (bucket == 0 || upper(bucket - 1) < micros), "{micros}");
        }
        let mut histogram = Histogram::new();
        histogram.add(Duration::from_secs(1 << 40));
        assert!(histogram.quantile(0.5).is_some());
    }

    #[test]
    fn without_anything_there_is_no_quantile() {
        assert_eq!(Histogram::new().quantile(0.5), None);
    }
}
