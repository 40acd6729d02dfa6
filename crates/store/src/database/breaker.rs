//! Spares a database that does not answer, and those who would wait for it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::{Cause, Error};

/// After [`FAILURES`] failures in a row nothing is asked for a while, then by one caller at a time: each failure
/// doubles the pause up to [`LONGEST`].
#[derive(Debug, Default)]
pub(super) struct Breaker {
    state: Mutex<State>,
    opened: AtomicU64,
    refused: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    /// Nobody asks before.
    rest_until: Option<Instant>,
    pause: Duration,
}

/// What an operator should hear.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    /// It does not answer any more, for this reason.
    Away(String),
    /// It answers again.
    Back,
}

const FAILURES: u32 = 3;
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(15);

impl Breaker {
    /// Whether a question may be asked at `now`.
    pub(super) fn admit(&self, now: Instant) -> Result<(), Error> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(until) = state.rest_until else { return Ok(()) };
        if now < until {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(Error::Unavailable(Cause::Resting(until - now)));
        }
        // This caller tries; the others rest until it is known what came of it.
        state.rest_until = Some(now + state.pause);
        Ok(())
    }

    /// Takes down how a question ended at `now`.
    pub(super) fn note<T>(&self, outcome: &Result<T, Error>, now: Instant) -> Option<News> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Err(Error::Unavailable(cause @ (Cause::Deadline(_) | Cause::Io(_) | Cause::Permission(_)))) = outcome
        else {
            let was_away = state.rest_until.is_some();
            *state = State::default();
            return was_away.then_some(News::Back);
        };
        state.failures += 1;
        if state.failures < FAILURES {
            return None;
        }
        let is_first = state.rest_until.is_none();
        state.pause = (state.pause * 2).clamp(SHORTEST, LONGEST);
        state.rest_until = Some(now + state.pause);
        if is_first {
            self.opened.fetch_add(1, Ordering::Relaxed);
        }
        is_first.then(|| News::Away(cause.to_string()))
    }

    /// How often it has opened, and how many questions it has refused.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.opened.load(Ordering::Relaxed), self.refused.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed() -> Result<(), Error> {
        Err(Error::Unavailable(Cause::Io("connection refused".into())))
    }

    #[test]
    fn a_database_that_is_away_is_asked_by_one_at_a_time_and_less_and_less_often() {
        let (breaker, begin) = (Breaker::default(), Instant::now());
        assert_eq!(breaker.note(&failed(), begin), None);
        assert_eq!(breaker.note(&failed(), begin), None);
        assert_eq!(breaker.admit(begin), Ok(()));
        assert_eq!(breaker.note(&failed(), begin), Some(News::Away("connection refused".into())));
        assert_eq!(breaker.admit(begin), Err(Error::Unavailable(Cause::Resting(SHORTEST))));
        let later = begin + SHORTEST;
        assert_eq!(breaker.admit(later), Ok(()));
        assert!(breaker.admit(later).is_err(), "one caller tries, the others do not");
        assert_eq!(breaker.note(&failed(), later), None, "it has been said that it is away");
        assert_eq!(breaker.admit(later), Err(Error::Unavailable(Cause::Resting(SHORTEST * 2))));
        let later = later + SHORTEST * 2;
        assert_eq!(breaker.admit(later), Ok(()));
        assert_eq!(breaker.note(&Ok(()), later), Some(News::Back));
        assert_eq!(breaker.admit(later), Ok(()));
        assert_eq!(breaker.counts(), (1, 3));
    }

    #[test]
    fn a_refused_change_is_an_answer_and_no_failure() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        for _ in 0..10 {
            assert_eq!(breaker.note(&Err::<(), _>(Error::Refused { detail: "too long".into() }), now), None);
        }
        assert_eq!(breaker.admit(now), Ok(()));
    }
}
