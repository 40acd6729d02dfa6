//! Spares a server that does not answer, and those who would wait for it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Closed while the server answers. After a silence nobody asks for the dead time, then one asker at a time tries.
#[derive(Debug, Default)]
pub(crate) struct Breaker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Nobody asks before.
    rest_until: Option<Instant>,
    /// When an answer came last.
    heard: Option<Instant>,
}

impl Breaker {
    /// Whether the server may be asked at `now`.
    pub(crate) fn admits(&self, now: Instant, dead_time: Duration) -> bool {
        let mut state = self.lock();
        match state.rest_until {
            None => true,
            Some(until) if now < until => false,
            Some(_) => {
                // This one tries; the others rest until it is known what came of it.
                state.rest_until = Some(now + dead_time);
                true
            }
        }
    }

    /// The server answered; true when it had been silent.
    pub(crate) fn on_answer(&self, now: Instant) -> bool {
        let mut state = self.lock();
        state.heard = Some(now);
        state.rest_until.take().is_some()
    }

    /// A question asked at `since` got no answer; true when that is news.
    ///
    /// A server that answered others meanwhile lives: it drops what it does not like, and whoever can make it drop one
    /// question must not be able to take it from everybody.
    pub(crate) fn on_silence(&self, since: Instant, now: Instant, dead_time: Duration) -> bool {
        let mut state = self.lock();
        if dead_time.is_zero() || state.heard.is_some_and(|heard| heard > since) {
            return false;
        }
        let is_news = state.rest_until.is_none();
        state.rest_until = Some(now + dead_time);
        is_news
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEAD: Duration = Duration::from_secs(10);

    #[test]
    fn a_silent_server_is_left_alone_and_then_tried_by_one() {
        let (breaker, begin) = (Breaker::default(), Instant::now());
        assert!(breaker.admits(begin, DEAD));
        let silent = begin + Duration::from_secs(3);
        assert!(breaker.on_silence(begin, silent, DEAD));
        assert!(!breaker.on_silence(begin, silent, DEAD), "it has been said");
        assert!(!breaker.admits(silent, DEAD));
        assert!(breaker.admits(silent + DEAD, DEAD));
        assert!(!breaker.admits(silent + DEAD, DEAD), "one tries, the others do not");
        assert!(breaker.on_answer(silent + DEAD));
        assert!(breaker.admits(silent + DEAD, DEAD));
    }

    #[test]
    fn a_server_that_answers_others_is_not_taken_for_dead() {
        let (breaker, begin) = (Breaker::default(), Instant::now());
        breaker.on_answer(begin + Duration::from_secs(1));
        assert!(!breaker.on_silence(begin, begin + Duration::from_secs(3), DEAD));
        assert!(breaker.admits(begin + Duration::from_secs(3), DEAD));
    }
}
