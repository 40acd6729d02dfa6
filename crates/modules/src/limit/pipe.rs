//! A pipe: what passes it in each window of time.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A pipe. Its lock is held for some additions; it costs about 150 bytes.
pub(super) struct Pipe(Mutex<Inner>);

struct Inner {
    rule: Rule,
    since: Instant,
    /// Requests of this window, and of the one before.
    count: u64,
    before: u64,
    /// The share of requests that is turned away, in thousandths, where the processor decides.
    turned_away: u32,
}

/// What a pipe lets pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) algorithm: Algorithm,
    /// Requests a second; for [`Algorithm::Feedback`] percent of the processor.
    pub(super) limit: u32,
}

/// How a pipe decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    /// Everything passes.
    Nothing,
    /// What comes too soon is turned away, until the window ends.
    TailDrop,
    /// As the last window was too full, a share of this one is turned away, evenly.
    Red,
    /// The busier the processor was, the more is turned away.
    Feedback,
}

impl Algorithm {
    /// Reads the name that both modules use.
    pub(super) fn parse(name: &str) -> Result<Algorithm, String> {
        match name.trim().to_ascii_uppercase().as_str() {
            "NOP" => Ok(Algorithm::Nothing),
            "TAILDROP" => Ok(Algorithm::TailDrop),
            "RED" => Ok(Algorithm::Red),
            "FEEDBACK" => Ok(Algorithm::Feedback),
            "NETWORK" => {
                Err("NETWORK is not supported: datagrams do not wait in queues here; FEEDBACK minds the load".into())
            }
            _ => Err(format!("unknown algorithm `{name}`; there are TAILDROP, RED, FEEDBACK and NOP")),
        }
    }
}

impl std::fmt::Display for Algorithm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Algorithm::Nothing => "NOP",
            Algorithm::TailDrop => "TAILDROP",
            Algorithm::Red => "RED",
            Algorithm::Feedback => "FEEDBACK",
        })
    }
}

/// A pipe as an operator may see it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Level {
    pub(super) rule: Rule,
    /// Requests of this window, and of the one before.
    pub(super) count: u64,
    pub(super) before: u64,
}

/// What a decision depends on, beside the pipe.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) now: Instant,
    pub(super) window: Duration,
    pub(super) random: u64,
    /// How busy the processor was, in percent.
    pub(super) load: u32,
}

impl Pipe {
    pub(super) fn new(rule: Rule, now: Instant) -> Pipe {
        Pipe(Mutex::new(Inner { rule, since: now, count: 0, before: 0, turned_away: 0 }))
    }

    /// Counts a request and says whether it may pass.
    pub(super) fn check(&self, moment: Moment) -> bool {
        let mut pipe = self.lock();
        pipe.turn(moment);
        pipe.count += 1;
        let per_window = u64::from(pipe.rule.limit) * moment.window.as_secs().max(1);
        let draw = moment.random % 1000;
        match pipe.rule.algorithm {
            Algorithm::Nothing => true,
            Algorithm::TailDrop => pipe.count <= per_window,
            Algorithm::Red if pipe.before <= per_window => true,
            Algorithm::Red => draw < per_window * 1000 / pipe.before,
            Algorithm::Feedback => draw >= u64::from(pipe.turned_away),
        }
    }

    /// How it stands.
    pub(super) fn level(&self) -> Level {
        let pipe = self.lock();
        Level { rule: pipe.rule, count: pipe.count, before: pipe.before }
    }

    /// Gives the pipe another rule.
    pub(super) fn set_rule(&self, rule: Rule) {
        self.lock().rule = rule;
    }

    /// Whether nothing has come for two windows.
    pub(super) fn is_idle(&self, now: Instant, window: Duration) -> bool {
        now.saturating_duration_since(self.lock().since) >= window * 2
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Begins a new window when the old one is over.
    fn turn(&mut self, moment: Moment) {
        let passed = moment.now.saturating_duration_since(self.since);
        if passed < moment.window {
            return;
        }
        self.before = if passed < moment.window * 2 { self.count } else { 0 };
        self.count = 0;
        self.since = moment.now;
        // Half of the difference each time: fast enough to help and slow enough not to swing.
        let difference = (i64::from(moment.load) - i64::from(self.rule.limit)) * 10 / 2;
        self.turned_away = (i64::from(self.turned_away) + difference).clamp(0, 950) as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(10);

    fn passed(pipe: &Pipe, now: Instant, requests: u64, load: u32) -> usize {
        let moment = |n| Moment { now, window: WINDOW, random: n * 7919, load };
        (0..requests).filter(|n| pipe.check(moment(*n))).count()
    }

    #[test]
    fn tail_drop_passes_what_fits_the_window() {
        let now = Instant::now();
        let pipe = Pipe::new(Rule { algorithm: Algorithm::TailDrop, limit: 2 }, now);
        assert_eq!(passed(&pipe, now, 30, 0), 20);
        assert_eq!(passed(&pipe, now + WINDOW, 5, 0), 5);
        assert!(!pipe.is_idle(now + WINDOW, WINDOW) && pipe.is_idle(now + WINDOW * 3, WINDOW));
    }

    #[test]
    fn red_turns_an_even_share_away_after_a_full_window() {
        let now = Instant::now();
        let pipe = Pipe::new(Rule { algorithm: Algorithm::Red, limit: 10 }, now);
        assert_eq!(passed(&pipe, now, 400, 0), 400);
        // Four times too many: a quarter passes.
        let share = passed(&pipe, now + WINDOW, 400, 0);
        assert!((80..=120).contains(&share), "{share}");
        assert_eq!(passed(&pipe, now + WINDOW * 4, 50, 0), 50);
    }

    #[test]
    fn feedback_turns_away_more_the_longer_the_processor_is_busy() {
        let now = Instant::now();
        let pipe = Pipe::new(Rule { algorithm: Algorithm::Feedback, limit: 50 }, now);
        let shares: Vec<usize> = (1..=4).map(|n| passed(&pipe, now + WINDOW * n, 1000, 90)).collect();
        assert!(shares.windows(2).all(|pair| pair[1] < pair[0]), "{shares:?}");
        let recovered: Vec<usize> = (5..=12).map(|n| passed(&pipe, now + WINDOW * n, 1000, 10)).collect();
        assert_eq!(recovered.last(), Some(&1000));
    }

    #[test]
    fn algorithms_go_by_their_names() {
        assert_eq!(Algorithm::parse("taildrop"), Ok(Algorithm::TailDrop));
        assert!(Algorithm::parse("NETWORK").unwrap_err().contains("FEEDBACK"));
        assert!(Algorithm::parse("x").is_err());
    }
}
