//! What modules have asked a worker to do later.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use module_api::Job;

use crate::worker_core::Core;

/// Jobs of one worker by the moment at which they are due, with a bound.
#[derive(Default)]
pub(crate) struct Later {
    heap: BinaryHeap<Entry>,
    sequence: u64,
}

struct Entry {
    due: Instant,
    /// Keeps jobs that are due together in the order in which they came.
    sequence: u64,
    job: Job,
}

/// Most jobs that may wait in one worker, beside those that repeat: of these there are as many as modules want ticks.
const LIMIT: usize = 1 << 20;
/// What is due later than this never will be: the clock can count so far.
const LONGEST_DELAY: Duration = Duration::from_secs(100 * 365 * 86_400);

impl Later {
    fn add(&mut self, due: Instant, job: Job) {
        self.sequence += 1;
        self.heap.push(Entry { due, sequence: self.sequence, job });
    }

    fn is_full(&self) -> bool {
        self.heap.len() >= LIMIT
    }

    /// When the first one is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.heap.peek().map(|entry| entry.due)
    }

    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    fn take_due(&mut self, now: Instant) -> Vec<Job> {
        let mut due = Vec::new();
        while self.heap.peek().is_some_and(|entry| entry.due <= now) {
            due.extend(self.heap.pop().map(|entry| entry.job));
        }
        due
    }
}

impl Core {
    pub(crate) fn do_later(&mut self, delay: Duration, job: Job) -> bool {
        if self.later.is_full() {
            return false;
        }
        self.do_again(delay, job);
        true
    }

    pub(crate) fn do_again(&mut self, delay: Duration, job: Job) {
        let delay = delay.min(LONGEST_DELAY);
        self.later.add(self.now + delay, job);
    }

    /// Does what is due; what is asked for meanwhile waits for the next turn, so that no job keeps a worker busy.
    pub(crate) fn run_due_jobs(&mut self) {
        if self.later.deadline().is_none_or(|due| due > self.now) {
            return;
        }
        for job in self.later.take_due(self.now) {
            self.guarded(|core| job(core));
        }
    }
}

impl Ord for Entry {
    /// The greatest is taken first, so what is due earlier is greater.
    fn cmp(&self, other: &Entry) -> Ordering {
        (other.due, other.sequence).cmp(&(self.due, self.sequence))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Entry) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}
