//! How long things take and how large they are: histograms that one thread writes and any may read.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Most buckets of a histogram, the last one for all that is larger.
pub const MOST_BUCKETS: usize = 24;

/// What a histogram measures and how finely. Buckets double, so that finding one is a single instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale {
    /// The bound of the first bucket is two to this power, in the unit that is observed.
    pub first: u32,
    /// Bounded buckets; one without bound follows. At most [`MOST_BUCKETS`] less one.
    pub count: usize,
    /// How many observed units are one shown unit: 1,000,000 where microseconds become seconds.
    pub divisor: u64,
}

impl Scale {
    /// Microseconds, shown as seconds: 16 µs to 67 s.
    pub const LATENCY: Scale = Scale { first: 4, count: 23, divisor: 1_000_000 };
    /// Seconds, as calls last: 1 s to 36 hours.
    pub const CALL: Scale = Scale { first: 0, count: 18, divisor: 1 };
    /// Bytes: 256 to 1 MiB.
    pub const BYTES: Scale = Scale { first: 8, count: 13, divisor: 1 };

    /// The bound of bucket `at`, as shown.
    pub fn bound(&self, at: usize) -> f64 {
        (1_u64 << (self.first + at as u32)) as f64 / self.divisor as f64
    }

    fn bucket(&self, value: u64) -> usize {
        // The power of two that holds the value, rounded up.
        let power = u64::BITS - value.saturating_sub(1).leading_zeros();
        (power.saturating_sub(self.first) as usize).min(self.count)
    }
}

/// One writer's share of a histogram. Clones are the same share.
///
/// Each worker has its own, so that counting is two plain additions: no locked instruction, no cache line that
/// two cores want. Two threads that write the same share may lose an observation, and nothing else.
#[derive(Debug, Clone)]
pub struct Histogram {
    cells: Arc<Cells>,
    scale: Scale,
}

#[derive(Debug, Default)]
struct Cells {
    buckets: [AtomicU64; MOST_BUCKETS],
    sum: AtomicU64,
}

impl Histogram {
    pub(crate) fn new(scale: Scale) -> Histogram {
        debug_assert!(scale.count < MOST_BUCKETS && scale.divisor > 0);
        Histogram { cells: Arc::default(), scale }
    }

    /// Counts `value`, in the unit of the scale.
    pub fn observe(&self, value: u64) {
        let add = |cell: &AtomicU64, n: u64| {
            cell.store(cell.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
        };
        add(&self.cells.buckets[self.scale.bucket(value)], 1);
        add(&self.cells.sum, value);
    }

    /// Counts a time, for the scales that count in microseconds.
    pub fn observe_time(&self, time: std::time::Duration) {
        self.observe(time.as_micros() as u64);
    }
}

/// All shares of a histogram, added up when it is read.
#[derive(Debug, Clone)]
pub struct HistogramReading {
    /// Its group.
    pub group: Cow<'static, str>,
    /// Its name within the group, with the unit at its end.
    pub name: Cow<'static, str>,
    /// What it measures.
    pub doc: Cow<'static, str>,
    /// What tells it from others of its name, such as the method.
    pub label: Option<(&'static str, Cow<'static, str>)>,
    /// Its buckets.
    pub scale: Scale,
    pub(crate) shares: Vec<Histogram>,
}

/// What a histogram has counted so far.
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution {
    /// How many values each bucket holds, the last one those beyond every bound.
    pub buckets: Vec<u64>,
    /// The sum of all values, as shown.
    pub sum: f64,
    scale: Scale,
}

impl HistogramReading {
    /// What has been counted so far.
    pub fn read(&self) -> Distribution {
        let mut buckets = vec![0; self.scale.count + 1];
        let mut sum = 0_u64;
        for share in &self.shares {
            for (total, cell) in buckets.iter_mut().zip(&share.cells.buckets) {
                *total += cell.load(Ordering::Relaxed);
            }
            sum = sum.wrapping_add(share.cells.sum.load(Ordering::Relaxed));
        }
        Distribution { buckets, sum: sum as f64 / self.scale.divisor as f64, scale: self.scale }
    }
}

impl Distribution {
    /// How many values were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The mean; none before the first value.
    pub fn mean(&self) -> Option<f64> {
        (self.count() > 0).then(|| self.sum / self.count() as f64)
    }

    /// The bound below which the share `quantile` of all values lies; none before the first value.
    ///
    /// Within a bucket values are taken to lie evenly, as Prometheus does.
    pub fn quantile(&self, quantile: f64) -> Option<f64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = quantile * count as f64;
        let mut below = 0_u64;
        for (at, inside) in self.buckets.iter().enumerate() {
            let upto = below + inside;
            if *inside > 0 && upto as f64 >= rank {
                let lower = if at == 0 { 0.0 } else { self.scale.bound(at - 1) };
                let upper = self.scale.bound(at.min(self.scale.count - 1)).max(lower);
                return Some(lower + (upper - lower) * (rank - below as f64) / *inside as f64);
            }
            below = upto;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Statistics;

    #[test]
    fn a_value_lies_in_the_first_bucket_whose_bound_holds_it() {
        let scale = Scale { first: 4, count: 3, divisor: 1 };
        for (value, bucket) in [(0, 0), (1, 0), (16, 0), (17, 1), (32, 1), (33, 2), (64, 2), (65, 3), (u64::MAX, 3)] {
            assert_eq!(scale.bucket(value), bucket, "{value}");
        }
        assert_eq!([scale.bound(0), scale.bound(2)], [16.0, 64.0]);
        assert_eq!(Scale::LATENCY.bound(22), 67.108_864);
    }

    #[test]
    fn the_shares_of_all_workers_are_one_histogram() {
        let statistics = Statistics::default();
        let share = || statistics.histogram(("core", "wait_seconds"), "Waits.", Scale::LATENCY, None);
        let (one, other) = (share(), share());
        (0..3).for_each(|_| one.observe_time(std::time::Duration::from_millis(1)));
        other.observe_time(std::time::Duration::from_secs(2));
        let all = statistics.histograms();
        assert_eq!(all.len(), 1);
        let read = all[0].read();
        assert_eq!(read.count(), 4);
        assert!((read.sum - 2.003).abs() < 1e-9, "{}", read.sum);
        assert!((read.mean().unwrap() - 0.500_75).abs() < 1e-9);
    }

    #[test]
    fn quantiles_lie_within_the_bucket_that_holds_them() {
        let statistics = Statistics::default();
        let histogram = statistics.histogram(("core", "script_seconds"), "Runs.", Scale::LATENCY, None);
        let read = |quantile| statistics.histograms()[0].read().quantile(quantile);
        assert_eq!(read(0.5), None);
        (0..99).for_each(|_| histogram.observe(20));
        histogram.observe(1_000_000);
        assert!(read(0.5).is_some_and(|half| half > 0.000_016 && half <= 0.000_032), "{:?}", read(0.5));
        assert!(read(1.0).is_some_and(|most| most > 0.5 && most <= 1.048_576), "{:?}", read(1.0));
    }
}
