//! What a run says in the end: for people, and for programs.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

use crate::arguments::{Arguments, Kind};
use crate::drive::Course;
use crate::traffic::Traffic;

/// What became of a run.
pub(crate) struct Report {
    kind: Kind,
    target: String,
    rate: f64,
    duration: f64,
    threshold: u64,
    attempts: u64,
    succeeded: u64,
    failed: BTreeMap<String, u64>,
    /// p50, p99, p99.9 and the longest.
    latencies: Option<[Duration; 4]>,
    late: Duration,
    is_search: bool,
}

/// An attempt that began later says more of the generator than of the server.
const TOLERANCE: Duration = Duration::from_millis(10);

impl Report {
    pub(crate) fn new(arguments: &Arguments, rate: f64, traffic: &Traffic, course: &Course) -> Report {
        let latencies = traffic.latencies();
        let quantiles = || {
            let quantile = |share| latencies.quantile(share);
            Some([quantile(0.5)?, quantile(0.99)?, quantile(0.999)?, latencies.longest()])
        };
        Report {
            kind: arguments.kind,
            target: arguments.target.clone(),
            rate,
            duration: arguments.duration,
            threshold: arguments.threshold,
            attempts: traffic.attempts(),
            succeeded: traffic.succeeded(),
            failed: traffic.failed().clone(),
            latencies: quantiles(),
            late: course.late.quantile(0.99).unwrap_or_default(),
            is_search: arguments.find_capacity,
        }
    }

    /// Whether no attempt failed.
    pub(crate) fn is_clean(&self) -> bool {
        self.failed.is_empty()
    }

    /// Whether the generator did what it was to do, so that the figures are the server's.
    pub(crate) fn kept_up(&self) -> bool {
        self.late <= TOLERANCE
    }

    /// What RFC 7501 calls the rate of what succeeds, and that of what is attempted.
    fn terms(&self) -> (&'static str, &'static str) {
        match self.kind {
            Kind::Call => ("Session Establishment Rate", "Session Attempt Rate"),
            Kind::Register => ("Registration Rate", "Registration Attempt Rate"),
            Kind::Message => ("IM Rate", "IM Attempt Rate"),
            Kind::Options => ("OPTIONS answered", "OPTIONS sent"),
        }
    }

    fn success_rate(&self) -> f64 {
        self.rate * self.succeeded as f64 / self.attempts.max(1) as f64
    }

    /// One line, for each trial of a search.
    pub(crate) fn line(&self) -> String {
        let failed: u64 = self.failed.values().sum();
        let note = if self.kept_up() { "" } else { "; the generator did not keep up" };
        format!("{:>10.0} a second: {} attempts, {failed} failed{note}", self.rate, self.attempts)
    }

    /// For people.
    pub(crate) fn to_table(&self) -> String {
        let (succeeds, attempted) = self.terms();
        let mut text = String::new();
        let mut row = |name: &str, value: String| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{name:<30}{value}");
        };
        row("Server", format!("{} over UDP", self.target));
        if self.is_search {
            row(
                "Highest rate without failure",
                format!("{:.0} a second", if self.is_clean() { self.rate } else { 0.0 }),
            );
        }
        row(attempted, format!("{:.1} a second for {} s, {} attempts", self.rate, self.duration, self.attempts));
        row(succeeds, format!("{:.1} a second, {} in all", self.success_rate(), self.succeeded));
        row("Failed", self.failed.values().sum::<u64>().to_string());
        for (reason, count) in &self.failed {
            row("", format!("{count} {reason}"));
        }
        row("Establishment Threshold Time", format!("{} ms", self.threshold));
        if let Some([median, most, nearly_all, longest]) = self.latencies {
            let [median, most, nearly_all, longest] = [median, most, nearly_all, longest].map(milliseconds);
            row(
                "Delay",
                format!("p50 {median:.3} ms, p99 {most:.3} ms, p99.9 {nearly_all:.3} ms, longest {longest:.3} ms"),
            );
        }
        if !self.kept_up() {
            let late = milliseconds(self.late);
            row("Beware", format!("the generator did not keep up: one attempt in 100 began {late:.0} ms late or more"));
        }
        text
    }

    /// For programs; times are in microseconds.
    pub(crate) fn to_json(&self) -> String {
        let micros = |duration: Duration| duration.as_micros() as u64;
        let delay = self.latencies.map(|[median, most, nearly_all, longest]| {
            json!({ "p50": micros(median), "p99": micros(most), "p99.9": micros(nearly_all), "longest": micros(longest) })
        });
        let value: Value = json!({
            "target": self.target,
            "attempt_rate": self.rate,
            "success_rate": self.success_rate(),
            "attempts": self.attempts,
            "succeeded": self.succeeded,
            "failed": self.failed,
            "delay_us": delay,
            "threshold_ms": self.threshold,
            "generator_late_p99_us": micros(self.late),
            "generator_kept_up": self.kept_up(),
        });
        format!("{value}\n")
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
