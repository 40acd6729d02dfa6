//! The load generator: callers and callees in one thread, driven by arrivals, never by the server.

pub mod calls;
mod drive;
pub mod message;
pub mod pending;
pub mod registers;

pub use drive::{Ends, Outbox, Pace, Side, TICK, Workload, drive};

use std::time::Duration;

/// What one run of a workload saw.
#[derive(Debug, Default, Clone)]
pub struct Report {
    /// Calls or requests begun.
    pub begun: usize,
    /// Those that ended as they should.
    pub completed: usize,
    /// Final answers other than the one expected.
    pub refused: usize,
    /// 180 and 200 sent back to back that came out the other way round.
    pub swapped: usize,
    /// From each first request to its first answer from the other end, microseconds, unsorted.
    pub latencies: Vec<u32>,
}

impl Report {
    /// Begun and not ended as they should, for whatever reason.
    pub fn failures(&self) -> usize {
        self.begun - self.completed
    }

    /// The latency that `fraction` of all stayed below.
    pub fn quantile(&self, fraction: f64) -> Duration {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        let position = (sorted.len() as f64 * fraction) as usize;
        let micros = sorted.get(position.min(sorted.len().saturating_sub(1))).copied().unwrap_or(0);
        Duration::from_micros(micros.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_taken_from_the_sorted_latencies() {
        let report = Report { latencies: vec![30, 10, 20, 40], ..Report::default() };
        assert_eq!(report.quantile(0.5), Duration::from_micros(30));
        assert_eq!(report.quantile(0.99), Duration::from_micros(40));
        assert_eq!(Report::default().quantile(0.5), Duration::ZERO);
    }
}
