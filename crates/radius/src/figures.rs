//! What a client has counted.

use std::sync::atomic::{AtomicU64, Ordering};

/// A reading of what a client has counted since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Questions.
    pub requests: u64,
    /// Questions sent once more because no answer had come.
    pub retransmissions: u64,
    /// Answers that were believed.
    pub answers: u64,
    /// Answers that do not prove who sent them, by a wrong authenticator or without a signature.
    pub forged: u64,
    /// Answers to nothing that waits: late ones, and second ones.
    pub late: u64,
    /// What came and is no packet.
    pub malformed: u64,
    /// Servers that did not answer a question.
    pub silences: u64,
    /// Questions that no server answered.
    pub unanswered: u64,
}

/// The counters behind it.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) requests: AtomicU64,
    pub(crate) retransmissions: AtomicU64,
    pub(crate) answers: AtomicU64,
    pub(crate) forged: AtomicU64,
    pub(crate) late: AtomicU64,
    pub(crate) malformed: AtomicU64,
    pub(crate) silences: AtomicU64,
    pub(crate) unanswered: AtomicU64,
}

impl Counts {
    pub(crate) fn read(&self) -> Figures {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Figures {
            requests: read(&self.requests),
            retransmissions: read(&self.retransmissions),
            answers: read(&self.answers),
            forged: read(&self.forged),
            late: read(&self.late),
            malformed: read(&self.malformed),
            silences: read(&self.silences),
            unanswered: read(&self.unanswered),
        }
    }
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
