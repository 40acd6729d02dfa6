//! Calls that have been answered and not ended: how many there are, and how long they last.

use std::collections::VecDeque;
use std::time::Instant;

use hashbrown::HashTable;

/// The calls of one worker, by a keyed hash of their Call-ID.
///
/// Enough for figures and for nothing else: a proxy need not know its calls. At the bound the oldest call is
/// forgotten, which is the likeliest to have ended without a BYE that came by here.
pub(crate) struct Calls {
    index: HashTable<(u64, Instant)>,
    /// In the order in which they were answered; those that have ended stay until their turn comes.
    order: VecDeque<(u64, Instant)>,
    bound: usize,
}

/// Most calls of one worker that are followed.
const BOUND: usize = 1 << 17;

impl Default for Calls {
    fn default() -> Calls {
        Calls { index: HashTable::new(), order: VecDeque::new(), bound: BOUND }
    }
}

impl Calls {
    /// A call has been answered. A second answer, as of a fork, is the same call.
    pub(crate) fn begin(&mut self, call: u64, now: Instant) {
        if self.index.find(call, |(known, _)| *known == call).is_some() {
            return;
        }
        while self.order.len() >= self.bound {
            if let Some((oldest, answered)) = self.order.pop_front() {
                self.forget(oldest, Some(answered));
            }
        }
        self.index.insert_unique(call, (call, now), |(known, _)| *known);
        self.order.push_back((call, now));
    }

    /// A call has ended; gives when it was answered, if it was followed.
    pub(crate) fn end(&mut self, call: u64) -> Option<Instant> {
        let answered = self.forget(call, None);
        // Those that ended in the order in which they began leave nothing behind.
        while self.order.front().is_some_and(|(call, answered)| !self.is_known(*call, *answered)) {
            self.order.pop_front();
        }
        answered
    }

    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    fn is_known(&self, call: u64, answered: Instant) -> bool {
        self.index.find(call, |known| *known == (call, answered)).is_some()
    }

    /// Forgets a call, only the one answered then where a moment is given: a Call-ID may come again.
    fn forget(&mut self, call: u64, answered: Option<Instant>) -> Option<Instant> {
        let is_it = |known: &(u64, Instant)| known.0 == call && answered.is_none_or(|answered| known.1 == answered);
        let found = self.index.find_entry(call, is_it).ok()?;
        Some(found.remove().0.1)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_call_lasts_from_its_first_answer_to_its_end() {
        let (mut calls, begin) = (Calls::default(), Instant::now());
        calls.begin(7, begin);
        calls.begin(7, begin + Duration::from_secs(1));
        calls.begin(8, begin + Duration::from_secs(2));
        assert_eq!((calls.len(), calls.end(7), calls.end(7)), (2, Some(begin), None));
        assert_eq!((calls.len(), calls.order.len()), (1, 1));
        calls.begin(7, begin + Duration::from_secs(3));
        assert_eq!(calls.end(7), Some(begin + Duration::from_secs(3)), "a Call-ID may come again");
    }

    #[test]
    fn calls_that_never_end_take_no_memory_without_end() {
        let (mut calls, begin) = (Calls { bound: 100, ..Calls::default() }, Instant::now());
        for call in 0..1000 {
            calls.begin(call, begin + Duration::from_secs(call));
        }
        assert_eq!((calls.len(), calls.order.len()), (100, 100));
        assert_eq!((calls.end(899), calls.end(900)), (None, Some(begin + Duration::from_secs(900))));
        // Ended out of order: what is left behind has a bound too.
        (0..10_000).for_each(|call| {
            calls.begin(call + 2000, begin);
            calls.end(call + 2000);
        });
        assert!(calls.order.len() <= 100, "{}", calls.order.len());
    }
}
