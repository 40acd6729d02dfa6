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

/// Most jobs that may wait in one worker.
const LIMIT: usize = 1 << 20;

impl Later {
    fn add(&mut self, due: Instant, job: Job) -> bool {
        if self.heap.len() >= LIMIT {
            return false;
        }
        self.sequence += 1;
        self.heap.push(Entry { due, sequence: self.sequence, job });
        true
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
        let Some(due) = self.now.checked_add(delay) else { return false };
        self.later.add(due, job)
    }

    /// Does what is due; what is asked for meanwhile waits for the next turn, so that no job keeps a worker busy.
    pub(crate) fn run_due_jobs(&mut self) {
        if self.later.deadline().is_none_or(|due| due > self.now) {
            return;
        }
        for job in self.later.take_due(self.now) {
            job(self);
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
